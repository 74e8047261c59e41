//! mio's `Waker` beside a channel of the standard library, which is how mio is woken with something to say.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use mio::{Events, Poll, Token, Waker};

use super::{Desk, Letter, Post};
use crate::cores;

/// The sender of the channel, and what wakes the loop to look into it.
pub struct MioPost {
    sender: Sender<Letter>,
    waker: Waker,
    desk: Arc<Desk>,
}

impl MioPost {
    /// Starts a loop.
    ///
    /// # Errors
    /// No thread, descriptor or memory is left.
    pub fn start() -> io::Result<Self> {
        let desk = Arc::new(Desk::new());
        let reader = Arc::clone(&desk);
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(0))?;
        let (sender, receiver) = mpsc::channel();
        cores::spawn_server("mio", move || run(poll, &receiver, &reader))?;
        Ok(Self { sender, waker, desk })
    }
}

fn run(mut poll: Poll, receiver: &Receiver<Letter>, desk: &Desk) -> io::Result<()> {
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        while let Ok(letter) = receiver.try_recv() {
            if !desk.read(letter) {
                return Ok(());
            }
        }
    }
}

impl Post for MioPost {
    #[inline]
    fn post(&self, letter: Letter) {
        self.sender.send(letter).expect("the loop reads until it is stopped");
        self.waker.wake().expect("an eventfd has room for another wake-up");
    }

    fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }
}

impl Drop for MioPost {
    fn drop(&mut self) {
        self.post(Letter::Stop);
    }
}
