//! Options of sockets do what they say: a connection without data is not accepted, and data goes with the request to connect.

#![cfg(not(miri))]

mod common;
#[path = "common/more.rs"]
mod more;

use std::time::Duration;

use common::{Echo, Event, Events, Logged, TestLoop, any_port};
use more::Script;
use reactor::{ConnectOptions, Limits, ListenOptions, SocketOptions};

fn listening_with(options: SocketOptions) -> TestLoop {
    TestLoop::start(Limits::default(), move |event_loop| {
        event_loop.listen(any_port(), &ListenOptions::default().socket(options), |_| Echo).expect("port 0 is free");
    })
}

#[test]
fn a_deferred_connection_is_accepted_with_its_first_bytes() {
    let server = listening_with(SocketOptions::default().defer_accept(Duration::from_secs(60)));
    let mut client = server.client();
    server.on_loop(|_| ());
    assert_eq!(server.metrics().accepted, 0);
    client.send("here I am");
    client.expect("here I am");
    assert_eq!(server.metrics().accepted, 1);
}

/// Whether the kernel is told to do it (`net.ipv4.tcp_fastopen`) or not, the bytes come, once.
#[test]
fn a_connection_that_opens_fast_passes_its_bytes() {
    let server = listening_with(SocketOptions::default().fastopen(16_u32));
    let address = server.address().clone();
    let options = ConnectOptions::default().socket(SocketOptions::default().fastopen(1_u32));
    // The first one hears how it is done, the others do it.
    for _ in 0..3 {
        let (log, events) = Events::new();
        let (target, options) = (address.clone(), options.clone());
        server.on_loop(move |cx| {
            let client = Script::new().open(|cx| cx.send("fast")).data(|cx, input| {
                if input.len() == 4 {
                    input.take();
                    cx.close_after_flush()?;
                }
                Ok(())
            });
            cx.connect(target, &options, Logged::new(&log, client)).expect("it can be tried");
        });
        events.wait_for(|event| *event == Event::Data(b"fast".to_vec()));
        events.wait_for_close("closed");
    }
}
