//! Deadlines of a connection over real sockets: each has its own reason, on accepted and on outgoing connections, and can be changed
//! while the connection lives. That none is early or late is looked at under the simulated clock: `sim_timeouts.rs`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{Client, DEADLINE, Echo, Silent, TestLoop, Transport, any_port};
use reactor::{
    CloseReason, ConnectOptions, Context, Handler, Input, Limits, ListenOptions, ReadProgress, Result, Timeout,
    Timeouts,
};

/// Tells why its connection ended.
struct Told<H> {
    handler: H,
    tell: mpsc::Sender<String>,
}

impl<H: Handler> Handler for Told<H> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        self.handler.on_open(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        self.handler.on_data(cx, input)
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        // The test may have seen enough.
        let _ = self.tell.send(format!("{reason:?}"));
    }
}

fn serve<H: Handler + Clone + Send>(
    transport: Transport,
    timeouts: Timeouts,
    handler: H,
) -> (TestLoop, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let server = TestLoop::start(Limits::default(), move |event_loop| {
        let mut options = ListenOptions::default().timeouts(timeouts);
        options.socket.send_buffer = Some(4096);
        let make = move |_: &_| Told { handler: handler.clone(), tell: tell.clone() };
        event_loop.listen(&*transport.address(), &options, make).unwrap();
    });
    (server, told)
}

fn reason(timeout: Timeout) -> String {
    format!("{:?}", CloseReason::Timeout(timeout))
}

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn a_client_that_does_not_deliver_is_closed() {
    for transport in Transport::ALL {
        let timeouts = Timeouts::default().read(ReadProgress::at_least(1 << 20, SHORT));
        let (server, told) = serve(transport, timeouts, Echo);
        let before = Instant::now();
        // What trickles is looked at under the simulated clock; here nothing comes, so that nothing can come too late.
        server.client().expect_end();
        assert!(before.elapsed() >= SHORT);
        assert_eq!(told.recv_timeout(DEADLINE).unwrap(), reason(Timeout::Read));
        server.eventually("it is gone", |metrics| metrics.closed.timeout == 1 && metrics.timers == 0);
    }
}

/// Sends more than any socket takes.
#[derive(Clone)]
struct Much;

impl Handler for Much {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        cx.send(vec![7; 15 << 20])
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    for transport in Transport::ALL {
        let (server, told) = serve(transport, Timeouts::default().write(SHORT), Much);
        let before = Instant::now();
        let _client = server.client();
        assert_eq!(told.recv_timeout(DEADLINE).unwrap(), reason(Timeout::Write));
        assert!(before.elapsed() >= SHORT);
        server.eventually("nothing waits", |metrics| metrics.buffered == 0 && metrics.timers == 0);
    }
}

#[test]
fn a_connection_ends_with_its_lifetime() {
    for transport in Transport::ALL {
        let (server, told) = serve(transport, Timeouts::default().lifetime(SHORT), Echo);
        let before = Instant::now();
        server.client().expect_end();
        assert!(before.elapsed() >= SHORT);
        assert_eq!(told.recv_timeout(DEADLINE).unwrap(), reason(Timeout::Lifetime));
    }
}

#[test]
fn an_outgoing_connection_keeps_its_deadlines() {
    let (tell, told) = mpsc::channel();
    let server = TestLoop::serve(|| Silent);
    let address = server.address().clone();
    let connected = server.on_loop(move |cx| {
        let options = ConnectOptions::default().timeouts(Timeouts::default().lifetime(SHORT));
        cx.connect(address, &options, Told { handler: Silent, tell }).is_ok()
    });
    assert!(connected);
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), reason(Timeout::Lifetime));
}

#[test]
fn deadlines_that_are_set_while_it_connects_hold_once_it_is_up() {
    let server = TestLoop::serve(|| Silent);
    let progress = ReadProgress::all_within(SHORT);
    for (timeouts, timeout) in
        [(Timeouts::default().lifetime(SHORT), Timeout::Lifetime), (Timeouts::default().read(progress), Timeout::Read)]
    {
        let (tell, told) = mpsc::channel();
        let address = server.address().clone();
        server.on_loop(move |cx| {
            let id = cx.connect(address, &ConnectOptions::default(), Told { handler: Silent, tell }).unwrap();
            cx.peer(id).unwrap().set_timeouts(timeouts);
        });
        assert_eq!(told.recv_timeout(DEADLINE).unwrap(), reason(timeout));
    }
}

/// Sets and takes back deadlines as it is told.
#[derive(Clone)]
struct Obedient;

impl Handler for Obedient {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        let command = input.take();
        match command {
            b"hurry" => cx.set_timeouts(Timeouts::default().lifetime(SHORT).write(SHORT)),
            b"relax" => cx.set_timeouts(Timeouts::default()),
            b"expect" => cx.expect_input(ReadProgress::all_within(SHORT)),
            _ => {}
        }
        cx.send(command)
    }
}

fn command(client: &mut Client, word: &str) {
    client.send(word);
    client.expect(word);
}

#[test]
fn deadlines_are_changed_while_the_connection_lives() {
    let (server, told) = serve(Transport::Tcp, Timeouts::default().lifetime(Duration::from_secs(3600)), Obedient);
    let mut client = server.client();
    command(&mut client, "relax");
    server.eventually("what is not waited for costs no timer", |metrics| metrics.timers == 0);
    command(&mut client, "expect");
    client.expect_end();
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), reason(Timeout::Read));
    let mut client = server.client();
    command(&mut client, "hurry");
    client.expect_end();
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), reason(Timeout::Lifetime));
}

#[test]
fn without_a_timer_to_spare_the_connection_is_closed() {
    let (tell, told) = mpsc::channel();
    let mut limits = Limits::default();
    limits.timers = 1;
    let server = TestLoop::start(limits, move |event_loop| {
        let options = ListenOptions::default().timeouts(Timeouts::default().lifetime(Duration::from_secs(3600)));
        let make = move |_: &_| Told { handler: Echo, tell: tell.clone() };
        event_loop.listen(any_port(), &options, make).unwrap();
    });
    let mut first = server.client();
    command(&mut first, "hello");
    let mut second = server.client();
    second.expect_end();
    assert!(told.recv_timeout(DEADLINE).unwrap().contains("Limits::timers"));
    command(&mut first, "still here");
}
