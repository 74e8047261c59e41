//! One request and its response, and then perhaps the next one of the same server.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use file_server::http::chunked::Piece;
use reactor::{CloseReason, Context, Handler, Input, Result, TimerId};

use crate::download::{Download, Part, is_stdout};
use crate::failure::Failure;
use crate::listing::Listing;
use crate::location::Location;
use crate::response::{Framing, Response};
use crate::session::{Outcome, Session, failure_of};
use crate::task::{Task, What};

/// What is asked of a server.
pub(crate) struct Order {
    head: String,
    body: Option<(Arc<File>, u64)>,
    /// The server is to say that it wants the body.
    expects_continue: bool,
    part: Option<Part>,
}

/// One request and its response.
pub(crate) struct Exchange {
    /// `None` when it is over.
    task: Option<Task>,
    order: Order,
    begun: Instant,
    stage: Stage,
    /// Bytes of this try that were told to the bar.
    shown: u64,
    /// Bytes of the body that were given to the connection.
    sent: u64,
    timer: Option<TimerId>,
    /// The server takes another request after this response.
    keeps_alive: bool,
    /// The connection has served another request before.
    is_reused: bool,
}

enum Stage {
    /// The head of the response is awaited.
    Head,
    Body(Framing, Sink),
}

/// Where the body of the response goes.
enum Sink {
    File(Box<Download>),
    Listing(Vec<u8>),
    /// The page of an error or a redirect: the head has told all.
    Nothing(Verdict),
}

/// What a head alone says.
enum Verdict {
    Stored,
    Elsewhere(Location),
    Useless,
    Failed(Failure),
}

impl Order {
    /// Sends a file.
    pub(crate) fn put(to: &Location, (file, size): (File, u64), digest: Option<String>, no_replace: bool) -> Self {
        let expects_continue = size >= WORTH_ASKING;
        let mut head = begin_head("PUT", to);
        head += &format!("Content-Length: {size}\r\n");
        if expects_continue {
            head += "Expect: 100-continue\r\n";
        }
        if no_replace {
            head += "If-None-Match: *\r\n";
        }
        if let Some(digest) = digest {
            head += &format!("Content-Digest: {digest}\r\n");
        }
        Self { head, body: Some((Arc::new(file), size)), expects_continue, part: None }
    }

    /// Fetches a file, or what is missing of it.
    pub(crate) fn get(from: &Location, part: Option<Part>) -> Self {
        let mut head = begin_head("GET", from);
        if let Some(part) = &part {
            head += &format!("Range: bytes={}-\r\nIf-Range: {}\r\n", part.length, part.validator);
        }
        Self { head, body: None, expects_continue: false, part }
    }

    /// Fetches a listing.
    pub(crate) fn list(from: &Location) -> Self {
        let head = begin_head("GET", &from.with_query("format=json")) + "Accept: application/json\r\n";
        Self { head, body: None, expects_continue: false, part: None }
    }
}

fn begin_head(method: &str, location: &Location) -> String {
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: file-client/{}\r\n",
        location.request_target(),
        location.server.host(),
        env!("CARGO_PKG_VERSION"),
    );
    if let Some(credentials) = &location.credentials {
        head += &format!("Authorization: {credentials}\r\n");
    }
    head
}

impl Exchange {
    pub(crate) fn new(task: Task, order: Order) -> Self {
        let begun = Instant::now();
        Self {
            task: Some(task),
            order,
            begun,
            stage: Stage::Head,
            shown: 0,
            sent: 0,
            timer: None,
            keeps_alive: false,
            is_reused: false,
        }
    }

    fn send_request(&mut self, cx: &mut Context<'_, Session>) -> Result {
        cx.send([&*self.order.head, "\r\n"].concat())?;
        match self.order.expects_continue {
            true => self.set_timer(cx, ASKED_FOR),
            false => self.send_body(cx),
        }
    }

    fn send_body(&mut self, cx: &mut Context<'_, Session>) -> Result {
        let Some((file, size)) = self.order.body.take() else { return Ok(()) };
        if size > 0 {
            cx.send_file(file, 0..size)?;
            self.sent = size;
        }
        self.set_timer(cx, SHOWN_EVERY)
    }

    fn set_timer(&mut self, cx: &mut Context<'_, Session>, delay: Duration) -> Result {
        self.timer = Some(cx.set_timer(delay)?);
        Ok(())
    }

    /// Tells the bar what has left of the body.
    fn show_sent(&mut self, cx: &mut Context<'_, Session>) {
        let left = self.sent.saturating_sub(cx.queued() as u64);
        if left > self.shown {
            cx.state().progress.moved(left - self.shown);
            self.shown = left;
        }
    }

    /// Reads what has come. `Ok(true)`: the response is complete.
    fn take(&mut self, cx: &mut Context<'_, Session>, input: &mut Input<'_>) -> std::result::Result<bool, Failure> {
        while let Stage::Head = self.stage {
            let Some(response) = Response::parse(input.as_slice())? else { return Ok(false) };
            input.consume(response.length);
            match response.status {
                100 => self.send_body(cx)?,
                101..200 => {}
                _ => self.begin_body(cx, &response)?,
            }
        }
        self.take_body(cx, input)
    }

    /// The head is there: decides where the body goes.
    fn begin_body(&mut self, cx: &mut Context<'_, Session>, response: &Response) -> std::result::Result<(), Failure> {
        let framing = response.framing()?;
        // An answer that came before all was sent may be the last one.
        self.keeps_alive = response.keeps_alive() && self.order.body.is_none() && cx.queued() == 0;
        let Some(task) = &self.task else { return Ok(()) };
        let mut expected = 0;
        let sink = match (response.status, &task.what) {
            (301 | 302 | 303 | 307 | 308, What::Get { from, .. } | What::Mirror { from, .. } | What::List { from }) => {
                let to = response.text("location").ok_or_else(|| Failure::lasting("a redirect that leads nowhere"))?;
                Sink::Nothing(Verdict::Elsewhere(from.redirected(to).map_err(Failure::lasting)?))
            }
            (200..=204, What::Put { .. }) => Sink::Nothing(Verdict::Stored),
            (200, What::Mirror { .. } | What::List { .. }) => Sink::Listing(Vec::new()),
            (416, What::Get { .. }) if self.order.part.is_some() => Sink::Nothing(Verdict::Useless),
            (200 | 206, What::Get { from, to }) => {
                let sha256 = cx.state().options.get().and_then(|get| get.sha256);
                let from = from.to_string();
                let download = match is_stdout(to) {
                    true => Download::to_stdout(response, sha256)?,
                    false => Download::begin(to, &from, response, self.order.part.as_ref(), sha256)?,
                };
                expected = download.expected().unwrap_or(0);
                Sink::File(Box::new(download))
            }
            _ => Sink::Nothing(Verdict::Failed(response.failure())),
        };
        if let (Sink::File(_), Some(task)) = (&sink, &mut self.task) {
            let progress = &mut cx.state().progress;
            progress.take_back(std::mem::replace(&mut task.announced, expected), 0);
            progress.expect(expected);
        }
        self.stage = Stage::Body(framing, sink);
        Ok(())
    }

    fn take_body(
        &mut self,
        cx: &mut Context<'_, Session>,
        input: &mut Input<'_>,
    ) -> std::result::Result<bool, Failure> {
        let Stage::Body(framing, sink) = &mut self.stage else { return Ok(false) };
        // The head has told all. The page is read only if the connection is of use after it.
        let is_short = matches!(framing, Framing::Length(left) if *left <= SHORT);
        if matches!(sink, Sink::Nothing(_)) && !(self.keeps_alive && is_short) {
            self.keeps_alive = false;
            input.take();
            return Ok(true);
        }
        let mut moved = 0;
        let complete = match framing {
            Framing::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                sink.take(&input.as_slice()[..count])?;
                input.consume(count);
                moved = count as u64;
                *left -= moved;
                *left == 0
            }
            Framing::Chunked(decoder) => loop {
                let mut rest = input.as_slice();
                let piece = decoder.next(&mut rest).map_err(Failure::lasting)?;
                let taken = input.len() - rest.len();
                if let Piece::Data(bytes) = piece {
                    sink.take(bytes)?;
                    moved += bytes.len() as u64;
                }
                let (ended, dry) = (piece == Piece::End, piece == Piece::More);
                input.consume(taken);
                if ended || dry {
                    break ended;
                }
            },
            Framing::UntilEnd => {
                self.keeps_alive = false;
                let bytes = input.take();
                moved = bytes.len() as u64;
                sink.take(bytes)?;
                false
            }
        };
        if let Sink::File(_) = sink {
            self.shown += moved;
            cx.state().progress.moved(moved);
        }
        Ok(complete)
    }

    /// The response is complete.
    fn conclude(&mut self) -> std::result::Result<Outcome, Failure> {
        match std::mem::replace(&mut self.stage, Stage::Head) {
            Stage::Head => Err(Failure::passing("there is no answer")),
            Stage::Body(_, Sink::File(download)) => download.finish().map(Outcome::Moved),
            Stage::Body(_, Sink::Listing(json)) => Listing::parse(&json).map(Outcome::Listed).map_err(Failure::lasting),
            Stage::Body(_, Sink::Nothing(verdict)) => match verdict {
                Verdict::Stored => Ok(Outcome::Moved(self.sent)),
                Verdict::Elsewhere(to) => Ok(Outcome::Redirected(to)),
                Verdict::Useless => Ok(Outcome::Useless),
                Verdict::Failed(failure) => Err(failure),
            },
        }
    }

    /// Tells what has come of the task, once. The connection then serves the next task, or closes.
    fn end(&mut self, cx: &mut Context<'_, Session>, outcome: std::result::Result<Outcome, Failure>) {
        let Some(task) = self.task.take() else { return };
        let mut outcome = outcome;
        if let Stage::Body(_, Sink::File(download)) = &mut self.stage {
            download.give_up();
            if let Err(failure) = &mut outcome {
                failure.passes &= !download.is_spent();
            }
        }
        if outcome.is_err() {
            cx.state().progress.take_back(0, self.shown);
        }
        let took = self.begun.elapsed();
        let outcome = outcome.map(|outcome| (outcome, took));
        if !self.keeps_alive {
            cx.close();
            return Session::end(cx, task, outcome);
        }
        let server = task.server().cloned();
        match Session::end_and_next(cx, task, outcome, server.as_ref()) {
            Some((task, order)) => self.serve_next(cx, task, order),
            None => cx.close(),
        }
    }

    fn serve_next(&mut self, cx: &mut Context<'_, Session>, task: Task, order: Order) {
        if let Some(timer) = self.timer.take() {
            cx.cancel_timer(timer);
        }
        *self = Self { is_reused: true, ..Self::new(task, order) };
        if let Err(error) = self.send_request(cx) {
            self.end(cx, Err(error.into()));
        }
    }

    /// The connection is gone. A server may close one that has waited, just when the next request is on its way: that is no
    /// failure, and the request goes on a connection of its own. It is one that may come twice.
    fn lose(&mut self, cx: &mut Context<'_, Session>, reason: &CloseReason) {
        let is_stale = self.is_reused && matches!(reason, CloseReason::Eof | CloseReason::Error(_));
        self.keeps_alive = false;
        match &self.stage {
            Stage::Head if is_stale && self.task.is_some() => {
                cx.state().progress.take_back(0, self.shown);
                if let Some(task) = self.task.take() {
                    cx.close();
                    Session::again(cx, task);
                }
            }
            Stage::Body(Framing::UntilEnd, _) if matches!(reason, CloseReason::Eof) => self.finish(cx),
            // The head has told all.
            Stage::Body(_, Sink::Nothing(_)) => self.finish(cx),
            _ => self.end(cx, Err(failure_of(reason))),
        }
    }

    fn finish(&mut self, cx: &mut Context<'_, Session>) {
        let outcome = self.conclude();
        self.end(cx, outcome);
    }
}

impl Sink {
    fn take(&mut self, bytes: &[u8]) -> std::result::Result<(), Failure> {
        match self {
            Self::File(download) => download.write(bytes),
            Self::Listing(json) if json.len() + bytes.len() > LARGEST_LISTING => {
                Err(Failure::lasting("the listing is too large"))
            }
            Self::Listing(json) => {
                json.extend_from_slice(bytes);
                Ok(())
            }
            Self::Nothing(_) => Ok(()),
        }
    }
}

impl Handler<Session> for Exchange {
    fn on_open(&mut self, cx: &mut Context<'_, Session>) -> Result {
        self.send_request(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_, Session>, input: &mut Input<'_>) -> Result {
        if self.task.is_none() {
            input.take();
            return Ok(());
        }
        match self.take(cx, input) {
            Ok(false) => {}
            Ok(true) => {
                self.show_sent(cx);
                // Nobody has asked for more.
                self.keeps_alive &= input.is_empty();
                self.finish(cx);
            }
            Err(failure) => {
                self.keeps_alive = false;
                self.end(cx, Err(failure));
            }
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_, Session>) -> Result {
        self.lose(cx, &CloseReason::Eof);
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_, Session>, _: TimerId) -> Result {
        // A server that says nothing may not know the question.
        if self.order.body.is_some() {
            return self.send_body(cx);
        }
        self.show_sent(cx);
        self.set_timer(cx, SHOWN_EVERY)
    }

    fn on_close(&mut self, cx: &mut Context<'_, Session>, reason: &CloseReason) {
        self.lose(cx, reason);
    }
}

/// From this size on a server is asked whether it wants the body: less is on its way before the answer comes.
const WORTH_ASKING: u64 = 64 << 10;

/// Bytes of a page that is read so that the connection can be used again.
const SHORT: u64 = 64 << 10;

/// How long the answer to that is waited for.
const ASKED_FOR: Duration = Duration::from_secs(1);

/// How often the bar is told what has left.
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// What a listing may take in memory: a million names.
const LARGEST_LISTING: usize = 256 << 20;
