//! A datagram socket gets at most its budget of a turn; then the next source has its turn.

use std::net::UdpSocket;
use std::time::Duration;

use reactor::{
    DatagramContext, DatagramHandler, DatagramId, DatagramOptions, EventLoop, Limits, Result, SocketAddress,
};

/// What the handlers of a loop have been shown.
#[derive(Default)]
struct Shown {
    datagrams: usize,
    bytes: usize,
    pings: usize,
}

struct Counting;

impl DatagramHandler<Shown> for Counting {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_, Shown>, _from: &SocketAddress, bytes: &[u8]) -> Result {
        let shown = cx.state();
        if bytes == b"ping" {
            shown.pings += 1;
        } else {
            shown.datagrams += 1;
            shown.bytes += bytes.len();
        }
        Ok(())
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.datagrams_per_turn = 10;
    limits.datagrams_per_call = 4;
    limits
}

fn bind(event_loop: &mut EventLoop<Shown>) -> (DatagramId, std::net::SocketAddr) {
    let options = DatagramOptions::default().receive_buffer(1 << 20);
    let id = event_loop.bind_datagram("udp://127.0.0.1:0", &options, Counting).expect("port 0 is free");
    let address = event_loop.context().datagram(id).expect("it is open").local_address();
    // The first turn calls `on_open`.
    event_loop.turn(Some(Duration::ZERO)).expect("the loop goes on");
    (id, address.as_inet().expect("it is UDP"))
}

fn flood(client: &UdpSocket, address: std::net::SocketAddr, count: usize, length: usize) {
    (0..count).for_each(|_| assert_eq!(client.send_to(&vec![b'x'; length], address).expect("it is sent"), length));
}

#[test]
fn no_turn_shows_more_than_the_budget_and_nothing_is_lost() {
    let mut event_loop = EventLoop::with_limits(limits(), Shown::default()).unwrap();
    let (_, address) = bind(&mut event_loop);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    flood(&client, address, 105, 8);
    for turn in 1..=10 {
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(event_loop.state().datagrams, 10 * turn);
    }
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(event_loop.state().datagrams, 105);
}

#[test]
fn no_turn_shows_more_bytes_than_the_budget() {
    let mut limits = limits();
    limits.read_per_turn = 4096;
    limits.datagrams_per_turn = 1000;
    let mut event_loop = EventLoop::with_limits(limits, Shown::default()).unwrap();
    let options = DatagramOptions::default().max_size(1000).receive_buffer(1 << 20);
    let id = event_loop.bind_datagram("udp://127.0.0.1:0", &options, Counting).unwrap();
    let address = event_loop.context().datagram(id).unwrap().local_address().as_inet().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    flood(&client, address, 100, 1000);
    for turn in 0..100 {
        let before = event_loop.state().bytes;
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        let shown = event_loop.state().bytes - before;
        // The last one may begin within the budget and end beyond it.
        assert!(shown < 4096 + 1000, "turn {turn} showed {shown} bytes");
        if event_loop.state().datagrams == 100 {
            return;
        }
    }
    panic!("{} datagrams were shown", event_loop.state().datagrams);
}

#[test]
fn a_flood_does_not_keep_another_socket_waiting() {
    let mut event_loop = EventLoop::with_limits(limits(), Shown::default()).unwrap();
    let ((_, flooded), (_, quiet)) = (bind(&mut event_loop), bind(&mut event_loop));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 1..=50 {
        flood(&client, flooded, 30, 8);
        client.send_to(b"ping", quiet).unwrap();
        let before = event_loop.state().datagrams;
        for _ in 0..3 {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(event_loop.state().pings, round);
        assert!(event_loop.state().datagrams - before <= 30);
    }
}

#[test]
fn a_loop_that_has_received_all_sleeps() {
    let mut event_loop = EventLoop::with_limits(limits(), Shown::default()).unwrap();
    let (_, address) = bind(&mut event_loop);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    // As many as a call takes, so that the kernel has to be asked once more.
    flood(&client, address, 4, 8);
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(event_loop.state().datagrams, 4);
    let before = event_loop.metrics().events;
    event_loop.turn(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(event_loop.metrics().events, before);
}
