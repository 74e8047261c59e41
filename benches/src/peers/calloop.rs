//! Echo on calloop: each connection is an event source with a closure.

use std::io;
use std::net::{TcpListener, TcpStream};

use calloop::generic::Generic;
use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction};

use super::session::{BUFFER, Session};

/// The buffer that all connections read into.
type Scratch = Vec<u8>;

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut event_loop: EventLoop<'static, Scratch> = EventLoop::try_new()?;
    let handle = event_loop.handle();
    let source = Generic::new(listener, Interest::READ, Mode::Level);
    event_loop
        .handle()
        .insert_source(source, move |_, listener, _| {
            while let Ok((stream, _)) = listener.accept() {
                watch(&handle, stream);
            }
            Ok(PostAction::Continue)
        })
        .map_err(|failure| io::Error::other(failure.error))?;
    event_loop.run(None, &mut vec![0; BUFFER], |_| ())?;
    Ok(())
}

/// A connection that cannot be watched is closed, by being dropped.
fn watch(handle: &LoopHandle<'static, Scratch>, stream: TcpStream) {
    if stream.set_nonblocking(true).is_err() {
        return;
    }
    let mut session = Session::default();
    let source = Generic::new(stream, Interest::BOTH, Mode::Edge);
    let inserted = handle.insert_source(source, move |_, stream, buffer: &mut Scratch| {
        let stream: &TcpStream = stream.as_ref();
        Ok(if session.serve(stream, buffer) { PostAction::Continue } else { PostAction::Remove })
    });
    drop(inserted);
}
