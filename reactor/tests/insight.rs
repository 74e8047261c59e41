//! Someone outside sees how a loop fares: its connections one by one, where its time goes, and how late it is.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{Client, DEADLINE, Echo, Full, Silent, TestLoop, Transport, fill_pattern};
use reactor::{
    ConnId, ConnectOptions, ConnectionState, ConnectionView, Context, Handler, Input, Limits, PauseCause, PostError,
    RateLimit, Rates, Result, Server, SocketAddress,
};

/// More than the buffers of both kernels take.
const LARGE: usize = 12 << 20;

fn tcp_client(server: &TestLoop) -> TcpStream {
    TcpStream::connect(server.address().as_inet().expect("it is TCP")).expect("it listens")
}

#[track_caller]
fn views(server: &TestLoop, most: usize) -> Vec<ConnectionView> {
    let (tell, told) = mpsc::channel();
    server.handle.connections(most, move |views| tell.send(views).expect("the test waits")).expect("the loop runs");
    told.recv_timeout(DEADLINE).expect("the loop answers within the deadline")
}

/// Looks until the only connection is as wanted.
#[track_caller]
fn eventually_seen(server: &TestLoop, what: &str, mut wanted: impl FnMut(&ConnectionView) -> bool) -> ConnectionView {
    let mut last = None;
    common::eventually(what, || {
        last = views(server, 10).pop();
        last.as_ref().is_some_and(&mut wanted)
    });
    last.expect("one was seen")
}

#[test]
fn a_connection_shows_its_peer_its_state_and_what_tcp_knows() {
    let server = TestLoop::serve(|| Echo);
    let mut client = tcp_client(&server);
    client.write_all(b"hello").expect("it is taken");
    client.read_exact(&mut [0; 5]).expect("it comes back");
    let view = views(&server, 10).pop().expect("there is one");
    assert_eq!(view.peer.as_ref().and_then(SocketAddress::as_inet), client.local_addr().ok());
    assert_eq!((view.state, view.input, view.output, view.paused), (ConnectionState::Open, 0, 0, None));
    let tcp = view.tcp.expect("it is a TCP connection");
    assert!(tcp.congestion_window > 0 && tcp.rtt > Duration::ZERO, "{tcp:?}");
    let line = view.to_string();
    assert!(line.contains(" open, in 0 B, out 0 B, idle ") && line.contains(" ms, cwnd "), "{line}");
}

#[test]
fn a_unix_connection_has_no_figures_of_tcp() {
    let server = TestLoop::serve_with(Limits::default(), Transport::Unix, || Echo);
    let mut client = server.client();
    client.send("hello");
    client.expect("hello");
    let view = views(&server, 10).pop().expect("there is one");
    assert_eq!(view.tcp, None);
}

#[test]
fn a_peer_that_does_not_read_shows_as_a_pause_by_the_output() {
    let mut limits = Limits::default();
    (limits.high_mark, limits.low_mark) = (64 << 10, 16 << 10);
    let server = TestLoop::serve_with(limits, Transport::Tcp, || Echo);
    let mut client = tcp_client(&server);
    client.set_nonblocking(true).expect("it can be");
    let mut bytes = vec![0; 64 << 10];
    fill_pattern(0, &mut bytes);
    let view = eventually_seen(&server, "its output stands above the mark", |view| {
        // It sends on until nothing is taken any more.
        let _ = client.write(&bytes);
        view.paused == Some(PauseCause::Output)
    });
    assert!(view.output > 64 << 10, "{view}");
    assert!(view.to_string().contains("paused by its output"), "{view}");
}

/// Leaves all its input, and pauses.
struct Leaves;

impl Handler for Leaves {
    fn on_data(&mut self, cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        cx.pause();
        Ok(())
    }
}

#[test]
fn input_that_a_handler_leaves_is_seen() {
    let server = TestLoop::serve(|| Leaves);
    let mut client = server.client();
    client.send("hello");
    let view = eventually_seen(&server, "it has paused", |view| view.paused == Some(PauseCause::Handler));
    assert_eq!(view.input, 5);
}

/// Keeps its own direction open.
struct Stays;

impl Handler for Stays {
    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }

    fn on_eof(&mut self, _cx: &mut Context<'_>) -> Result {
        Ok(())
    }
}

#[test]
fn the_end_of_one_direction_is_seen() {
    let server = TestLoop::serve(|| Stays);
    let mut client = server.client();
    client.end();
    eventually_seen(&server, "the peer has ended", |view| view.state == ConnectionState::PeerEnded);
}

/// Takes what it has to, and leaves all else to the test.
fn inert(server_side: TestLoop) -> (TestLoop, Client, ConnId) {
    let client = server_side.client();
    let id = eventually_seen(&server_side, "it is open", |view| view.state == ConnectionState::Open).id;
    (server_side, client, id)
}

#[test]
fn our_own_end_is_seen() {
    let (server, _client, id) = inert(TestLoop::serve(|| Stays));
    server.on_loop(move |cx| cx.peer(id).expect("it is open").shutdown_write());
    let view = eventually_seen(&server, "it has ended", |view| view.state == ConnectionState::WriteEnded);
    assert!(view.to_string().contains(" write ended, "), "{view}");
}

#[test]
fn an_end_that_waits_for_its_output_is_seen() {
    let (server, mut client, id) = inert(TestLoop::serve(|| Stays));
    server.on_loop(move |cx| {
        let mut peer = cx.peer(id).expect("it is open");
        peer.send(vec![7; LARGE]).expect("there is room");
        peer.close_after_flush();
    });
    let view = eventually_seen(&server, "it closes", |view| view.state == ConnectionState::Closing);
    assert!(view.output > 0 && view.to_string().contains(" closing, "), "{view}");
    assert_eq!(client.receive_to_end(), vec![7; LARGE]);
}

#[test]
fn one_that_lingers_is_seen_until_its_peer_has_closed() {
    // Longer than a busy machine keeps us from looking.
    let mut limits = Limits::default();
    limits.linger = DEADLINE;
    let (server, mut client, id) = inert(TestLoop::serve_with(limits, Transport::Tcp, || Stays));
    server.on_loop(move |cx| cx.peer(id).expect("it is open").pause());
    client.send("nobody reads this");
    server.on_loop(move |cx| cx.peer(id).expect("it is open").close());
    let view = eventually_seen(&server, "it lingers", |view| view.state == ConnectionState::Lingering);
    assert!(view.peer.is_some() && view.to_string().contains(" lingering, "), "{view}");
    drop(client);
    common::eventually("it is gone", || views(&server, 10).is_empty());
}

#[test]
fn an_attempt_to_connect_is_seen() {
    let full = Full::new();
    let server = TestLoop::serve(|| Silent);
    let target = full.address;
    server
        .on_loop(move |cx| cx.connect(target, &ConnectOptions::default(), Silent).map(drop))
        .expect("it can be tried");
    let view = eventually_seen(&server, "it is tried", |view| view.state == ConnectionState::Connecting);
    assert!(view.to_string().contains(" - connecting, "), "{view}");
}

#[test]
fn one_that_rests_for_its_rate_shows_so() {
    let (server, mut client, id) = inert(TestLoop::serve(|| Stays));
    let slow = Rates::default().input(RateLimit::per_second(1).burst(1));
    server.on_loop(move |cx| cx.peer(id).expect("it is open").set_rates(slow));
    client.send("more than one byte");
    let view = eventually_seen(&server, "it rests", |view| view.paused == Some(PauseCause::Rate));
    assert!(view.to_string().contains("paused by its rate"), "{view}");
}

#[test]
fn a_view_of_many_takes_several_turns_and_has_each_once() {
    const COUNT: usize = 600;
    let server = TestLoop::serve(|| Silent);
    let clients: Vec<Client> = (0..COUNT).map(|_| server.client()).collect();
    server.eventually("all are open", |metrics| metrics.open == COUNT as u64);
    let turns = server.metrics().turns;
    let mut seen: Vec<_> = views(&server, usize::MAX).iter().map(|view| view.id).collect();
    // One page by the message, and where a page takes long another by its timer.
    assert!(server.metrics().turns >= turns + 2, "a turn looks at 512 at the most");
    seen.sort_unstable_by_key(ToString::to_string);
    seen.dedup();
    assert_eq!(seen.len(), COUNT);
    assert_eq!(views(&server, 300).len(), 300);
    assert_eq!(views(&server, 0).len(), 0);
    drop(clients);
}

#[test]
fn a_loop_that_has_ended_shows_nothing() {
    let server = TestLoop::serve(|| Silent);
    let handle = server.handle.clone();
    server.shut_down(Duration::ZERO);
    let result = handle.connections(10, |_| panic!("there is no loop to call this"));
    assert!(matches!(result, Err(PostError::Stopped)), "{result:?}");
}

#[test]
fn a_long_callback_shows_in_the_figures() {
    const LONG: Duration = Duration::from_millis(20);
    let server = TestLoop::serve(|| Silent);
    let before = server.metrics();
    server.on_loop(|_| thread::sleep(LONG));
    server.on_loop(|_| ());
    server.eventually("its turn has ended", |metrics| metrics.turn_times.sum() >= before.turn_times.sum() + LONG);
    let after = server.metrics();
    assert!(after.busy >= before.busy + LONG && after.longest_callback >= LONG);
    assert!(after.callback_times.quantile(1.0) >= LONG);
    assert!(after.turn_times.count() <= after.turns);
}

#[test]
fn a_wait_shows_in_the_figures() {
    let server = TestLoop::serve(|| Silent);
    server.on_loop(|_| ());
    let before = server.metrics();
    // The loop has nothing else to do until then.
    server.on_loop(|cx| cx.run_after(Duration::from_millis(30), |_| ()).map(drop)).expect("there is room for a timer");
    server.eventually("the wait has ended", |metrics| metrics.waited > before.waited);
}

#[test]
fn a_server_tells_of_its_loops_as_prometheus_reads_it() {
    let server = Server::builder().threads(2).listen("127.0.0.1:0", |_| Echo).expect("port 0 is free");
    let server = server.start().expect("it starts");
    let mut client = Client::connect(&server.local_addresses()[0]);
    client.send("hello");
    client.expect("hello");
    let text = server.handle().prometheus_text("echo");
    let received: u64 = text
        .lines()
        .filter_map(|line| line.strip_prefix("echo_received_bytes_total{"))
        .filter_map(|line| line.split_once(' '))
        .map(|(_, value)| value.parse::<u64>().expect("it is a number"))
        .sum();
    assert_eq!(received, 5, "{text}");
    assert!(text.contains("echo_turn_seconds_count{loop=\"1\"}"), "{text}");
}
