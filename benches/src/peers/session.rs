//! A connection of a loop that only tells readiness: what to do when it is told.

use std::io::{self, Read, Write};

use crate::blocking::unless_blocked;

/// What a peer has not taken yet. While there is some, nothing is read.
#[derive(Default)]
pub(super) struct Session {
    pending: Vec<u8>,
}

impl Session {
    /// Echoes until the socket would block, as edge-triggered readiness demands. `false`: the connection has ended.
    pub(super) fn serve(&mut self, mut stream: impl Read + Write, buffer: &mut [u8]) -> bool {
        self.serve_until_blocked(&mut stream, buffer).unwrap_or(false)
    }

    fn serve_until_blocked(&mut self, stream: &mut (impl Read + Write), buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            while !self.pending.is_empty() {
                let Some(written) = unless_blocked(stream.write(&self.pending))? else { return Ok(true) };
                self.pending.drain(..written);
            }
            let Some(read) = unless_blocked(stream.read(buffer))? else { return Ok(true) };
            if read == 0 {
                return Ok(false);
            }
            let written = unless_blocked(stream.write(&buffer[..read]))?.unwrap_or(0);
            self.pending.extend_from_slice(&buffer[written..read]);
        }
    }
}

/// Bytes read by one call.
pub(super) const BUFFER: usize = 64 << 10;
