//! The content of a large answer, sent piece by piece: no faster than is allowed, and not to its end if the file has changed.

use std::fs::File;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::vec::IntoIter;

use reactor::{Context, Result, TimerId};

use crate::connection::HttpConnection;
use crate::entry::{Content, Entry};
use crate::jobs;
use crate::root::Attributes;
use crate::worker::Worker;

/// What is still to be sent of an answer.
#[derive(Debug)]
pub(crate) struct Feed {
    entry: Rc<Entry>,
    form: usize,
    range: Range<u64>,
    /// What follows that, of an answer of several parts.
    parts: IntoIter<Part>,
}

/// A part of a file, and the bytes that go before it.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) framing: Vec<u8>,
    pub(crate) range: Range<u64>,
}

/// What becomes of an answer after a piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// All of it was sent.
    Done,
    /// The next piece is sent when this one has left.
    WhenDrained,
    /// The next piece is sent after a while.
    After(Duration),
    /// A worker looks whether the file is still the same.
    WhenChecked,
}

/// An answer of which more is to be sent, and what follows it.
#[derive(Debug)]
pub(crate) struct Feeding {
    pub(crate) feed: Feed,
    pub(crate) closes: bool,
    /// When the next piece may be sent.
    pub(crate) timer: Option<TimerId>,
    /// A worker looks at the file.
    pub(crate) checking: bool,
}

impl HttpConnection {
    /// Sends the first piece of content that is sent by pieces.
    pub(crate) fn begin_feed(&mut self, cx: &mut Context<'_, Worker>, feed: Feed) -> Result {
        self.feed = Some(Box::new(Feeding { feed, closes: false, timer: None, checking: false }));
        self.go_on_feeding(cx, false)
    }

    /// Sends the next piece. When all are sent, the connection waits for the last one to leave.
    pub(crate) fn go_on_feeding(&mut self, cx: &mut Context<'_, Worker>, checked: bool) -> Result {
        let Some(feeding) = &mut self.feed else { return Ok(()) };
        match feeding.feed.send(cx, checked)? {
            // A piece that is done is followed by the end of the answer, once little of it is left.
            Next::Done | Next::WhenDrained => cx.want_drained(),
            Next::After(pause) => feeding.timer = Some(cx.set_timer(pause)?),
            Next::WhenChecked => {
                feeding.checking = true;
                feeding.feed.check(cx)?;
            }
        }
        Ok(())
    }

    /// A worker has looked at the file of which all but the end was sent.
    pub(crate) fn checked(&mut self, cx: &mut Context<'_, Worker>, is_same: bool) -> Result {
        let Some(feeding) = &mut self.feed else { return Ok(()) };
        feeding.checking = false;
        if !is_same {
            return Err(std::io::Error::other("the file was written to while it was sent"));
        }
        self.go_on_feeding(cx, true)
    }
}

impl Feed {
    /// The parts of a form of a file, one after the other.
    pub(crate) fn new(entry: &Rc<Entry>, form: usize, parts: Vec<Part>) -> Self {
        Self { entry: Rc::clone(entry), form, range: 0..0, parts: parts.into_iter() }
    }

    /// Whether content of this kind and size is sent by pieces.
    #[inline]
    pub(crate) fn suits(content: &Content, bandwidth: u64) -> bool {
        bandwidth > 0 || matches!(content, Content::File(_))
    }

    /// How many bytes of the file are left.
    pub(crate) fn left(&self) -> u64 {
        let of = |range: &Range<u64>| range.end - range.start;
        of(&self.range) + self.parts.as_slice().iter().map(|part| of(&part.range)).sum::<u64>()
    }

    /// Sends the next piece. `checked`: the file was found to be the same just now.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context<'_, Worker>,
        checked: bool,
    ) -> std::result::Result<Next, std::io::Error> {
        let bandwidth = cx.state().settings.bandwidth;
        let left = self.left();
        let mut piece = left;
        if self.is_file() && (left > TAIL || !checked && !self.entry.watched.get()) {
            // The end is held back until it is known that what went before it is of the same version.
            piece = piece.saturating_sub(TAIL);
        }
        if bandwidth > 0 {
            piece = piece.min((bandwidth / PIECES_PER_SECOND).max(1));
        }
        if piece == 0 && left > 0 {
            return Ok(Next::WhenChecked);
        }
        self.send_piece(cx, piece)?;
        Ok(match bandwidth {
            0 if piece == left => Next::Done,
            0 => Next::WhenDrained,
            rate => Next::After(Duration::from_secs_f64(piece as f64 / rate as f64)),
        })
    }

    fn is_file(&self) -> bool {
        self.entry.form(self.form).is_some_and(|form| matches!(form.content, Content::File(_)))
    }

    /// Sends so many bytes of the file, and what goes before the parts that begin among them or behind them.
    fn send_piece(&mut self, cx: &mut Context<'_, Worker>, mut piece: u64) -> Result {
        loop {
            let sent = piece.min(self.range.end - self.range.start);
            if sent > 0 {
                self.send_range(cx, self.range.start..self.range.start + sent)?;
                self.range.start += sent;
                piece -= sent;
            }
            if !self.range.is_empty() {
                return Ok(());
            }
            let Some(part) = self.parts.next() else { return Ok(()) };
            if !part.framing.is_empty() {
                cx.send(&part.framing)?;
            }
            self.range = part.range;
        }
    }

    fn send_range(&self, cx: &mut Context<'_, Worker>, range: Range<u64>) -> Result {
        match self.entry.form(self.form).map(|form| &form.content) {
            Some(Content::File(file)) => cx.send_file(Arc::clone(file), range),
            Some(Content::Bytes(bytes)) => cx.send_shared(bytes.slice(index(range.start)..index(range.end))),
            None => Ok(()),
        }
    }

    /// Has a worker look whether the file is what it was when it was opened; then the connection goes on or ends.
    pub(crate) fn check(&self, cx: &mut Context<'_, Worker>) -> Result {
        let Some(form) = self.entry.form(self.form) else { return Ok(()) };
        let Content::File(file) = &form.content else { return Ok(()) };
        let input = (Arc::clone(file), form.attributes);
        let checked = jobs::run_for(cx, input, is_same, HttpConnection::checked);
        checked.map_err(|_| std::io::Error::other("the workers are too busy to vouch for the end of an answer"))
    }
}

fn is_same((file, attributes): (Arc<File>, Attributes)) -> bool {
    matches!(Attributes::of(&*file), Ok((_, now)) if now.is_same_content(&attributes))
}

/// What is in memory can be counted in it.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Bytes at the end of an answer that are sent only when the file has not changed while the others were.
const TAIL: u64 = 16 << 10;

/// How often a client that is sent to slowly gets a piece.
const PIECES_PER_SECOND: u64 = 4;
