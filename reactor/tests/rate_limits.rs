//! Rate limits over real sockets: never faster than asked for, every byte in order, and the loop sleeps in between. That they are
//! exact and fair is looked at under the simulated clock: `sim_rates.rs`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, DEADLINE, Echo, TestLoop, Transport, any_port, assert_pattern, pattern};
use reactor::{ConnectOptions, Context, Handler, Input, Limits, ListenOptions, RateLimit, Rates, Result};

const COUNT: usize = 100_000;

/// Some bytes pass at once, all of them in about a fifth of a second.
fn rate() -> RateLimit {
    RateLimit::per_second(500_000).burst(10_000)
}

/// The least time in which so many bytes pass.
fn least(bytes: usize) -> Duration {
    Duration::from_secs_f64((bytes as f64 - 10_000.0) / 500_000.0)
}

fn serve(transport: Transport, limits: Limits, rates: Rates) -> TestLoop {
    TestLoop::start(limits, move |event_loop| {
        let options = ListenOptions::default().rates(rates);
        event_loop.listen(&*transport.address(), &options, |_| Echo).unwrap();
    })
}

/// Sends the pattern and gets it back.
fn exchange(client: &mut Client) {
    let bytes = pattern(0, COUNT);
    let mut writer = client.twin();
    let sender = thread::spawn(move || writer.send(bytes));
    assert_pattern(0, &client.receive(COUNT));
    sender.join().unwrap();
}

#[test]
fn an_echo_is_as_slow_as_its_rate_in_either_direction() {
    for transport in Transport::ALL {
        for rates in [Rates::default().input(rate()), Rates::default().output(rate())] {
            let server = serve(transport, Limits::default(), rates);
            let mut client = server.client();
            let before = Instant::now();
            exchange(&mut client);
            assert!(before.elapsed() >= least(COUNT), "{rates:?}: all within {:?}", before.elapsed());
            // A tick takes a few turns, and nothing happens in between.
            assert!(server.metrics().turns < 3000, "{:?}", server.metrics());
            server.assert_quiet();
        }
    }
}

#[test]
fn connections_share_the_rate_of_their_loop() {
    let mut limits = Limits::default();
    limits.rates = Rates::default().input(rate()).output(rate());
    let server = serve(Transport::Tcp, limits, Rates::default());
    let mut clients = [server.client(), server.client()];
    let before = Instant::now();
    thread::scope(|scope| clients.iter_mut().for_each(|client| drop(scope.spawn(|| exchange(client)))));
    assert!(before.elapsed() >= least(2 * COUNT), "all within {:?}", before.elapsed());
    server.assert_quiet();
}

/// Sends a file as it opens, and then closes.
#[derive(Clone)]
struct Sender(Arc<File>);

impl Handler for Sender {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        cx.send("head")?;
        cx.send_file(Arc::clone(&self.0), 0..COUNT as u64)?;
        cx.send_shared(vec![7; 1000])?;
        cx.close_after_flush()
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }
}

#[test]
fn files_and_shared_bytes_keep_the_rate_and_their_order_until_the_end() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&pattern(0, COUNT)).unwrap();
    let file = Arc::new(file);
    let server = TestLoop::start(Limits::default(), move |event_loop| {
        let options = ListenOptions::default().rates(Rates::default().output(rate()));
        event_loop.listen(any_port(), &options, move |_| Sender(Arc::clone(&file))).unwrap();
    });
    let before = Instant::now();
    let mut client = server.client();
    client.expect("head");
    assert_pattern(0, &client.receive(COUNT));
    client.expect([7; 1000]);
    client.expect_end();
    assert!(before.elapsed() >= least(COUNT));
}

/// Takes what comes, and tells once it has so much.
struct Taker {
    left: usize,
    tell: mpsc::Sender<()>,
}

impl Handler for Taker {
    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        self.left -= input.take().len();
        if self.left == 0 {
            self.tell.send(()).unwrap();
        }
        Ok(())
    }
}

/// Sends bytes as it opens.
struct Talker;

impl Handler for Talker {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        cx.send(vec![7; COUNT])
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }
}

#[test]
fn an_outgoing_connection_keeps_its_rate() {
    let server = TestLoop::serve(|| Talker);
    let address = server.address().clone();
    let (tell, told) = mpsc::channel();
    let before = Instant::now();
    let connected = server.on_loop(move |cx| {
        let options = ConnectOptions::default().rates(Rates::default().input(rate()));
        cx.connect(address, &options, Taker { left: COUNT, tell }).is_ok()
    });
    assert!(connected);
    told.recv_timeout(DEADLINE).unwrap();
    assert!(before.elapsed() >= least(COUNT));
}

#[test]
fn a_rate_that_is_set_while_it_connects_holds_once_it_is_up() {
    let server = TestLoop::serve(|| Talker);
    let address = server.address().clone();
    let (tell, told) = mpsc::channel();
    let before = Instant::now();
    server.on_loop(move |cx| {
        let id = cx.connect(address, &ConnectOptions::default(), Taker { left: COUNT, tell }).unwrap();
        cx.peer(id).unwrap().set_rates(Rates::default().input(rate()));
    });
    told.recv_timeout(DEADLINE).unwrap();
    assert!(before.elapsed() >= least(COUNT));
}

#[test]
fn a_drain_waits_for_output_that_is_held_back() {
    let server = serve(Transport::Tcp, Limits::default(), Rates::default().output(rate()));
    let mut client = server.client();
    client.send(pattern(0, COUNT));
    server.eventually("all is read", |metrics| metrics.bytes_in == COUNT as u64);
    let drain = thread::spawn(move || server.shut_down(DEADLINE));
    assert_pattern(0, &client.receive_to_end());
    assert_eq!(drain.join().unwrap().cut, 0);
}
