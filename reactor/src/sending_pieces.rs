//! Sending in the engine what is not to be copied: shared bytes, pages that are lent, parts of files.

use std::io;
use std::mem;

use crate::close_reason::CloseReason;
use crate::engine::{Engine, gone};
use crate::lent::Lent;
use crate::outbox::DIRECT;
use crate::output::Piece;
use crate::registered::Registered;
use crate::sending::ending;
use crate::shared_bytes::SharedBytes;
use crate::token::Token;

impl Engine {
    /// Sends shared bytes, lent pages or a part of a file. What a connection's own callback sends from memory leaves at once, unless it is
    /// too much; all else waits for the end of the turn, to leave together.
    pub(crate) fn send_piece(&mut self, token: Token, piece: Piece) -> io::Result<()> {
        let Some(connection) = self.connection(token) else { return Err(gone()) };
        if !connection.may_send() {
            return Err(ending());
        }
        let piece = piece.lent_if_worth_it();
        if let Piece::Shared(bytes) = &piece
            && bytes.len() >= DIRECT
            && self.speaker == Some(token)
            && connection.gathers()
        {
            let bytes = bytes.clone();
            return self.send_shared_directly(token, &bytes);
        }
        let piece = match piece {
            // Of more than may wait anyway, others have their turn in between.
            Piece::Lent(lent)
                if lent.len() <= self.limits.high_mark && self.speaker == Some(token) && connection.gathers() =>
            {
                return self.send_lent_directly(token, lent);
            }
            piece => piece,
        };
        if self.speaker == Some(token) && !self.outbox.is_empty() {
            // What the running callback sent before goes first, and with it.
            let mut outbox = mem::take(&mut self.outbox);
            let queued = self.queue(token, outbox.as_slice());
            outbox.clear();
            self.outbox = outbox;
            queued?;
        }
        self.queue_by(token, piece.cost(), |connection| connection.queue_piece(piece))
    }

    /// Sends shared bytes past the empty queue, behind what the running callback sent before and in one call with it. What the
    /// kernel does not take waits, the shared bytes as a reference.
    fn send_shared_directly(&mut self, token: Token, bytes: &SharedBytes) -> io::Result<()> {
        let mut outbox = mem::take(&mut self.outbox);
        let before = outbox.as_slice();
        let result = self.connection_mut(token).ok_or_else(gone)?.send_both(before, bytes);
        let outcome = match result {
            Ok(sent) => {
                self.count_sent(token, sent);
                self.queue_left(token, before, bytes, sent)
            }
            Err(error) => {
                let told = io::Error::from(error.kind());
                self.keep_unsent(token, |connection| {
                    connection.queue(before);
                    connection.queue_piece(Piece::Shared(bytes.clone()));
                });
                self.end(token, CloseReason::Error(error));
                Err(told)
            }
        };
        outbox.clear();
        self.outbox = outbox;
        outcome
    }

    /// Lends pages past the empty queue, behind what the running callback sent before. What the kernel does not take waits.
    fn send_lent_directly(&mut self, token: Token, mut lent: Box<Lent>) -> io::Result<()> {
        let mut outbox = mem::take(&mut self.outbox);
        let (sent, result) = match self.sources.get_mut(token.key()) {
            Some(Registered::Connection(connection)) => {
                connection.send_and_lend(outbox.as_slice(), &mut lent, &mut self.pipes)
            }
            _ => (0, Err(gone())),
        };
        self.count_sent(token, sent);
        let before = &outbox.as_slice()[sent.min(outbox.len())..];
        let outcome = match result {
            Ok(()) => self.queue_rest(token, before, lent),
            Err(error) => {
                let told = io::Error::from(error.kind());
                self.keep_unsent(token, |connection| {
                    connection.queue(before);
                    connection.queue_piece(Piece::Lent(lent));
                });
                self.end(token, CloseReason::Error(error));
                Err(told)
            }
        };
        outbox.clear();
        self.outbox = outbox;
        outcome
    }

    /// Queues bytes and pages, unless there are none.
    fn queue_rest(&mut self, token: Token, before: &[u8], lent: Box<Lent>) -> io::Result<()> {
        if !before.is_empty() {
            self.queue(token, before)?;
        }
        if lent.len() == 0 {
            return Ok(());
        }
        let piece = Piece::Lent(lent);
        self.queue_by(token, piece.cost(), |connection| connection.queue_piece(piece))
    }

    /// Queues what is left of two slices of which the kernel took so many bytes.
    fn queue_left(&mut self, token: Token, before: &[u8], bytes: &SharedBytes, sent: usize) -> io::Result<()> {
        let (sent_before, sent) = (sent.min(before.len()), sent.saturating_sub(before.len()));
        if sent == bytes.len() {
            return Ok(());
        }
        if sent_before < before.len() {
            self.queue(token, &before[sent_before..])?;
        }
        let piece = Piece::Shared(bytes.slice(sent..));
        self.queue_by(token, piece.cost(), |connection| connection.queue_piece(piece))
    }
}
