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

fn in_pages(length: usize) -> SharedBytes {
    let fill = |bytes: &mut [u8]| {
        bytes.copy_from_slice(&pattern(0, length));
        Ok(())
    };
    SharedBytes::in_pages(length, fill).unwrap()
}

#[test]
fn what_is_sent_before_and_after_keeps_its_place() {
    // Fewer than are sent directly, some that the kernel takes at once, and more than it takes.
    for length in [300, 20_000, 6_000_000] {
        for shared in [SharedBytes::from(pattern(0, length)), in_pages(length)] {
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
}

/// Answers each byte with pages that it does not keep.
struct Lender;

impl Handler for Lender {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        for byte in input.take() {
            cx.send_shared(in_pages(if *byte == b'l' { 6_000_000 } else { 100_000 }))?;
        }
        Ok(())
    }
}

#[test]
fn pages_arrive_whole_though_nobody_owns_them_any_more() {
    for transport in Transport::ALL {
        let serving = TestLoop::serve_with(Limits::default(), transport, || Lender);
        let (mut slow, mut other) = (serving.client(), serving.client());
        slow.send("l");
        assert_pattern(0, &slow.receive(1000));
        // What is mapped and written to meanwhile is other memory.
        for _ in 0..20 {
            other.send("s");
            assert_pattern(0, &other.receive(100_000));
        }
        assert_pattern(1000, &slow.receive(5_999_000));
    }
}
