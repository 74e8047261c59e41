//! One HTTP connection: requests in, answers out, in order and one at a time.

use std::ffi::OsStr;
use std::io::Error;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use reactor::{CloseReason, Context, Handler, Input, Result, SocketAddress, TimerId};

use crate::answer;
use crate::feed::{Feed, Next};
use crate::http::authorization::Credentials;
use crate::http::cors;
use crate::http::field::Field;
use crate::http::framing::Body;
use crate::http::method::Method;
use crate::http::request::{self, Request, RequestLimits};
use crate::http::status::Status;
use crate::http::target::RelativePath;
use crate::jobs;
use crate::listing::sorting::Sorting;
use crate::listing::{Format, Listing};
use crate::load;
use crate::receiving::{self, Receiving};
use crate::removing;
use crate::settings::Settings;
use crate::users::Users;
use crate::worker::{self, Answer, Question, Worker};

/// A connection. An idle one is this and nothing else: what it is in the middle of is in a box of its own.
#[derive(Debug)]
pub struct HttpConnection {
    pub(crate) peer: SocketAddress,
    phase: Phase,
    /// It has been answered once, so that it is waited for as an old friend is.
    greeted: bool,
    /// Counted among those of its address.
    admitted: bool,
    /// Fires if the head that has begun to come takes too long.
    head_timer: Option<TimerId>,
    asked: Option<Box<Asked>>,
    feed: Option<Box<Feeding>>,
    receiving: Option<Box<Receiving>>,
}

/// An answer of which more is to be sent, and what follows it.
#[derive(Debug)]
struct Feeding {
    feed: Feed,
    closes: bool,
    /// When the next piece may be sent.
    timer: Option<TimerId>,
    /// A worker looks at the file.
    checking: bool,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
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

/// A request that waits for a worker.
#[derive(Debug)]
struct Asked {
    /// Its head, to be read again when the answer is there.
    head: Vec<u8>,
    question: Question,
    /// The name was not found, and the index of the root is to answer.
    falls_back: bool,
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
            head_timer: None,
            asked: None,
            feed: None,
            receiving: None,
        }
    }

    /// Answers a request whose head has come.
    #[inline]
    fn serve(&mut self, cx: &mut Context<'_, Worker>, request: &Request<'_>, head: &[u8]) -> Result {
        let now = cx.now();
        cx.state().begin_turn(now);
        if let Some(users) = &cx.state().settings.users
            && !cors::is_preflight(request)
        {
            let users = Arc::clone(users);
            if !self.admits(cx, &users, request, head)? {
                return Ok(());
            }
        }
        match request.method {
            Method::Get | Method::Head => self.retrieve(cx, request, head),
            Method::Options => answer::options(self, cx, request),
            Method::Unknown => answer::status(self, cx, request, Status::NOT_IMPLEMENTED),
            Method::Put if cx.state().settings.uploads.allow_upload => receiving::begin(self, cx, request, head),
            Method::Delete if cx.state().settings.uploads.allow_delete => removing::begin(self, cx, request, head),
            _ => answer::not_allowed(self, cx, request),
        }
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
    fn end_head(&mut self, cx: &mut Context<'_, Worker>) {
        if let Some(timer) = self.head_timer.take() {
            cx.cancel_timer(timer);
        }
    }

    /// Whether the request is of a known user. If not, the answer is given; if nobody knows yet, a worker finds out.
    fn admits(
        &mut self,
        cx: &mut Context<'_, Worker>,
        users: &Arc<Users>,
        request: &Request<'_>,
        head: &[u8],
    ) -> std::result::Result<bool, Error> {
        let Some(credentials) = request.field(Field::Authorization).and_then(Credentials::parse) else {
            return answer::unauthorized(self, cx, request).map(|()| false);
        };
        if cx.state().verified.contains(&credentials) {
            return Ok(true);
        }
        let head = head.to_vec();
        let job = |(users, credentials): (Arc<Users>, Credentials)| users.verify(&credentials).then_some(credentials);
        let done = move |it: &mut Self, cx: &mut Context<'_, Worker>, shown| it.verified(cx, &head, shown);
        match jobs::run_for(cx, (Arc::clone(users), credentials), job, done) {
            Ok(()) => self.wait(cx),
            Err(_) => answer::status(self, cx, request, Status::SERVICE_UNAVAILABLE)?,
        }
        Ok(false)
    }

    /// A worker has looked at a password.
    fn verified(&mut self, cx: &mut Context<'_, Worker>, head: &[u8], shown: Option<Credentials>) -> Result {
        let Ok(Some(request)) = request::parse(head, &LIMITS) else { return Ok(()) };
        self.phase = Phase::Reading;
        match shown {
            Some(credentials) => {
                cx.state().verified.insert(&credentials);
                self.serve(cx, &request, head)?;
            }
            None => answer::unauthorized(self, cx, &request)?,
        }
        self.read_on(cx)
    }

    /// Has a worker list a directory.
    fn list(&mut self, cx: &mut Context<'_, Worker>, request: &Request<'_>, head: Vec<u8>) -> Result {
        let (settings, path) = (Arc::clone(&cx.state().settings), request.path.to_vec());
        let sorting = Sorting::of(request.query);
        let format = Format::of(request.query, request.field(Field::Accept));
        let job = move |()| write_listing(&settings, &path, sorting, format);
        let done = move |it: &mut Self, cx: &mut Context<'_, Worker>, page: std::result::Result<Vec<u8>, Status>| {
            let Ok(Some(request)) = request::parse(&head, &LIMITS) else { return Ok(()) };
            it.phase = Phase::Reading;
            match page {
                Ok(page) => answer::listing(it, cx, &request, (format, &page))?,
                Err(status) => answer::status(it, cx, &request, status)?,
            }
            it.read_on(cx)
        };
        match jobs::run_for(cx, (), job, done) {
            Ok(()) => self.wait(cx),
            Err(()) => answer::status(self, cx, request, Status::SERVICE_UNAVAILABLE)?,
        }
        Ok(())
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
    fn read_on(&mut self, cx: &mut Context<'_, Worker>) -> Result {
        if self.phase == Phase::Reading {
            cx.resume();
        }
        Ok(())
    }

    /// The body of a request is received from now on.
    pub(crate) fn receive(&mut self, receiving: Box<Receiving>) {
        self.phase = Phase::Receiving;
        self.receiving = Some(receiving);
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

    #[inline]
    fn retrieve(&mut self, cx: &mut Context<'_, Worker>, request: &Request<'_>, head: &[u8]) -> Result {
        let Ok(path) = RelativePath::decode(request.path) else {
            return answer::status(self, cx, request, Status::BAD_REQUEST);
        };
        let name = worker::name_of(&path);
        let now = cx.now();
        let worker = cx.state();
        if let Some(entry) = worker.find(&name, now) {
            worker.tally.looked_up(true);
            return answer::file(self, cx, request, &entry, Some((head, &name)));
        }
        worker.tally.looked_up(false);
        let question = Question { name: name.as_ref().into(), alone: false };
        self.ask(cx, request, Asked { head: head.to_vec(), question, falls_back: false })
    }

    /// Has a worker look for what is asked, and waits.
    fn ask(&mut self, cx: &mut Context<'_, Worker>, request: &Request<'_>, asked: Asked) -> Result {
        if let Err(error) = worker::ask(cx, &asked.question) {
            tracing::warn!("a request is refused: {error}");
            return answer::status(self, cx, request, Status::SERVICE_UNAVAILABLE);
        }
        self.asked = Some(Box::new(asked));
        self.wait(cx);
        Ok(())
    }

    /// A worker has found what this connection waits for.
    ///
    /// # Errors
    /// As of every callback.
    pub fn found(&mut self, cx: &mut Context<'_, Worker>, found: Answer) -> Result {
        let Some(asked) = self.asked.take() else { return Ok(()) };
        let Asked { head, mut question, falls_back } = *asked;
        // It was read once, and is read the same way again.
        let Ok(Some(request)) = request::parse(&head, &LIMITS) else { return Ok(()) };
        self.phase = Phase::Reading;
        let now = cx.now();
        cx.state().begin_turn(now);
        match found {
            Answer::Changed => {
                question.alone = true;
                return self.ask(cx, &request, Asked { head: head.clone(), question, falls_back });
            }
            Answer::Refused(Status::NOT_FOUND) if !falls_back && self.may_fall_back(cx, &question) => {
                let question = Question { name: Rc::from(&b"/"[..]), alone: false };
                return self.ask(cx, &request, Asked { head: head.clone(), question, falls_back: true });
            }
            Answer::File(entry) => answer::file(self, cx, &request, &entry, None)?,
            Answer::Directory => answer::redirect(self, cx, &request)?,
            Answer::Listable if cx.state().settings.answers.listing => self.list(cx, &request, head.clone())?,
            Answer::Listable => answer::status(self, cx, &request, Status::FORBIDDEN)?,
            Answer::Refused(status) => answer::status(self, cx, &request, status)?,
        }
        self.read_on(cx)
    }

    /// Whether a name that does not exist may be a route of the application: names of files, which have a dot, are not.
    fn may_fall_back(&self, cx: &mut Context<'_, Worker>, question: &Question) -> bool {
        let last = question.name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        cx.state().settings.answers.spa && !last.contains(&b'.')
    }

    /// Whether the connection goes on after the answer to a request.
    #[inline]
    pub(crate) fn goes_on(cx: &mut Context<'_, Worker>, request: &Request<'_>) -> bool {
        // A body that nobody asked for is not read, so what follows it cannot be.
        request.keep_alive && !cx.state().draining && matches!(request.body, Body::None | Body::Length(0))
    }

    /// The same, where the body may have been read.
    pub(crate) fn goes_on_after(&self, cx: &mut Context<'_, Worker>, request: &Request<'_>) -> bool {
        match &self.receiving {
            Some(receiving) if receiving.is_whole() => request.keep_alive && !cx.state().draining,
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
        if !self.greeted {
            self.greet(cx);
        }
        Ok(())
    }

    /// The client has yet to take an answer: meanwhile nothing is read.
    fn begin_sending(&mut self, cx: &mut Context<'_, Worker>) {
        self.phase = Phase::Sending;
        self.greeted = false;
        let timeout = cx.state().settings.timeouts.write;
        cx.set_idle_timeout(timeout);
        cx.pause();
    }

    /// Sends the first piece of content that is sent by pieces.
    pub(crate) fn begin_feed(&mut self, cx: &mut Context<'_, Worker>, feed: Feed) -> Result {
        self.feed = Some(Box::new(Feeding { feed, closes: false, timer: None, checking: false }));
        self.go_on_feeding(cx, false)
    }

    /// Sends the next piece. When all are sent, the connection waits for the last one to leave.
    fn go_on_feeding(&mut self, cx: &mut Context<'_, Worker>, checked: bool) -> Result {
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
            return Err(Error::other("the file was written to while it was sent"));
        }
        self.go_on_feeding(cx, true)
    }

    /// The last piece of an answer has left, or nearly.
    fn end_sending(&mut self, cx: &mut Context<'_, Worker>) -> Result {
        let closes = self.feed.take().is_some_and(|feeding| feeding.closes);
        if closes || cx.state().draining {
            return self.end(cx);
        }
        self.phase = Phase::Reading;
        self.greet(cx);
        cx.resume();
        Ok(())
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
    fn refuse(&mut self, cx: &mut Context<'_, Worker>, status: Status) -> Result {
        let now = cx.now();
        cx.state().begin_turn(now);
        answer::bare_status(self, cx, status)?;
        self.end(cx)
    }

    /// A part of a head has come: the rest is waited for, for a while.
    fn await_rest(&mut self, cx: &mut Context<'_, Worker>) -> Result {
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
        let Some(address) = self.peer.as_inet().filter(|_| most > 0) else { return Ok(()) };
        self.admitted = cx.state().shared.admit(address.ip(), most);
        if self.admitted { Ok(()) } else { self.refuse(cx, Status::SERVICE_UNAVAILABLE) }
    }

    #[inline]
    fn on_data(&mut self, cx: &mut Context<'_, Worker>, input: &mut Input<'_>) -> Result {
        while self.phase == Phase::Reading && !input.is_empty() {
            let bytes = input.as_slice();
            if let Some(length) = self.serve_known(cx, bytes)? {
                input.consume(length);
                continue;
            }
            match request::parse(bytes, &LIMITS) {
                Ok(Some(request)) => {
                    self.end_head(cx);
                    let length = request.head_len;
                    self.serve(cx, &request, &bytes[..length])?;
                    input.consume(length);
                }
                Ok(None) => return self.await_rest(cx),
                Err(status) => {
                    input.take();
                    return self.refuse(cx, status);
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
            return self.refuse(cx, Status::REQUEST_TIMEOUT);
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
        if let Some(receiving) = self.receiving.take() {
            receiving::on_close(*receiving, cx);
        }
        if self.admitted
            && let Some(address) = self.peer.as_inet()
        {
            cx.state().shared.release(address.ip());
        }
    }
}

/// The listing of a directory, written. Waits for the disk.
fn write_listing(
    settings: &Settings,
    path: &[u8],
    sorting: Sorting,
    format: Format,
) -> std::result::Result<Vec<u8>, Status> {
    let path = RelativePath::decode(path).map_err(|_| Status::BAD_REQUEST)?;
    let name = Path::new(OsStr::from_bytes(path.as_bytes()));
    let found = load::list(&settings.root, name);
    let (entries, is_truncated) = found.map_err(|refusal| worker::status_of(&refusal, path.as_bytes()))?;
    let mut listing = Listing::new(&path, entries, sorting);
    listing.is_truncated = is_truncated;
    Ok(listing.to_bytes(format))
}

/// How much of a request's head is taken.
pub(crate) const LIMITS: RequestLimits = RequestLimits { line: 8 << 10, head: 32 << 10, fields: 100 };

/// Bytes of output that wait, above which the next request is not answered before they have left.
const LARGE: usize = 64 << 10;
