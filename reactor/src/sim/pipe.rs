//! A simulated pipe: bytes in pages, as the real one has them; see pipe(7).

use std::collections::VecDeque;

use crate::sim::words::{Id, bits};

/// One pipe, and what a program outside does with an end of it.
#[derive(Debug)]
pub(super) struct Pipe {
    bytes: VecDeque<u8>,
    /// What the bytes are in. It is these that fill a pipe.
    pages: VecDeque<Page>,
    /// How many of them there may be.
    pub(super) room: usize,
    pub(super) reader: Holder,
    pub(super) writer: Holder,
    /// The kernel takes nothing for now, and will tell when it does: somebody else had filled it.
    pub(super) squeezed: bool,
    /// A program of the machine has done something with its end.
    pub(super) used: bool,
    pub(super) outside: Outside,
}

/// Who has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// A descriptor of the simulated machine.
    Object(Id),
    /// Another program, which the test plays.
    Outside,
    Nobody,
}

/// Which of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// The other program, which reads or writes.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// What it has not written yet.
    pub(super) unsent: VecDeque<u8>,
    /// It closes when all is written.
    pub(super) finishing: bool,
    /// It wrote, and nobody reads any more.
    pub(super) broken: bool,
    /// What it has read.
    pub(super) taken: Vec<u8>,
    /// How much of that a child has echoed.
    pub(super) echoed: usize,
    pub(super) reads: bool,
    /// It has read the end.
    pub(super) ended: bool,
    /// When it does something next is on the timeline.
    pub(super) stirs: bool,
    /// The test has an eye on it, and may look when both ends are closed too.
    pub(super) held: bool,
    /// It is this child process.
    pub(super) child: Option<Id>,
}

/// A page of memory with bytes of a pipe.
#[derive(Debug)]
struct Page {
    len: usize,
    /// Where the next byte would go, if one may.
    end: usize,
    /// A write may go on here. What was spliced in is somebody else's memory.
    open: bool,
}

impl Pipe {
    pub(super) fn new(room: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            pages: VecDeque::new(),
            room: room.max(1),
            reader: Holder::Nobody,
            writer: Holder::Nobody,
            squeezed: false,
            used: false,
            outside: Outside::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pages.len() >= self.room
    }

    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Puts in as many bytes as there is room for. What is more than whole pages goes first, and behind what is in the last page if
    /// it fits there.
    pub(super) fn put(&mut self, bytes: &[u8]) -> usize {
        let odd = bytes.len() % PAGE;
        let mut rest = bytes;
        if let Some(last) = self.pages.back_mut()
            && odd > 0
            && last.open
            && last.end + odd <= PAGE
        {
            (last.len, last.end) = (last.len + odd, last.end + odd);
            self.bytes.extend(&bytes[..odd]);
            rest = &bytes[odd..];
        }
        while !rest.is_empty() && !self.is_full() {
            let (page, behind) = rest.split_at(rest.len().min(PAGE));
            self.push_page(page, true);
            rest = behind;
        }
        bytes.len() - rest.len()
    }

    /// Puts in bytes that stay where they are: a page of their own, though they may be few.
    pub(super) fn put_spliced(&mut self, bytes: &[u8]) {
        self.push_page(bytes, false);
    }

    fn push_page(&mut self, bytes: &[u8], open: bool) {
        self.pages.push_back(Page { len: bytes.len(), end: bytes.len(), open });
        self.bytes.extend(bytes);
    }

    /// The first bytes, at most `most`.
    pub(super) fn first(&self, most: usize) -> Vec<u8> {
        self.bytes.iter().take(most).copied().collect()
    }

    /// Takes out the first bytes, and says whether that made room where there was none.
    pub(super) fn consume(&mut self, count: usize) -> bool {
        let was_full = self.is_full();
        drop(self.bytes.drain(..count));
        let mut left = count;
        while let Some(page) = self.pages.front_mut().filter(|_| left > 0) {
            let taken = left.min(page.len);
            page.len -= taken;
            left -= taken;
            if page.len == 0 {
                self.pages.pop_front();
            }
        }
        was_full && !self.is_full()
    }

    pub(super) fn holder(&mut self, direction: Direction) -> &mut Holder {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }

    /// The bits of epoll(7).
    pub(super) fn readiness(&self, direction: Direction) -> u32 {
        let tell = |bit, holds: bool| if holds { bits(bit) } else { 0 };
        match direction {
            Direction::Read => {
                tell(libc::EPOLLIN, self.len() > 0) | tell(libc::EPOLLHUP, self.writer == Holder::Nobody)
            }
            Direction::Write => {
                let has_room = !self.is_full() && !self.squeezed;
                tell(libc::EPOLLOUT, has_room) | tell(libc::EPOLLERR, self.reader == Holder::Nobody)
            }
        }
    }

    /// Whether the program outside has something to do.
    pub(super) fn is_to_stir(&self) -> bool {
        let Outside { unsent, finishing, reads, ended, .. } = &self.outside;
        let writes = if unsent.is_empty() { *finishing } else { !self.is_full() || self.reader == Holder::Nobody };
        let takes = *reads && !ended && (self.len() > 0 || self.writer == Holder::Nobody);
        self.writer == Holder::Outside && writes || self.reader == Holder::Outside && takes
    }

    pub(super) fn is_gone(&self) -> bool {
        self.reader == Holder::Nobody && self.writer == Holder::Nobody && !self.outside.held
    }
}

impl Direction {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Read => Self::Write,
            Self::Write => Self::Read,
        }
    }
}

/// The size of a page. Writes of no more are whole or not at all: `PIPE_BUF`.
pub(super) const PAGE: usize = libc::PIPE_BUF;

/// The pages of a pipe, unless told otherwise.
pub(super) const PAGES: usize = 16;
