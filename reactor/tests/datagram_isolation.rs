//! An error of a callback ends nothing, a panic ends its socket, and neither harms another; timers and visits work as on streams.

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use common::TestLoop;
use datagrams::{Heard, Listening, bind_udp, receive, udp_client};
use reactor::{DatagramContext, DatagramHandler, Limits, Result, SocketAddress};

#[test]
fn an_error_is_counted_and_the_socket_goes_on() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, address, ears) = bind_udp(
        &server,
        Listening::doing(|cx, _, bytes| {
            cx.reply(bytes)?;
            Err(io::Error::other("out of cheese"))
        }),
    );
    let client = udp_client();
    for index in 0..10_u8 {
        client.send_to(&[index], address).unwrap();
        ears.expect_datagram(&[index]);
        assert_eq!(receive(&client), [index]);
    }
    server.eventually("each is counted", |metrics| metrics.datagrams.failed == 10);
    assert_eq!(server.metrics().datagrams.sockets, 1);
}

#[test]
fn a_panic_ends_its_socket_and_no_other() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, bystander, _bystander_ears) = bind_udp(&server, Listening::echo());
    let (_, address, ears) = bind_udp(
        &server,
        Listening::doing(|cx, _, bytes| {
            cx.reply("famous last words")?;
            assert!(bytes.is_empty(), "out of {}", "cheese");
            Ok(())
        }),
    );
    let client = udp_client();
    server.hold_up(|| {
        client.send_to(b"x", address).unwrap();
        client.send_to(b"never shown", address).unwrap();
    });
    assert_eq!(receive(&client), b"famous last words");
    ears.expect_datagram(b"x");
    ears.expect(&Heard::Close("panic"));
    client.send_to(b"unharmed", bystander).unwrap();
    assert_eq!(receive(&client), b"unharmed");
    let metrics = server.metrics();
    assert_eq!((metrics.panics, metrics.closed.panic, metrics.datagrams.sockets), (1, 1, 1));
}

/// Counts what it is shown; anybody of the loop may ask how many.
struct Counting {
    count: u32,
    told: mpsc::Sender<u32>,
}

impl DatagramHandler for Counting {
    fn on_open(&mut self, cx: &mut DatagramContext<'_>) -> Result {
        let cancelled = cx.set_timer(Duration::ZERO)?;
        assert!(cx.cancel_timer(cancelled) && !cx.cancel_timer(cancelled));
        cx.set_timer(Duration::from_millis(1)).map(drop)
    }

    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, _from: &SocketAddress, _bytes: &[u8]) -> Result {
        self.count += 1;
        let id = cx.id();
        // A handler does not reach itself by its name.
        assert!(cx.with_datagram(id, |_: &mut Self, _| ()).is_none());
        Ok(())
    }

    fn on_timer(&mut self, _cx: &mut DatagramContext<'_>, _timer: reactor::TimerId) -> Result {
        self.told.send(self.count).expect("the test waits");
        Ok(())
    }
}

#[test]
fn timers_fire_and_others_of_the_loop_may_visit() {
    let (told, tells) = mpsc::channel();
    let server = TestLoop::start(Limits::default(), |_| ());
    let (id, address) = server.on_loop(move |cx| {
        let handler = Counting { count: 0, told };
        let id = cx.bind_datagram("udp://127.0.0.1:0", &reactor::DatagramOptions::default(), handler).unwrap();
        (id, datagrams::local_address(cx, id))
    });
    assert_eq!(tells.recv_timeout(common::DEADLINE).unwrap(), 0);
    let client = udp_client();
    client.send_to(b"x", address.as_inet().unwrap()).unwrap();
    server.eventually("it is shown", |metrics| metrics.datagrams.received == 1);
    let client_address: SocketAddress = client.local_addr().unwrap().into();
    let visited = server.on_loop(move |cx| {
        assert!(cx.with_datagram(id, |_: &mut Listening, _| ()).is_none(), "it is of another type");
        cx.with_datagram(id, |counting: &mut Counting, cx| {
            cx.send_to(&client_address, "visited")?;
            Result::Ok(counting.count)
        })
    });
    assert_eq!(visited.unwrap().unwrap(), 1);
    assert_eq!(receive(&client), b"visited");
    server.on_loop(move |cx| cx.datagram(id).unwrap().close());
    server.eventually("its timers are gone", |metrics| metrics.timers == 0 && metrics.datagrams.sockets == 0);
}
