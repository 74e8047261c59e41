//! One HTTP connection: requests in, answers out, in order and one at a time.

use std::io::Error;
use std::sync::Arc;
use std::time::Instant;

use reactor::{CloseReason, Context, Handler, Input, Result, SocketAddress, TimerId};

use crate::access_log::ledger::Ledger;
use crate::answer;
use crate::asking::Asked;
use crate::feed::Feeding;
use crate::http::cors;
use crate::http::method::Method;
use crate::http::request::{self, Request, RequestLimits};
use crate::http::status::Status;
use crate::receiving::{self, Receiving};
use crate::removing;
use crate::unwanted::unwanted_of;
use crate::worker::Worker;

/// A connection. An idle one is this and nothing else: what it is in the middle of is in a box of its own.
#[derive(Debug)]
pub struct HttpConnection {
    pub(crate) peer: SocketAddress,
    pub(crate) phase: Phase,
    /// It has been answered once, so that it is waited for as an old friend is.
    greeted: bool,
    /// Counted among those of its address.
    admitted: bool,
    /// Bytes of a body that nobody wants: they come before the next head.
    pub(crate) unwanted: u32,
    /// Fires if the head that has begun to come takes too long.
    head_timer: Option<TimerId>,
    pub(crate) asked: Option<Box<Asked>>,
    pub(crate) feed: Option<Box<Feeding>>,
    /// Bytes of a page that was written for this client alone and waits to be taken.
    pub(crate) page: usize,
    receiving: Option<Box<Receiving>>,
    /// What is to be logged of it.
    pub(crate) ledger: Option<Box<Ledger>>,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The next head is waited for.
    Reading,
    /// A worker looks for what was asked for. Reading is paused.
    Waiting,
    /// The body of a request comes and goes to the disk.
    Receiving,
    /// The client has yet to take most of an answer. Reading is paused.
    Sending,
    /// The last answer is given.
    Closing,
}

impl HttpConnection {
    /// A connection that has just been accepted.
    #[must_use]
    pub fn new(peer: &SocketAddress) -> Self {
        Self {
            peer: peer.clone(),
            phase: Phase::Reading,
            greeted: false,
            admitted: false,
            unwanted: 0,
            head_timer: None,
            asked: None,
            feed: None,
            page: 0,
            receiving: None,
            ledger: None,
        }
    }

    /// Answers a request whose head has come.
    #[inline]
    pub(crate) fn serve(&mut self, cx: &mut Context<'_, Worker>, request: &Request<'_>, head: &[u8]) -> Result {
        let now = cx.now();
        cx.state().begin_turn(now);
        if let Some(users) = &cx.state().settings.users
            && !cors::is_preflight(request)
        {
            let users = Arc::clone(users);
            if !self.admits(cx, &users, request, head)? {
                self.log_later(cx, head, false);
                return Ok(());
            }
        }
        match request.method {
            Method::Get | Method::Head => self.retrieve(cx, request, head)?,
            Method::Options => answer::options(self, cx, request)?,
            Method::Unknown => answer::status(self, cx, request, Status::NOT_IMPLEMENTED)?,
            Method::Put if cx.state().settings.uploads.allow_upload => receiving::begin(self, cx, request, head)?,
            Method::Delete if cx.state().settings.uploads.allow_delete => removing::begin(self, cx, request, head)?,
            _ => answer::not_allowed(self, cx, request)?,
        }
        self.log_later(cx, head, true);
        Ok(())
    }

    /// A request that is not answered yet is logged all the same.
    #[inline]
    fn log_later(&mut self, cx: &mut Context<'_, Worker>, head: &[u8], is_known: bool) {
        if matches!(self.phase, Phase::Waiting | Phase::Receiving) && cx.state().shared.access_log().is_some() {
            self.note_open(cx, head, is_known);
        }
    }

    /// Whether a head has begun to come and is not complete.
    pub(crate) fn awaits_rest(&self) -> bool {
        self.head_timer.is_some()
    }

    /// Answers the request at the start of `bytes` if the very same was answered before, and says how long its head is.
    #[inline]
    fn serve_known(&mut self, cx: &mut Context<'_, Worker>, bytes: &[u8]) -> std::result::Result<Option<usize>, Error> {
        let now = cx.now();
        let worker = cx.state();
        worker.begin_turn(now);
        let Some((entry, form, length)) = worker.known(bytes, now) else { return Ok(None) };
        let Some(form) = entry.form(form) else { return Ok(None) };
        worker.tally.looked_up(true);
        worker.tally.answered(Status::OK, form.len());
        answer::ready(self, cx, &entry, form)?;
        self.end_head(cx);
        self.answered(cx, true)?;
        Ok(Some(length))
    }

    /// A head is complete.
    #[inline]
    pub(crate) fn end_head(&mut self, cx: &mut Context<'_, Worker>) {
        if let Some(timer) = self.head_timer.take() {
            cx.cancel_timer(timer);
        }
    }

    /// A worker has something to do before the answer.
    pub(crate) fn wait(&mut self, cx: &mut Context<'_, Worker>) {
        self.phase = Phase::Waiting;
        cx.pause();
        // It is not the client who takes its time.
        cx.set_idle_timeout(None);
        self.greeted = false;
    }

    /// The answer that was waited for is given: what came meanwhile is looked at.
    pub(crate) fn read_on(&mut self, cx: &mut Context<'_, Worker>) -> Result {
        if self.phase == Phase::Reading {
            cx.resume();
        }
        Ok(())
    }

    /// The body of a request is received from now on.
    pub(crate) fn receive(&mut self, receiving: Box<Receiving>) {
        self.phase = Phase::Receiving;
        self.receiving = Some(receiving);
        self.unwanted = 0;
        // It has no timeout of its own now, and gets one anew with the answer.
        self.greeted = false;
    }

    /// The request whose body is received.
    pub(crate) fn receiving(&mut self) -> Option<&mut Receiving> {
        self.receiving.as_deref_mut()
    }

    /// What was paused for is answered: the next request is read, unless that has to wait or there will be none.
    pub(crate) fn go_on(&mut self, cx: &mut Context<'_, Worker>) {
        self.receiving = None;
        if self.phase == Phase::Reading {
            cx.resume();
        }
    }

    /// Whether the connection goes on after the answer to a request whose body nobody wants.
    #[inline]
    pub(crate) fn goes_on(cx: &mut Context<'_, Worker>, request: &Request<'_>) -> bool {
        request.keep_alive && !cx.state().draining && unwanted_of(request).is_some()
    }

    /// The same, where the body may have been read.
    pub(crate) fn goes_on_after(&self, cx: &mut Context<'_, Worker>, request: &Request<'_>) -> bool {
        match &self.receiving {
            Some(receiving) if receiving.is_whole() => request.keep_alive && !cx.state().draining,
            // What is left of it is on its way, and may be much.
            Some(receiving) if receiving.has_begun() => false,
            _ => Self::goes_on(cx, request),
        }
    }

    /// An answer is on its way.
    #[inline]
    pub(crate) fn answered(&mut self, cx: &mut Context<'_, Worker>, goes_on: bool) -> Result {
        if let Some(feeding) = &mut self.feed {
            feeding.closes = !goes_on;
            self.begin_sending(cx);
            return Ok(());
        }
        if !goes_on {
            return self.end(cx);
        }
        if cx.queued() > LARGE {
            self.begin_sending(cx);
            cx.want_drained();
            return Ok(());
        }
        self.phase = Phase::Reading;
        self.release_page(cx);
        if !self.greeted {
            self.greet(cx);
        }
        Ok(())
    }

    /// The client has yet to take an answer: meanwhile nothing is read.
    pub(crate) fn begin_sending(&mut self, cx: &mut Context<'_, Worker>) {
        self.phase = Phase::Sending;
        self.greeted = false;
        let timeout = cx.state().settings.timeouts.write;
        cx.set_idle_timeout(timeout);
        cx.pause();
    }

    /// The last piece of an answer has left, or nearly.
    fn end_sending(&mut self, cx: &mut Context<'_, Worker>) -> Result {
        let closes = self.feed.take().is_some_and(|feeding| feeding.closes);
        if self.ledger.is_some() {
            self.settle(cx);
            self.list_unlogged(cx);
        }
        self.release_page(cx);
        if closes || cx.state().draining {
            return self.end(cx);
        }
        self.phase = Phase::Reading;
        self.greet(cx);
        cx.resume();
        Ok(())
    }

    /// The page that was written for this client no longer waits.
    fn release_page(&mut self, cx: &mut Context<'_, Worker>) {
        cx.state().pages -= std::mem::take(&mut self.page);
    }

    /// From now on the connection is waited for between requests.
    #[cold]
    fn greet(&mut self, cx: &mut Context<'_, Worker>) {
        self.greeted = true;
        let timeout = cx.state().settings.timeouts.keep_alive;
        cx.set_idle_timeout(timeout);
    }

    /// The last answer is given: the connection closes when the client has it.
    fn end(&mut self, cx: &mut Context<'_, Worker>) -> Result {
        self.phase = Phase::Closing;
        let timeout = cx.state().settings.timeouts.write;
        cx.set_idle_timeout(timeout);
        cx.close_after_flush()
    }

    /// What has come is no request, or too much of one: says so, and closes, for nobody knows where the next one begins.
    #[cold]
    fn refuse(&mut self, cx: &mut Context<'_, Worker>, status: Status, bytes: &[u8]) -> Result {
        let now = cx.now();
        cx.state().begin_turn(now);
        self.end_head(cx);
        answer::bare_status(self, cx, status, bytes)?;
        self.end(cx)
    }

    /// A part of a head has come: the rest is waited for, for a while.
    pub(crate) fn await_rest(&mut self, cx: &mut Context<'_, Worker>) -> Result {
        if self.head_timer.is_none() {
            let timeout = cx.state().settings.timeouts.header;
            self.head_timer = Some(cx.set_timer(timeout)?);
        }
        Ok(())
    }
}

impl Handler<Worker> for HttpConnection {
    fn on_open(&mut self, cx: &mut Context<'_, Worker>) -> Result {
        let most = cx.state().settings.connections_per_address;
        let Some(network) = self.peer.network().filter(|_| most > 0) else { return Ok(()) };
        self.admitted = cx.state().shared.admit(network, most);
        if self.admitted { Ok(()) } else { self.refuse(cx, Status::SERVICE_UNAVAILABLE, b"") }
    }

    #[inline]
    fn on_data(&mut self, cx: &mut Context<'_, Worker>, input: &mut Input<'_>) -> Result {
        let (id, mut requests) = (cx.id(), 0_u32);
        cx.state().begin_reading(id);
        while self.phase == Phase::Reading && !input.is_empty() {
            if self.unwanted > 0 {
                self.drop_unwanted(cx, input)?;
                continue;
            }
            if requests == 1 {
                cx.state().look_again();
            }
            requests += 1;
            let bytes = input.as_slice();
            if let Some(length) = self.serve_known(cx, bytes)? {
                input.consume(length);
                continue;
            }
            match request::parse(bytes, &LIMITS) {
                Ok(Some(request)) => {
                    self.end_head(cx);
                    let length = request.head_len;
                    self.pass_over_body(&request);
                    self.serve(cx, &request, &bytes[..length])?;
                    input.consume(length);
                }
                Ok(None) => return self.await_rest(cx),
                Err(status) => {
                    return self.refuse(cx, status, input.take());
                }
            }
        }
        match self.phase {
            Phase::Receiving => return receiving::take(self, cx, input),
            Phase::Closing => drop(input.take()),
            Phase::Reading | Phase::Waiting | Phase::Sending => {}
        }
        Ok(())
    }

    fn on_drained(&mut self, cx: &mut Context<'_, Worker>) -> Result {
        if self.phase != Phase::Sending {
            return Ok(());
        }
        if self.feed.as_ref().is_some_and(|feeding| feeding.feed.left() > 0) {
            // Whether the file is still the same decides on its end.
            let now = cx.now();
            cx.state().begin_turn(now);
        }
        match &self.feed {
            Some(feeding) if feeding.checking || feeding.timer.is_some() => Ok(()),
            Some(feeding) if feeding.feed.left() > 0 => self.go_on_feeding(cx, false),
            _ => self.end_sending(cx),
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_, Worker>, timer: TimerId) -> Result {
        if self.head_timer == Some(timer) && self.phase == Phase::Reading {
            self.head_timer = None;
            let bytes = cx.take_unread();
            return self.refuse(cx, Status::REQUEST_TIMEOUT, &bytes);
        }
        if self.phase == Phase::Receiving {
            return receiving::on_timer(self, cx, timer);
        }
        if let Some(feeding) = self.feed.as_mut().filter(|feeding| feeding.timer == Some(timer)) {
            feeding.timer = None;
            // A client that does not take what it is sent gets no more of it.
            cx.want_drained();
        }
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, Worker>, _deadline: Instant) -> Result {
        cx.state().draining = true;
        match self.phase {
            // What has arrived is answered.
            Phase::Reading => cx.finish(),
            Phase::Waiting | Phase::Receiving | Phase::Sending | Phase::Closing => Ok(()),
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_, Worker>, _reason: &CloseReason) {
        if self.ledger.is_some() || self.awaits_rest() {
            self.log_end(cx);
        }
        self.release_page(cx);
        if let Some(receiving) = self.receiving.take() {
            receiving::on_close(*receiving, cx);
        }
        if self.admitted
            && let Some(network) = self.peer.network()
        {
            cx.state().shared.release(network);
        }
    }
}

/// How much of a request's head is taken.
pub(crate) const LIMITS: RequestLimits = RequestLimits { line: 8 << 10, head: 32 << 10, fields: 100 };

/// Bytes of output that wait, above which the next request is not answered before they have left.
const LARGE: usize = 64 << 10;
