//! The content of a large answer, sent piece by piece: no faster than is allowed, and not to its end if the file has changed.

use std::fs::File;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use reactor::{Context, Result};

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

impl Feed {
    /// The whole of a part of a form of a file.
    pub(crate) fn new(entry: &Rc<Entry>, form: usize, range: Range<u64>) -> Self {
        Self { entry: Rc::clone(entry), form, range }
    }

    /// Whether content of this kind and size is sent by pieces.
    #[inline]
    pub(crate) fn suits(content: &Content, bandwidth: u64) -> bool {
        bandwidth > 0 || matches!(content, Content::File(_))
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Sends the next piece. `checked`: the file was found to be the same just now.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context<'_, Worker>,
        checked: bool,
    ) -> std::result::Result<Next, std::io::Error> {
        let bandwidth = cx.state().settings.bandwidth;
        let Some(form) = self.entry.form(self.form) else { return Ok(Next::Done) };
        let file = match &form.content {
            Content::File(file) => Some(file),
            Content::Bytes(_) => None,
        };
        let mut piece = self.left();
        if file.is_some() && !checked && !self.entry.watched.get() || file.is_some() && piece > TAIL {
            // The end is held back until it is known that what went before it is of the same version.
            piece = piece.saturating_sub(TAIL);
        }
        if bandwidth > 0 {
            piece = piece.min((bandwidth / PIECES_PER_SECOND).max(1));
        }
        if piece == 0 && self.left() > 0 {
            return Ok(Next::WhenChecked);
        }
        let part = self.range.start..self.range.start + piece;
        self.range.start = part.end;
        match (file, &form.content) {
            (Some(file), _) => cx.send_file(Arc::clone(file), part)?,
            (None, Content::Bytes(bytes)) => cx.send_shared(bytes.slice(index(part.start)..index(part.end)))?,
            (None, Content::File(_)) => {}
        }
        Ok(match bandwidth {
            0 if self.range.is_empty() => Next::Done,
            0 => Next::WhenDrained,
            rate => Next::After(Duration::from_secs_f64(piece as f64 / rate as f64)),
        })
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

/// Bytes at the end of a file that are sent only when the file has not changed while the others were.
const TAIL: u64 = 16 << 10;

/// How often a client that is sent to slowly gets a piece.
const PIECES_PER_SECOND: u64 = 4;
