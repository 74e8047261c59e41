//! tokio's unbounded channel to the task of a connection, as its documentation's chat server has it.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Ends, Order, Push};
use crate::cores;
use crate::listener;
use crate::post::{Desk, Letter};

/// The sender of the channel; the runtime ends when it is dropped.
pub struct TokioPush {
    sender: UnboundedSender<Order>,
    ends: Ends,
}

impl TokioPush {
    /// Starts a runtime.
    ///
    /// # Errors
    /// No thread, descriptor or memory is left.
    pub fn start() -> io::Result<Self> {
        let desk = Arc::new(Desk::new());
        let listener = listener::listen_locally()?;
        let ends = Ends::connect(Arc::clone(&desk), listener.local_addr()?)?;
        let (sender, receiver) = unbounded_channel();
        cores::spawn_server("tokio", move || run(&desk, &listener, receiver))?;
        Ok(Self { sender, ends })
    }
}

fn run(desk: &Desk, listener: &TcpListener, mut receiver: UnboundedReceiver<Order>) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let mut stream = TcpStream::from_std(stream)?;
        while let Some(order) = receiver.recv().await {
            match order {
                Order::Send(bytes) => stream.write_all(&bytes).await?,
                Order::Read(letter) => _ = desk.read(letter),
            }
        }
        Ok(())
    })
}

impl Push for TokioPush {
    #[inline]
    fn push(&self, bytes: &[u8]) {
        self.sender.send(Order::Send(bytes.to_vec())).expect("the task reads until the sender is gone");
    }

    fn post(&self, letter: Letter) {
        self.sender.send(Order::Read(letter)).expect("the task reads until the sender is gone");
    }

    fn ends(&self) -> &Ends {
        &self.ends
    }
}
