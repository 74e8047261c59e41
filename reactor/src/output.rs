//! What one connection has yet to send, in order: bytes, shared bytes, pages that are lent, and parts of files.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::OwnedFd;

use crate::buffer::Buffer;
use crate::file_range::FileRange;
use crate::lent::Lent;
use crate::pipe_pool::{Pipe, PipePool};
use crate::shared_bytes::SharedBytes;
use crate::sys::fd::FdRef;
use crate::sys::{fd_passing, stream};

/// A queue of pieces for one socket.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pieces: VecDeque<Piece>,
    /// Bytes that wait, those of files among them.
    queued: u64,
    /// Bytes that wait in memory.
    held: usize,
    /// Pieces with nothing of ours in them but a reference.
    references: usize,
}

/// What is to be sent, and where its bytes are.
#[derive(Debug)]
pub(crate) enum Piece {
    Bytes(Buffer),
    Shared(SharedBytes),
    /// Shared bytes whose pages the kernel is lent.
    Lent(Box<Lent>),
    File(FileRange),
    /// What a relay has moved so far. It waits in the kernel.
    Pipe(Box<Pipe>),
    Passing(Box<Passing>),
}

/// Bytes, with the first of which descriptors are sent.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) bytes: Buffer,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Output {
    /// Bytes that wait, those of files among them.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.queued).unwrap_or(usize::MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Bytes that wait in memory.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// What the queue costs: the bytes in memory, and something for each reference, which bounds parts of files too.
    pub(crate) fn cost(&self) -> usize {
        self.held + self.references * REFERENCE_COST
    }

    /// Queues a copy of the bytes: into the last piece where they fit, else as a piece of their own.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if !self.append(bytes, PIECE) {
            self.push_piece(Piece::Bytes(Buffer::from(bytes)));
        }
    }

    /// Queues a piece behind what waits. Of few shared bytes a copy is cheaper, if there is a piece to hold it.
    pub(crate) fn push_piece(&mut self, piece: Piece) {
        if matches!(&piece, Piece::Shared(bytes) if bytes.len() <= COPIED && self.append(bytes, PIECE))
            || piece.len() == 0
        {
            return;
        }
        self.queued += piece.len();
        self.held += piece.held();
        self.references += usize::from(piece.is_reference());
        self.pieces.push_back(piece);
    }

    fn pop(&mut self) {
        let first = self.pieces.pop_front();
        self.references -= usize::from(first.is_some_and(|piece| piece.is_reference()));
    }

    /// Copies the bytes behind those of the last piece, if that is ours and does not grow too large.
    fn append(&mut self, bytes: &[u8], most: usize) -> bool {
        let Some(Piece::Bytes(last)) = self.pieces.back_mut() else { return bytes.is_empty() };
        let fits = last.room() >= bytes.len() || last.len() + bytes.len() <= most;
        if fits {
            last.append(bytes);
            self.queued += bytes.len() as u64;
            self.held += bytes.len();
        }
        fits
    }

    /// Sends in one call what one call takes, of files at most `most` bytes, and forgets what the kernel took. Lent pages are
    /// copied; [`send_lent`](Self::send_lent) is for them.
    #[inline]
    pub(crate) fn send(&mut self, fd: FdRef<'_>, most: usize) -> io::Result<usize> {
        let sent = match self.pieces.front_mut() {
            None => return Ok(0),
            Some(Piece::File(range)) => {
                let sent = range.send(fd, most)?;
                self.forget_reference(sent);
                return Ok(sent);
            }
            Some(Piece::Pipe(_)) => return self.send_pipe(fd, most),
            Some(Piece::Passing(_)) => self.send_passing(fd)?,
            Some(Piece::Lent(_)) => return self.send_some(fd, most),
            Some(_) => self.send_bytes(fd)?,
        };
        self.forget(sent);
        Ok(sent)
    }

    /// So many bytes were sent of the first piece, none of which is ours.
    fn forget_reference(&mut self, sent: usize) {
        self.queued -= sent as u64;
        if self.pieces.front().is_some_and(|first| first.len() == 0) {
            self.pop();
        }
    }

    /// Whether pages that are lent come first.
    #[inline]
    pub(crate) fn begins_with_lent(&self) -> bool {
        matches!(self.pieces.front(), Some(Piece::Lent(_)))
    }

    /// Sends pages that come first, at most `most` bytes of them, by a pipe of the pool: says how many bytes the kernel took, also
    /// before an error.
    #[inline(never)]
    pub(crate) fn send_lent(&mut self, fd: FdRef<'_>, most: usize, pipes: &mut PipePool) -> (usize, io::Result<()>) {
        let more = self.pieces.len() > 1;
        let Some(Piece::Lent(lent)) = self.pieces.front_mut() else { return (0, Ok(())) };
        let (sent, result) = lent.send(fd, most, more, pipes);
        self.forget_reference(sent);
        (sent, result)
    }

    /// The descriptors of the first piece were sent, and are closed here. What it has of bytes are bytes as others.
    fn passed(&mut self) {
        if let Some(first @ Piece::Passing(_)) = self.pieces.front_mut()
            && let Piece::Passing(passing) = mem::replace(first, Piece::Bytes(Buffer::new()))
        {
            *first = Piece::Bytes(passing.bytes);
            self.references -= 1;
        }
    }

    /// Sends at most `most` bytes, of whatever they are.
    #[cold]
    pub(crate) fn send_some(&mut self, fd: FdRef<'_>, most: usize) -> io::Result<usize> {
        let Some(first) = self.pieces.front_mut() else { return Ok(0) };
        let sent = match first {
            Piece::File(range) => range.send(fd, most)?,
            Piece::Pipe(pipe) => pipe.drain(fd, most, false)?,
            Piece::Lent(lent) => lent.send_copy(fd, most)?,
            Piece::Passing(passing) => {
                let bytes = passing.bytes.as_slice();
                fd_passing::send(fd, &bytes[..bytes.len().min(most)], &passing.fds)?
            }
            Piece::Bytes(_) | Piece::Shared(_) => {
                let bytes = first.bytes().unwrap_or_default();
                stream::send(fd, &bytes[..bytes.len().min(most)])?
            }
        };
        self.forget_some(sent);
        Ok(sent)
    }

    /// So many bytes of the first piece were sent.
    #[cold]
    fn forget_some(&mut self, sent: usize) {
        self.passed();
        let Some(first) = self.pieces.front_mut() else { return };
        if first.bytes().is_some() {
            first.consume(sent);
            self.held -= sent;
        }
        self.queued -= sent as u64;
        if first.len() == 0 {
            self.pop();
        }
    }

    /// Forgets all that waits.
    #[cold]
    pub(crate) fn clear(&mut self) {
        while !self.pieces.is_empty() {
            self.pop();
        }
        (self.queued, self.held) = (0, 0);
    }

    /// Sends the bytes up to the next part of a file, or pages that are lent, with which they then share a segment.
    fn send_bytes(&self, fd: FdRef<'_>) -> io::Result<usize> {
        if let (1, Some(bytes)) = (self.pieces.len(), self.pieces.front().and_then(Piece::bytes)) {
            return stream::send(fd, bytes);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(self.pieces.iter().map_while(Piece::bytes)) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        let more = matches!(self.pieces.get(count), Some(Piece::File(_) | Piece::Lent(_)));
        stream::send_vectored(fd, &slices[..count], more)
    }

    /// Sends what is in the first piece, a pipe. An empty one stays until it is taken out, or something behind it is sent.
    #[cold]
    #[inline(never)]
    fn send_pipe(&mut self, fd: FdRef<'_>, most: usize) -> io::Result<usize> {
        let Some(Piece::Pipe(pipe)) = self.pieces.front_mut() else { return Ok(0) };
        let sent = pipe.drain(fd, most, false)?;
        self.queued -= sent as u64;
        if sent == 0 {
            self.pop();
        }
        Ok(sent)
    }

    /// Sends the descriptors of the first piece, and bytes with them.
    #[cold]
    #[inline(never)]
    fn send_passing(&mut self, fd: FdRef<'_>) -> io::Result<usize> {
        let Some(Piece::Passing(passing)) = self.pieces.front() else { return Ok(0) };
        let sent = fd_passing::send(fd, passing.bytes.as_slice(), &passing.fds)?;
        self.passed();
        Ok(sent)
    }

    /// Takes out a pipe that has become empty.
    pub(crate) fn take_empty_pipe(&mut self) -> Option<Box<Pipe>> {
        match self.pieces.front() {
            Some(Piece::Pipe(pipe)) if pipe.len() == 0 => {}
            _ => return None,
        }
        self.references -= 1;
        match self.pieces.pop_front() {
            Some(Piece::Pipe(pipe)) => Some(pipe),
            _ => None,
        }
    }

    fn forget(&mut self, mut sent: usize) {
        self.queued -= sent as u64;
        self.held -= sent;
        while let Some(first) = self.pieces.front_mut() {
            let length = first.bytes().map_or(usize::MAX, <[u8]>::len);
            if sent < length {
                return first.consume(sent);
            }
            sent -= length;
            self.pop();
        }
    }
}

impl Piece {
    #[inline]
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(buffer) => buffer.len() as u64,
            Self::Shared(bytes) => bytes.len() as u64,
            Self::Lent(lent) => lent.len() as u64,
            Self::File(range) => range.len(),
            Self::Pipe(pipe) => pipe.len() as u64,
            Self::Passing(passing) => passing.bytes.len() as u64,
        }
    }

    /// Many shared bytes in pages of their own are lent.
    pub(crate) fn lent_if_worth_it(self) -> Self {
        match self {
            Self::Shared(bytes) if bytes.is_to_be_lent() => Self::Lent(Box::new(Lent::new(bytes))),
            piece => piece,
        }
    }

    /// What the piece costs in memory.
    pub(crate) fn cost(&self) -> usize {
        self.held() + if self.is_reference() { REFERENCE_COST } else { 0 }
    }

    fn is_reference(&self) -> bool {
        !matches!(self, Self::Bytes(_))
    }

    fn held(&self) -> usize {
        match self {
            Self::Passing(passing) => passing.bytes.len(),
            _ => self.bytes().map_or(0, <[u8]>::len),
        }
    }

    /// The bytes, unless they are in a file or leave with something else.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(buffer) => Some(buffer.as_slice()),
            Self::Shared(bytes) => Some(bytes),
            Self::Lent(_) | Self::File(_) | Self::Pipe(_) | Self::Passing(_) => None,
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::Bytes(buffer) => buffer.consume(count),
            Self::Shared(bytes) => bytes.consume(count),
            Self::Lent(_) | Self::File(_) | Self::Pipe(_) | Self::Passing(_) => {}
        }
    }
}

/// Small sends are gathered into pieces of up to this many bytes.
const PIECE: usize = 16 << 10;

/// Of so few shared bytes a copy costs less than a slice of their own in the system call.
const COPIED: usize = 256;

/// Pieces that leave in one call; of small sends that is 1 MiB, more than a socket buffer takes.
const SLICES: usize = 64;

/// What a piece takes besides its bytes.
const REFERENCE_COST: usize = size_of::<Piece>();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe_pool::PipePool;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    #[test]
    fn small_sends_share_a_piece() {
        let mut output = Output::default();
        (0..100).for_each(|_| output.push(&[7; 64]));
        assert_eq!((output.pieces.len(), output.len()), (1, 6400));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ioctl on a socketpair")]
    fn pieces_leave_in_order_through_a_small_socket() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut output = Output::default();
        bytes.chunks(23_456).for_each(|chunk| output.push(chunk));
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            match output.send(ours.as_fd().into(), usize::MAX) {
                Ok(sent) => assert!(sent > 0 || output.is_empty()),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            let mut part = [0; 65_536];
            let count = theirs.read(&mut part).unwrap();
            received.extend_from_slice(&part[..count]);
        }
        assert!(output.is_empty() && received == bytes);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no sendfile(2)")]
    fn bytes_shared_bytes_and_files_keep_their_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let file = Arc::new(file);
        let mut output = Output::default();
        output.push(b"head ");
        output.push_piece(Piece::File(FileRange::new(Arc::clone(&file), 2..5).unwrap()));
        output.push_piece(Piece::Shared(SharedBytes::from(" shared ")));
        output.push(b"tail ");
        output.push_piece(Piece::File(FileRange::new(file, 9..10).unwrap()));
        assert_eq!((output.len(), output.held()), (22, 18));
        while !output.is_empty() {
            output.send(ours.as_fd().into(), 2).unwrap();
        }
        drop(ours);
        let mut received = String::new();
        theirs.read_to_string(&mut received).unwrap();
        assert_eq!((received.as_str(), output.cost()), ("head 234 shared tail 9", 0));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no splice(2)")]
    fn whatever_waits_leaves_by_as_little_as_is_allowed() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut sender, from) = UnixStream::pair().unwrap();
        sender.write_all(b"through a pipe ").unwrap();
        let mut pipe = PipePool::new(1).take().unwrap();
        pipe.fill(from.as_fd().into(), 100).unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let passed = Buffer::from(b"with a descriptor ".to_vec());
        let mut output = Output::default();
        output.push_piece(Piece::Pipe(pipe));
        output.push_piece(Piece::Passing(Box::new(Passing { bytes: passed, fds: vec![writer.into()] })));
        output.push(b"tail");
        let mut received = Vec::new();
        while !output.is_empty() {
            let before = output.len();
            let sent = output.send_some(ours.as_fd().into(), 4).unwrap();
            assert!((1..=4).contains(&sent) && output.len() == before - sent);
            let mut part = [0; 4];
            theirs.read_exact(&mut part[..sent]).unwrap();
            received.extend_from_slice(&part[..sent]);
        }
        assert_eq!(received, b"through a pipe with a descriptor tail");
        assert_eq!((output.cost(), output.held()), (0, 0));
        // Nobody has the other end any more: ours was closed when it was sent, and theirs was not taken.
        assert_eq!(io::read_to_string(reader).unwrap(), "");
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no sendfile(2)")]
    fn a_file_that_is_shorter_than_promised_is_an_error_with_the_count() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut output = Output::default();
        output.push_piece(Piece::File(FileRange::new(Arc::new(file), 4..20).unwrap()));
        assert_eq!(output.send(ours.as_fd().into(), usize::MAX).unwrap(), 6);
        let error = output.send(ours.as_fd().into(), usize::MAX).unwrap_err();
        assert_eq!(error.to_string(), "the file ended after 6 of the 16 bytes that were to be sent");
    }

    fn in_pages(length: usize) -> SharedBytes {
        let fill = |bytes: &mut [u8]| {
            bytes.iter_mut().zip((0..251).cycle()).for_each(|(byte, value)| *byte = value);
            Ok(())
        };
        SharedBytes::in_pages(length, fill).unwrap()
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no ioctl on a socketpair")]
    fn pages_leave_in_their_place_however_they_are_sent() {
        let pages = in_pages(1_000_000);
        for copies in [false, true] {
            let mut pipes = PipePool::new(0);
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let mut output = Output::default();
            output.push(b"<");
            output.push_piece(Piece::Shared(pages.clone()).lent_if_worth_it());
            output.push(b">");
            assert_eq!((output.len(), output.held()), (1_000_002, 2));
            let mut received = Vec::new();
            while received.len() < 1_000_002 {
                let (sent, result) = match output.begins_with_lent() && !copies {
                    true => output.send_lent(ours.as_fd().into(), 300_000, &mut pipes),
                    false => match output.send(ours.as_fd().into(), 300_000) {
                        Ok(sent) => (sent, Ok(())),
                        Err(error) => (0, Err(error)),
                    },
                };
                match result {
                    Ok(()) => assert!(sent <= 300_000 && (sent > 0 || output.is_empty())),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                let mut part = [0; 65_536];
                let count = theirs.read(&mut part).unwrap();
                received.extend_from_slice(&part[..count]);
            }
            assert!(received[1..1_000_001] == *pages && received[0] == b'<' && received[1_000_001] == b'>');
            assert_eq!((output.cost(), output.held(), pages.owners()), (0, 0, 1));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no vmsplice(2)")]
    fn what_was_lent_arrives_though_its_owner_is_gone() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut output = Output::default();
        output.push_piece(Piece::Shared(in_pages(100_000)).lent_if_worth_it());
        assert_eq!(output.send_lent(ours.as_fd().into(), usize::MAX, &mut PipePool::new(0)).0, 100_000);
        assert!(output.is_empty());
        // The pages are unmapped by now, and what is mapped next is written to.
        let others = SharedBytes::in_pages(100_000, |bytes| {
            bytes.fill(7);
            Ok(())
        });
        drop(ours);
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).unwrap();
        assert!(received == *in_pages(100_000) && others.unwrap()[0] == 7);
    }

    #[test]
    fn shared_bytes_are_not_copied_and_few_are() {
        let mut output = Output::default();
        output.push_piece(Piece::Shared(SharedBytes::from(vec![1; 1000])));
        output.push(b"x");
        output.push_piece(Piece::Shared(SharedBytes::from("few")));
        assert_eq!((output.pieces.len(), output.held()), (2, 1004));
    }
}
