//! calloop's channel, an event source of its loop.

use std::io;
use std::sync::{Arc, mpsc};

use calloop::EventLoop;
use calloop::channel::{self, Event, Sender};

use super::{Desk, Letter, Post};
use crate::cores;

/// The sender of the channel; the loop ends when it is dropped.
pub struct CalloopPost {
    sender: Sender<Letter>,
    desk: Arc<Desk>,
}

impl CalloopPost {
    /// Starts a loop.
    ///
    /// # Errors
    /// No thread, descriptor or memory is left.
    pub fn start() -> io::Result<Self> {
        let desk = Arc::new(Desk::new());
        let reader = Arc::clone(&desk);
        let (made, is_made) = mpsc::channel();
        cores::spawn_server("calloop", move || Ok(run(reader, &made)?))?;
        Ok(Self { sender: is_made.recv().map_err(io::Error::other)?, desk })
    }
}

fn run(desk: Arc<Desk>, made: &mpsc::Sender<Sender<Letter>>) -> calloop::Result<()> {
    let (sender, source) = channel::channel();
    let mut event_loop: EventLoop<'_, ()> = EventLoop::try_new()?;
    let signal = event_loop.get_signal();
    let read = move |event, (): &mut (), (): &mut ()| match event {
        Event::Msg(letter) => _ = desk.read(letter),
        Event::Closed => signal.stop(),
    };
    event_loop.handle().insert_source(source, read).map_err(|failure| failure.error)?;
    // The starter waits for it.
    let _ = made.send(sender);
    event_loop.run(None, &mut (), |()| ())
}

impl Post for CalloopPost {
    #[inline]
    fn post(&self, letter: Letter) {
        self.sender.send(letter).expect("the loop reads until the sender is gone");
    }

    fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }
}
