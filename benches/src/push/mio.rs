//! mio's `Waker` beside a channel of the standard library.

use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use mio::{Events, Poll, Token, Waker};

use super::{Ends, Order, Push};
use crate::cores;
use crate::listener;
use crate::post::{Desk, Letter};

/// The sender of the channel, and what wakes the loop to look into it.
pub struct MioPush {
    sender: Sender<Order>,
    waker: Waker,
    ends: Ends,
}

impl MioPush {
    /// Starts a loop.
    ///
    /// # Errors
    /// No thread, descriptor or memory is left.
    pub fn start() -> io::Result<Self> {
        let desk = Arc::new(Desk::new());
        let listener = listener::listen_locally()?;
        let ends = Ends::connect(Arc::clone(&desk), listener.local_addr()?)?;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(0))?;
        let (sender, receiver) = mpsc::channel();
        cores::spawn_server("mio", move || run(poll, &listener, &receiver, &desk))?;
        Ok(Self { sender, waker, ends })
    }
}

/// The one connection blocks when its client is slow: the loop has nothing else to do.
fn run(mut poll: Poll, listener: &TcpListener, receiver: &Receiver<Order>, desk: &Desk) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        while let Ok(order) = receiver.try_recv() {
            match order {
                Order::Send(bytes) => stream.write_all(&bytes)?,
                Order::Read(letter) if desk.read(letter) => {}
                Order::Read(_) => return Ok(()),
            }
        }
    }
}

impl Push for MioPush {
    #[inline]
    fn push(&self, bytes: &[u8]) {
        self.sender.send(Order::Send(bytes.to_vec())).expect("the loop reads until it is stopped");
        self.waker.wake().expect("an eventfd has room for another wake-up");
    }

    fn post(&self, letter: Letter) {
        self.sender.send(Order::Read(letter)).expect("the loop reads until it is stopped");
        self.waker.wake().expect("an eventfd has room for another wake-up");
    }

    fn ends(&self) -> &Ends {
        &self.ends
    }
}

impl Drop for MioPush {
    fn drop(&mut self) {
        self.post(Letter::Stop);
    }
}
