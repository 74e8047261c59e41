//! tokio's unbounded channel to a task of a current-thread runtime that also watches sockets.

use std::io;
use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{Desk, Letter, Post};
use crate::cores;

/// The sender of the channel; the runtime ends when it is dropped.
pub struct TokioPost {
    sender: UnboundedSender<Letter>,
    desk: Arc<Desk>,
}

impl TokioPost {
    /// Starts a runtime.
    ///
    /// # Errors
    /// No thread, descriptor or memory is left.
    pub fn start() -> io::Result<Self> {
        let desk = Arc::new(Desk::new());
        let reader = Arc::clone(&desk);
        let (sender, mut receiver) = unbounded_channel();
        let runtime = Builder::new_current_thread().enable_io().build()?;
        cores::spawn_server("tokio", move || {
            runtime.block_on(async {
                while let Some(letter) = receiver.recv().await {
                    reader.read(letter);
                }
            });
            Ok(())
        })?;
        Ok(Self { sender, desk })
    }
}

impl Post for TokioPost {
    #[inline]
    fn post(&self, letter: Letter) {
        self.sender.send(letter).expect("the task reads until the sender is gone");
    }

    fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }
}
