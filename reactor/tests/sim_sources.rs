//! What the simulated kernel does not have is refused with a word on why, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{self, ErrorKind, pipe};
use std::os::unix::net::UnixStream;
use std::process::Command;

use reactor::sim::Sim;
use reactor::sources::{ByteReader, ChildOptions, ReaderContext};
use reactor::{
    Context, EventLoop, Handler, Input, Interest, ListenOptions, Progress, Readiness, Result, Source, SourceContext,
};

struct Quiet;

impl Source for Quiet {
    fn on_ready(&mut self, _: &mut SourceContext<'_>, _: Readiness) -> Result<Progress> {
        Ok(Progress::Drained)
    }
}

impl ByteReader for Quiet {
    fn on_bytes(&mut self, _: &mut ReaderContext<'_>, _: &mut Input<'_>) -> Result {
        Ok(())
    }
}

impl Handler for Quiet {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        for refused in [cx.receive_fds(), cx.send_with_fds("x", Vec::new()), cx.peer_credentials().map(drop)] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
        }
        cx.send("open")
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }
}

fn expect_refused<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("the simulated kernel"), "{error}");
}

#[test]
fn sources_and_real_sockets_are_refused() {
    let _sim = Sim::new(1);
    let mut event_loop = EventLoop::new(()).unwrap();
    let mut cx = event_loop.context();
    let ((reader, writer), (other_reader, _other)) = (pipe().unwrap(), pipe().unwrap());
    expect_refused(cx.add_source(reader, Interest::READ, Quiet));
    expect_refused(cx.add_reader(other_reader, Quiet));
    expect_refused(cx.add_writer(writer, ()));
    expect_refused(cx.watch_files(|_, _| Ok(())));
    expect_refused(cx.spawn(&mut Command::new("true"), &ChildOptions::default(), |_, _| ()));
    expect_refused(cx.adopt(UnixStream::pair().unwrap().0, Quiet));
    let metrics = event_loop.metrics();
    assert_eq!((metrics.sources, metrics.open), (0, 0));
}

#[test]
fn what_local_sockets_alone_can_is_refused_and_the_connection_goes_on() {
    let sim = Sim::new(1);
    let mut event_loop = EventLoop::new(()).unwrap();
    event_loop.listen("unix:@simulated", &ListenOptions::default(), |_| Quiet).unwrap();
    let peer = sim.connect("unix:@simulated");
    sim.run_until(&mut event_loop, || peer.received() == b"open").unwrap();
}
