//! The smallest server: what comes in goes out. Try `cargo run -p examples --example echo`, then `nc 127.0.0.1 7777`.

use reactor::{Context, Handler, Input, Result, Server};

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())
    }
}

fn main() -> Result {
    Server::builder().listen("127.0.0.1:7777", |_peer| Echo)?.run().map(drop)
}
