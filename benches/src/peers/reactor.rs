//! Echo on this project's loop.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use reactor::{Context, EventLoop, Handler, Input, ListenOptions, Listener, Result};

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())
    }
}

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    let mut event_loop = EventLoop::new(())?;
    event_loop.listen_on(Listener::from_fd(OwnedFd::from(listener))?, &ListenOptions::default(), |_peer| Echo)?;
    event_loop.run().map(drop)
}
