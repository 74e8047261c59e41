//! A drain serves what has arrived, sends what waits, and closes; what cannot be sent in time is cut and told.

mod common;
#[path = "common/datagrams.rs"]
mod datagrams;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::TestLoop;
use datagrams::{
    Heard, Listening, bind, bind_udp, receive, udp_client, unix_peer, unix_receive, unix_send, unix_url,
    wait_until_some_wait,
};
use reactor::{DatagramOptions, Limits};

#[test]
fn what_has_arrived_is_answered() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, address, ears) = bind_udp(&server, Listening::echo());
    let client = udp_client();
    server.hold_up(|| {
        for index in 0..100_u8 {
            client.send_to(&[index], address).unwrap();
        }
        server.handle.shutdown(common::DEADLINE).unwrap();
    });
    for index in 0..100 {
        assert_eq!(receive(&client), [index]);
    }
    let report = server.wait();
    assert_eq!((report.clean, report.cut, report.unsent), (1, 0, 0));
    ears.wait_for(|heard| *heard == Heard::Shutdown);
    ears.wait_for(|heard| *heard == Heard::Close("shutdown"));
}

#[test]
fn what_waits_for_a_slow_peer_is_sent() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, local, ears) = bind(
        &server,
        &unix_url(),
        &DatagramOptions::default(),
        Listening::doing(|cx, _, _| (0..100_u8).try_for_each(|index| cx.reply([index]))),
    );
    let (client, _) = unix_peer();
    unix_send(&client, b"go", &local);
    wait_until_some_wait(&server);
    server.handle.shutdown(common::DEADLINE).unwrap();
    ears.wait_for(|heard| *heard == Heard::Shutdown);
    for index in 0..100 {
        assert_eq!(unix_receive(&client), [index]);
    }
    let report = server.wait();
    assert_eq!((report.clean, report.cut, report.unsent), (1, 0, 0));
}

#[test]
fn what_a_peer_never_takes_is_cut_at_the_deadline() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, local, ears) = bind(
        &server,
        &unix_url(),
        &DatagramOptions::default(),
        Listening::doing(|cx, _, _| (0..100_u8).try_for_each(|index| cx.reply([index]))),
    );
    let (client, _) = unix_peer();
    unix_send(&client, b"go", &local);
    wait_until_some_wait(&server);
    let handle = server.handle.clone();
    let report = server.shut_down(Duration::from_millis(20));
    assert_eq!((report.clean, report.cut), (0, 1));
    assert!(report.unsent > 0);
    assert_eq!(handle.metrics().datagrams.dropped, report.unsent);
    ears.wait_for(|heard| *heard == Heard::Close("cut"));
}

#[test]
fn a_flood_does_not_keep_the_loop_from_ending() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (_, address, ears) = bind_udp(&server, Listening::new());
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = || {
            let client = udp_client();
            while !enough.load(Ordering::Relaxed) {
                // Nobody is there any more once the socket is closed.
                let _ = client.send_to(&[0; 64], address);
            }
        };
        scope.spawn(flood);
        server.eventually("the flood has begun", |metrics| metrics.datagrams.received > 100);
        // It ends by itself, long before it would be cut.
        server.handle.shutdown(Duration::from_secs(3600)).unwrap();
        ears.wait_for(|heard| matches!(heard, Heard::Close(_)));
        enough.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.wait().cut, 0);
}

#[test]
fn one_that_stays_is_cut() {
    let server = TestLoop::start(Limits::default(), |_| ());
    let (handler, ears) = Listening::echo();
    let (_, address, ears) = bind_udp(&server, (handler.staying(), ears));
    server.handle.shutdown(Duration::from_millis(200)).unwrap();
    ears.wait_for(|heard| *heard == Heard::Shutdown);
    // It serves on meanwhile, unless the machine is so busy that the time is up.
    let _ = udp_client().send_to(b"x", address);
    assert_eq!(server.wait().cut, 1);
    ears.wait_for(|heard| *heard == Heard::Close("cut"));
}
