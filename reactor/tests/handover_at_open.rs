//! A connection may be given another handler as it opens: the new one sees the first byte.

mod common;

use common::{TestLoop, Transport};
use reactor::{Context, Handler, Input, Limits, Result};

struct Greeter;

impl Handler for Greeter {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        cx.replace_handler(Shouter);
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, _: &mut Input<'_>) -> Result {
        unreachable!("the connection has another handler")
    }
}

struct Shouter;

impl Handler for Shouter {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        cx.send(input.take().to_ascii_uppercase())
    }
}

#[test]
fn the_new_handler_sees_all_that_comes() {
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(Limits::default(), transport, || Greeter);
        for _ in 0..20 {
            let mut client = server.client();
            for _ in 0..3 {
                client.send("hello");
                client.expect("HELLO");
            }
        }
    }
}
