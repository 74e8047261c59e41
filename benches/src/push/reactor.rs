//! This project's loop: [`LoopHandle::send`].

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};

use reactor::{ConnId, Context, EventLoop, Handler, Input, ListenOptions, Listener, LoopHandle, Result};

use super::{Ends, Push};
use crate::cores;
use crate::listener;
use crate::post::{Desk, Letter};

/// The handle of the loop, and the name that it has for the client.
pub struct ReactorPush {
    handle: LoopHandle<Arc<Desk>>,
    id: ConnId,
    ends: Ends,
}

impl ReactorPush {
    /// Starts a loop.
    ///
    /// # Errors
    /// No thread, descriptor or memory is left.
    pub fn start() -> io::Result<Self> {
        let desk = Arc::new(Desk::new());
        let listener = listener::listen_locally()?;
        let address = listener.local_addr()?;
        let state = Arc::clone(&desk);
        let (opened, is_open) = mpsc::channel();
        cores::spawn_server("reactor", move || run(state, listener, opened))?;
        let ends = Ends::connect(desk, address)?;
        let (handle, id) = is_open.recv().map_err(io::Error::other)?;
        Ok(Self { handle, id, ends })
    }
}

type Opened = mpsc::Sender<(LoopHandle<Arc<Desk>>, ConnId)>;

fn run(state: Arc<Desk>, listener: TcpListener, opened: Opened) -> io::Result<()> {
    let mut event_loop = EventLoop::new(state)?;
    let listener = Listener::from_fd(OwnedFd::from(listener))?;
    event_loop.listen_on(listener, &ListenOptions::default(), move |_peer| Client(opened.clone()))?;
    event_loop.run().map(drop)
}

/// A client that is only sent to.
struct Client(Opened);

impl Handler<Arc<Desk>> for Client {
    fn on_open(&mut self, cx: &mut Context<'_, Arc<Desk>>) -> Result {
        // The starter waits for it.
        let _ = self.0.send((cx.handle(), cx.id()));
        Ok(())
    }

    fn on_data(&mut self, _cx: &mut Context<'_, Arc<Desk>>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }
}

impl Push for ReactorPush {
    #[inline]
    fn push(&self, bytes: &[u8]) {
        self.handle.send(self.id, bytes).expect("a bench posts less than the mailbox holds");
    }

    fn post(&self, letter: Letter) {
        let posted = self.handle.execute(move |cx| {
            cx.state().read(letter);
        });
        posted.expect("a bench posts less than the mailbox holds");
    }

    fn ends(&self) -> &Ends {
        &self.ends
    }
}

impl Drop for ReactorPush {
    fn drop(&mut self) {
        // A loop that has ended needs no telling.
        let _ = self.handle.stop();
    }
}
