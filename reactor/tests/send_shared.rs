//! Shared bytes leave in their place among others, whether the kernel takes them at once or not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{TestLoop, Transport, assert_pattern, pattern};
use reactor::{Context, Handler, Input, Limits, Result, SharedBytes};

/// Answers each byte with bytes, shared bytes, and bytes.
struct Server {
    shared: SharedBytes,
}

impl Handler for Server {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        for _ in input.take() {
            cx.send("<")?;
            cx.send_shared(self.shared.clone())?;
            cx.send(">")?;
        }
        Ok(())
    }
}

#[test]
fn what_is_sent_before_and_after_keeps_its_place() {
    // Fewer than are sent directly, some that the kernel takes at once, and more than it takes.
    for length in [300, 20_000, 6_000_000] {
        let shared = SharedBytes::from(pattern(0, length));
        let make = move || Server { shared: shared.clone() };
        for transport in Transport::ALL {
            let serving = TestLoop::serve_with(Limits::default(), transport, make.clone());
            let mut client = serving.client();
            client.send("xx");
            for _ in 0..2 {
                client.expect("<");
                assert_pattern(0, &client.receive(length));
                client.expect(">");
            }
        }
    }
}
