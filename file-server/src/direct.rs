//! A large body of which a worker receives a part by itself, so that the loop has nothing to do with it.
//!
//! ```text
//! splice   socket -> pipe -> file    the kernel moves it, and copies it once
//! copy     socket -> piece -> file   for what has to be seen on the way, and where splicing does not work
//! ```
//!
//! It gives the connection back when it has nothing to receive for a moment, or has had its share.

use std::io;

use reactor::SocketReader;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::memory::{DirectPlace, PIECE, Piece};
use crate::pipe::Pipe;
use crate::sink::Sink;
use crate::storage::Incoming;

/// The part that a worker receives.
#[derive(Debug)]
pub(crate) struct Direct {
    reader: SocketReader,
    /// Bytes of the body that may still be read; what is behind them is somebody else's.
    left: u64,
    _place: DirectPlace,
}

impl Direct {
    pub(crate) fn new(reader: SocketReader, left: u64, place: DirectPlace) -> Self {
        Self { reader, left, _place: place }
    }

    /// How much of the body has not been read.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn into_reader(self) -> SocketReader {
        self.reader
    }

    /// Receives until nothing has come for a moment, the share is used up, or all is there. The end of the connection, and an
    /// error of it, the loop finds by itself. What is in `piece` was written.
    pub(crate) fn run<K: Sink>(&mut self, sink: &mut K, piece: &mut Piece) -> io::Result<()> {
        piece.clear();
        if let Some(file) = sink.file()
            && let Some(mut pipe) = Pipe::new()
        {
            if self.splice(&mut pipe, file) {
                return Ok(());
            }
            piece.fill_by(PIECE, |bytes, _| pipe.take_rest(bytes))?;
            sink.write(piece.as_slice())?;
            piece.clear();
        }
        self.copy(sink, piece)
    }

    /// Has the kernel move it. `false`: something has failed. To go on by copying brings out what it is, and whether it is
    /// more than that this system cannot splice; what is in the pipe comes first then.
    fn splice(&mut self, pipe: &mut Pipe, file: &mut Incoming) -> bool {
        let mut announced = false;
        while self.may_go_on() {
            match pipe.fill(&mut self.reader, self.left) {
                Ok(0) => return true,
                Ok(count) => {
                    self.left -= count as u64;
                    announced = false;
                    if pipe.drain(|pipe, held| file.splice(pipe, held)).is_err() {
                        return false;
                    }
                }
                // Urgent data, at which splice(2) stops, counts as something to read: recv(2) passes over it.
                Err(error) if announced || error.kind() != io::ErrorKind::WouldBlock => return false,
                Err(_) if self.more_comes() => announced = true,
                Err(_) => return true,
            }
        }
        true
    }

    /// Reads it into a piece and writes that: while it is still in the cache of the processor.
    fn copy<K: Sink>(&mut self, sink: &mut K, piece: &mut Piece) -> io::Result<()> {
        while self.may_go_on() {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).saturating_add(piece.len()).min(PIECE);
            match piece.fill_by(most, |bytes, room| self.reader.append_to(bytes, room)) {
                Ok(count) if count > 0 => self.left -= count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.more_comes() => continue,
                _ => break,
            }
            if piece.len() == PIECE {
                sink.write(piece.as_slice())?;
                piece.clear();
            }
        }
        sink.write(piece.as_slice())
    }

    fn may_go_on(&self) -> bool {
        self.left > 0 && self.reader.taken() < SHARE
    }

    /// Waits for a moment: a client that is as fast as the disk is seldom ahead.
    fn more_comes(&self) -> bool {
        let mut wanted = [PollFd::new(&self.reader, PollFlags::IN)];
        poll(&mut wanted, Some(&MOMENT)).is_ok_and(|count| count > 0)
    }
}

/// How much a worker reads before others have their turn.
const SHARE: u64 = 32 << 20;

/// How long a worker waits for a client.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
