//! Echo on this project's loop.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use reactor::{Context, EventLoop, Handler, Input, ListenOptions, Listener, Result};

use super::ANSWER;

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())
    }
}

struct Answers;

impl Handler for Answers {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take().chunks(ANSWER).try_for_each(|request| cx.send(request))
    }
}

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    run(listener, || Echo)
}

pub(super) fn answer(listener: TcpListener) -> io::Result<()> {
    run(listener, || Answers)
}

fn run<H: Handler + 'static>(listener: TcpListener, handler: impl Fn() -> H + 'static) -> io::Result<()> {
    let mut event_loop = EventLoop::new(())?;
    let listener = Listener::from_fd(OwnedFd::from(listener))?;
    event_loop.listen_on(listener, &ListenOptions::default(), move |_peer| handler())?;
    event_loop.run().map(drop)
}
