//! A descriptor that is given to a loop, or by it: a real one, or one of a simulation.

use std::io;
use std::os::fd::OwnedFd;

use crate::sys::fd::Fd;

/// A descriptor on its way into a loop. Whatever owns a descriptor becomes one: a [`File`](std::fs::File), a socket, an end of a
/// [pipe](std::io::pipe), an [`OwnedFd`]. Dropping it closes it.
///
/// In a simulation (feature `sim`) it may be of the simulated kernel, so that a program that hands on what
/// [`spawn`](crate::LoopContext::spawn) has given it runs there too.
///
/// ```
/// use std::io::{Read, Write};
/// use std::fs::File;
/// use reactor::sources::Descriptor;
///
/// let (mut reader, writer) = std::io::pipe()?;
/// let descriptor = Descriptor::from(writer);
/// // What takes it out again.
/// File::from(descriptor.into_owned()?).write_all(b"hello")?;
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Descriptor(Fd);

impl Descriptor {
    pub(crate) fn of(fd: Fd) -> Self {
        Self(fd)
    }

    /// The descriptor, to use without a loop.
    ///
    /// # Errors
    /// `Unsupported`: it is of a simulation, outside of which it is none.
    pub fn into_owned(self) -> io::Result<OwnedFd> {
        if self.0.as_fd().is_simulated() {
            let message = "a descriptor of the simulated kernel cannot leave the simulation";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        Ok(self.0.into())
    }

    pub(crate) fn into_fd(self) -> Fd {
        self.0
    }
}

impl<T: Into<OwnedFd>> From<T> for Descriptor {
    fn from(fd: T) -> Self {
        Self(fd.into().into())
    }
}
