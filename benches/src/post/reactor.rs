//! Closures posted to this project's loop.

use std::io;
use std::sync::{Arc, mpsc};

use reactor::{EventLoop, LoopHandle};

use super::{Desk, Letter, Post};
use crate::cores;

/// [`LoopHandle::execute`]: a closure for each letter. The loop's state is the desk.
pub struct ReactorPost {
    handle: LoopHandle<Arc<Desk>>,
    desk: Arc<Desk>,
}

impl ReactorPost {
    /// Starts a loop.
    ///
    /// # Errors
    /// No thread, descriptor or memory is left.
    pub fn start() -> io::Result<Self> {
        let desk = Arc::new(Desk::new());
        let state = Arc::clone(&desk);
        let (made, is_made) = mpsc::channel();
        cores::spawn_server("reactor", move || run(state, &made))?;
        Ok(Self { handle: is_made.recv().map_err(io::Error::other)?, desk })
    }
}

fn run(state: Arc<Desk>, made: &mpsc::Sender<LoopHandle<Arc<Desk>>>) -> io::Result<()> {
    let mut event_loop = EventLoop::new(state)?;
    // The starter waits for it.
    let _ = made.send(event_loop.handle());
    event_loop.run().map(drop)
}

impl Post for ReactorPost {
    #[inline]
    fn post(&self, letter: Letter) {
        let posted = self.handle.execute(move |cx| {
            cx.state().read(letter);
        });
        posted.expect("a bench posts less than the mailbox holds");
    }

    fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }
}

impl Drop for ReactorPost {
    fn drop(&mut self) {
        // A loop that has ended needs no telling.
        let _ = self.handle.stop();
    }
}
