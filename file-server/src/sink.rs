//! Where the body of a request goes.

use std::io;

use crate::storage::Incoming;

/// Where a body goes. It blocks, so it is called on the worker pool.
pub trait Sink: Send + 'static {
    /// What comes of it.
    type Outcome: Send + 'static;

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They cannot be kept; nothing more will come.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The file that they go to just as they are, if there is one, and nobody has to see them on the way.
    fn file(&mut self) -> Option<&mut Incoming> {
        None
    }

    /// All has come.
    ///
    /// # Errors
    /// It cannot be kept.
    fn finish(self) -> io::Result<Self::Outcome>;
}
