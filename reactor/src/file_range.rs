//! A part of a file that is to be sent without a copy through this process.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::sys::fd::FdRef;
use crate::sys::file;

/// What of a file is still to be sent. The descriptor is shared: its own offset is neither used nor moved.
#[derive(Debug)]
pub(crate) struct FileRange {
    file: Arc<File>,
    range: Range<u64>,
    /// Where the range began, for the error when the file ends early.
    start: u64,
}

impl FileRange {
    pub(crate) fn new(file: Arc<File>, range: Range<u64>) -> io::Result<Self> {
        if range.start > range.end || i64::try_from(range.end).is_err() {
            let message = format!("{} to {} is no part of a file", range.start, range.end);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Self { file, start: range.start, range })
    }

    /// Bytes still to be sent.
    pub(crate) fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// Sends in one call, at most `most` bytes, and says how many the kernel took.
    pub(crate) fn send(&mut self, socket: FdRef<'_>, most: usize) -> io::Result<usize> {
        let count = usize::try_from(self.len()).unwrap_or(usize::MAX).min(most).min(CHUNK);
        let sent = file::send(socket, self.file.as_fd(), self.range.start, count)?;
        if sent == 0 && count > 0 {
            return Err(self.ended_early());
        }
        self.range.start += sent as u64;
        Ok(sent)
    }

    /// The file has shrunk since the range was chosen: the peer was promised bytes that are no more.
    fn ended_early(&self) -> io::Error {
        let (sent, all) = (self.range.start - self.start, self.range.end - self.start);
        let message = format!("the file ended after {sent} of the {all} bytes that were to be sent");
        io::Error::new(io::ErrorKind::UnexpectedEof, message)
    }
}

/// The kernel sends no more than this in one call (`MAX_RW_COUNT`), page for page less than 2 GiB.
const CHUNK: usize = 0x7fff_f000;
