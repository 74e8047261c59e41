//! What a connection has yet to log: a line is written when the kernel has taken all of its answer, or when it is clear that it
//! never will. Only connections of a server that logs have one, and only while there is something to be told.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use reactor::{ConnId, Context, LoopContext};

use super::line::{End, Line, Record, UNANSWERED};
use super::{client_name, time_before};
use crate::connection::{HttpConnection, LIMITS, Phase};
use crate::http::authorization::Credentials;
use crate::http::field::Field;
use crate::http::request::{self, Request};
use crate::http::status::Status;
use crate::worker::Worker;

/// What a connection has yet to log.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The request whose answer is not there yet.
    open: Option<Open>,
    /// Answers that were given, in order.
    given: VecDeque<Given>,
    /// Bytes of the lines of those.
    held: usize,
    /// Whether the next sweep looks at the connection.
    listed: bool,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Open {
    head: Vec<u8>,
    begun: Instant,
    /// Its user has shown the password.
    is_known: bool,
}

/// An answer that was given to the connection.
#[derive(Debug)]
struct Given {
    line: Line,
    begun: Instant,
    /// From the request to the answer.
    took: Duration,
    /// It takes a while to leave: it is large, or its client is slow.
    is_late: bool,
    size: Size,
}

/// Bytes of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) head: usize,
    pub(crate) content: u64,
}

impl Size {
    fn total(self) -> u64 {
        self.head as u64 + self.content
    }
}

impl Ledger {
    /// How many of the last answers wait, if so many bytes are unsent.
    fn waiting(&self, mut unsent: u64) -> usize {
        let waits = |given: &&Given| {
            let waits = unsent > 0;
            unsent = unsent.saturating_sub(given.size.total());
            waits
        };
        self.given.iter().rev().take_while(waits).count()
    }
}

/// The connections of a loop of which lines are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Unlogged {
    connections: Vec<ConnId>,
    sweeps: bool,
}

impl HttpConnection {
    /// A request waits for a worker, or for its body: whatever happens until its answer, it will be logged.
    #[cold]
    pub(crate) fn note_open(&mut self, cx: &mut Context<'_, Worker>, head: &[u8], is_known: bool) {
        let begun = cx.now();
        let ledger = self.ledger.get_or_insert_default();
        let begun = ledger.open.take().map_or(begun, |open| open.begun);
        ledger.open = Some(Open { head: head.to_vec(), begun, is_known });
    }

    /// An answer was given.
    #[cold]
    pub(crate) fn note_given(
        &mut self,
        cx: &mut Context<'_, Worker>,
        asked: Subject<'_, '_>,
        status: Status,
        size: Size,
    ) {
        let open = self.ledger.as_mut().and_then(|ledger| ledger.open.take());
        let begun = open.as_ref().map_or_else(|| cx.now(), |open| open.begun);
        let is_known = open.is_some_and(|open| open.is_known);
        let Some(line) = self.line(cx, asked, Some(status), begun, is_known) else { return };
        let ledger = self.ledger.get_or_insert_default();
        ledger.held += line.len();
        ledger.given.push_back(Given { line, begun, took: begun.elapsed(), is_late: size.content > LARGE, size });
        self.settle(cx);
        self.list_unlogged(cx);
    }

    /// Writes the lines of what has left. Who calls has just sent, or sees to it that somebody looks again.
    pub(crate) fn settle(&mut self, cx: &mut Context<'_, Worker>) {
        let unsent = self.unsent(cx);
        let Some(ledger) = &mut self.ledger else { return };
        let mut left = ledger.given.len() - ledger.waiting(unsent);
        // Many small answers that wait behind each other are believed to arrive: their lines would take more room than they do.
        while left > 0 || (ledger.held > MOST_HELD && ledger.given.len() > 1) {
            let Some(given) = ledger.given.pop_front() else { return };
            left = left.saturating_sub(1);
            ledger.held -= given.line.len();
            given.write(cx.state(), 0);
        }
    }

    /// The connection has ended: what has left of its answers is all that will.
    #[cold]
    pub(crate) fn log_end(&mut self, cx: &mut Context<'_, Worker>) {
        let unfinished = self.awaits_rest().then(|| cx.take_unread());
        let mut unsent = self.unsent(cx);
        if let Some(ledger) = &mut self.ledger {
            let mut missing = Vec::with_capacity(ledger.given.len());
            for given in ledger.given.iter().rev() {
                missing.push(unsent.min(given.size.total()));
                unsent -= unsent.min(given.size.total());
            }
            for (given, missing) in ledger.given.drain(..).zip(missing.into_iter().rev()) {
                given.write(cx.state(), missing);
            }
        }
        let open = self.ledger.take().and_then(|ledger| ledger.open);
        if let Some(open) = open
            && let Ok(Some(request)) = request::parse(&open.head, &LIMITS)
        {
            self.log_unanswered(cx, Subject::Request(&request), open.begun, open.is_known);
        } else if let Some(bytes) = unfinished {
            let now = cx.now();
            self.log_unanswered(cx, Subject::Bytes(&bytes), now, false);
        }
    }

    fn log_unanswered(&self, cx: &mut Context<'_, Worker>, asked: Subject<'_, '_>, begun: Instant, is_known: bool) {
        let Some(line) = self.line(cx, asked, None, begun, is_known) else { return };
        if let Some(log) = cx.state().shared.access_log() {
            log.add(&line, End { bytes: 0, took: begun.elapsed(), complete: false });
        }
    }

    /// Bytes of the answers that were given which the kernel has not taken.
    fn unsent(&self, cx: &mut Context<'_, Worker>) -> u64 {
        let to_be_fed = self.feed.as_ref().map_or(0, |feeding| feeding.feed.left());
        cx.queued() as u64 + to_be_fed
    }

    fn line(
        &self,
        cx: &mut Context<'_, Worker>,
        asked: Subject<'_, '_>,
        status: Option<Status>,
        begun: Instant,
        is_known: bool,
    ) -> Option<Line> {
        let worker = cx.state();
        let log = worker.shared.access_log()?;
        let (time, client) = (time_before(begun.elapsed()), client_name(&self.peer));
        let status = status.map_or(UNANSWERED, Status::code);
        let record = Record { time, client: &client, status, ..Record::default() };
        let request = match asked {
            Subject::Request(request) => request,
            Subject::Bytes(bytes) => return Some(log.line(&Record { target: first_line(bytes), ..record })),
        };
        let credentials = request.field(Field::Authorization).and_then(Credentials::parse);
        let shown = credentials.filter(|shown| is_known || worker.verified.contains(shown));
        let user = shown.as_ref().filter(|_| worker.settings.users.is_some()).map(|shown| &*shown.user);
        Some(log.line(&Record {
            user,
            method: Some(request.method_name),
            target: request.target.as_bytes(),
            version: request.version.name(),
            referer: request.field(Field::Referer),
            user_agent: request.field(Field::UserAgent),
            ..record
        }))
    }

    /// Sees to it that a sweep looks at this connection, if it has lines that are not written.
    pub(crate) fn list_unlogged(&mut self, cx: &mut Context<'_, Worker>) {
        let id = cx.id();
        let Some(ledger) = self.ledger.as_mut().filter(|ledger| !ledger.listed && !ledger.given.is_empty()) else {
            return;
        };
        ledger.listed = true;
        cx.state().unlogged.connections.push(id);
        sweep_later(cx);
    }

    fn swept(&mut self, cx: &mut Context<'_, Worker>) {
        self.settle(cx);
        let Some(ledger) = &mut self.ledger else { return };
        ledger.listed = false;
        ledger.given.iter_mut().for_each(|given| given.is_late = true);
        if ledger.given.is_empty() && ledger.open.is_none() {
            // An idle connection has none.
            self.ledger = None;
        } else if self.phase != Phase::Sending {
            self.list_unlogged(cx);
        }
    }
}

/// What was asked for, as it is logged.
#[derive(Clone, Copy)]
pub(crate) enum Subject<'a, 'r> {
    Request(&'a Request<'r>),
    /// What is no request, or not all of one.
    Bytes(&'a [u8]),
}

impl Given {
    /// Writes the line of an answer of which so many bytes will not come.
    fn write(&self, worker: &Worker, missing: u64) {
        let Some(log) = worker.shared.access_log() else { return };
        let bytes = self.size.content - missing.min(self.size.content);
        let took = if self.is_late { self.begun.elapsed() } else { self.took };
        log.add(&self.line, End { bytes, took, complete: missing == 0 });
    }
}

fn sweep_later(cx: &mut LoopContext<'_, Worker>) {
    if !cx.state().unlogged.sweeps && !cx.state().unlogged.connections.is_empty() {
        // Without a timer it is done when the next answer is given, or the connection ends.
        cx.state().unlogged.sweeps = cx.run_after(SWEEP, sweep).is_ok();
    }
}

fn sweep(cx: &mut LoopContext<'_, Worker>) {
    cx.state().unlogged.sweeps = false;
    for id in std::mem::take(&mut cx.state().unlogged.connections) {
        cx.with(id, |connection: &mut HttpConnection, cx| connection.swept(cx));
    }
    sweep_later(cx);
}

fn first_line(bytes: &[u8]) -> &[u8] {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty()).unwrap_or(b"-");
    &line[..line.len().min(MOST_SHOWN)]
}

/// How long after an answer it is looked at whether it has left: a line is late by that, and a loop that serves many requests
/// looks for all of them at once.
const SWEEP: Duration = Duration::from_millis(50);

/// Bytes of content that hardly leave at once.
const LARGE: u64 = 64 << 10;

/// Bytes of lines that one connection may hold.
const MOST_HELD: usize = 64 << 10;

/// Bytes that are shown of what is no request.
const MOST_SHOWN: usize = 512;
