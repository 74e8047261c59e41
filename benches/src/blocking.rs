//! What a nonblocking socket says when it has nothing to say.

use std::io::{self, ErrorKind};

/// How much was moved. `None`: the socket would block.
pub(crate) fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}
