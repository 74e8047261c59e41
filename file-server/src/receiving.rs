//! PUT: the body of a request is received, and stored when it is whole (RFC 9110, section 9.3.4).
//!
//! ```text
//! begin      what the head tells is checked; a worker looks for the place of the file
//! opened     its state is what the conditions ask for: the client is told to go on
//! take       the body comes, and goes to the disk
//! received   it is stored, or not: the answer
//! ```
//!
//! Whatever is refused before the body has come closes the connection, for the rest of it is on its way; but for a small body of
//! which nothing has been taken yet, which is passed over.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reactor::{Context, Input, Result, TimerId};
use rustix::io::Errno;

use crate::answer;
use crate::connection::{HttpConnection, LIMITS};
use crate::entry::state_of;
use crate::http::chunked::{ChunkedDecoder, Piece};
use crate::http::conditional::{self, Outcome, Validators};
use crate::http::digest::{ContentDigest, DigestCheck};
use crate::http::etag::ETag;
use crate::http::field::Field;
use crate::http::framing::Body;
use crate::http::negotiation::Coding;
use crate::http::request::{self, Request};
use crate::http::status::Status;
use crate::http::target::RelativePath;
use crate::jobs;
use crate::reception::{self, Receiver, Reception};
use crate::root::{Attributes, Refusal, is_shortage};
use crate::settings::Settings;
use crate::sink::Sink;
use crate::storage::{Incoming, Stored, is_full};
use crate::worker::Worker;

type Cx<'a> = Context<'a, Worker>;

/// A request whose body is received.
#[derive(Debug)]
pub(crate) struct Receiving {
    /// The head, to be read again when the answer is due.
    head: Arc<[u8]>,
    framing: Framing,
    /// `None` while the place of the file is looked for.
    reception: Option<Reception<Upload>>,
    /// It is taken as it comes.
    begun: bool,
    /// The whole body has come.
    whole: bool,
    timer: Option<TimerId>,
}

/// How the end of the body is found.
#[derive(Debug)]
enum Framing {
    Length(u64),
    Chunked(ChunkedDecoder),
}

impl Receiving {
    /// Whether the next request begins where the input stands.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether some of the body may have been taken.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }
}

/// What is to be received.
struct Order {
    settings: Arc<Settings>,
    head: Arc<[u8]>,
    name: PathBuf,
    size: Option<u64>,
    digest: ContentDigest,
}

/// Looks at the head of a request, and has a place for its body made.
pub(crate) fn begin(to: &mut HttpConnection, cx: &mut Cx<'_>, request: &Request<'_>, head: &[u8]) -> Result {
    let order = match check(cx, request, head) {
        Ok(order) => order,
        // It is told what is taken instead (RFC 9110, section 15.5.16).
        Err(status @ Status::UNSUPPORTED_MEDIA_TYPE) => {
            return answer::message(to, cx, request, status, &[("Accept-Encoding", b"identity")]);
        }
        Err(status) => return answer::status(to, cx, request, status),
    };
    let framing = order.size.map_or_else(|| Framing::Chunked(ChunkedDecoder::new()), Framing::Length);
    let head = Arc::clone(&order.head);
    if jobs::run_for(cx, order, open, opened).is_err() {
        return answer::status(to, cx, request, Status::SERVICE_UNAVAILABLE);
    }
    let whole = matches!(framing, Framing::Length(0));
    to.receive(Box::new(Receiving { head, framing, reception: None, begun: false, whole, timer: None }));
    // The body has a timer of its own, which knows when it is us who are slow.
    cx.set_idle_timeout(None);
    cx.pause();
    Ok(())
}

/// What is wrong with a head can be told before anything is done.
fn check(cx: &mut Cx<'_>, request: &Request<'_>, head: &[u8]) -> std::result::Result<Order, Status> {
    let path = RelativePath::decode(request.path).map_err(|_| Status::BAD_REQUEST)?;
    if path.is_directory() {
        return Err(Status::CONFLICT);
    }
    // A part of a file cannot be put in its place (RFC 9110, section 14.5).
    if request.field(Field::ContentRange).is_some() {
        return Err(Status::BAD_REQUEST);
    }
    // It would be stored as it is, and served as something else.
    if request.field(Field::ContentEncoding).is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Status::UNSUPPORTED_MEDIA_TYPE);
    }
    let digest = request.field(Field::ContentDigest).map(ContentDigest::parse).transpose();
    let digest = digest.map_err(|_| Status::BAD_REQUEST)?.unwrap_or_default();
    let size = match request.body {
        Body::None => return Err(Status::LENGTH_REQUIRED),
        Body::Length(length) => Some(length),
        Body::Chunked => None,
    };
    let settings = Arc::clone(&cx.state().settings);
    if size.is_some_and(|size| settings.uploads.max_size.is_some_and(|most| size > most)) {
        return Err(Status::CONTENT_TOO_LARGE);
    }
    let name = PathBuf::from(Path::new(name_of(&path)));
    Ok(Order { settings, head: head.into(), name, size, digest })
}

/// Makes a place for the file, unless it is known by now that it will not be stored.
fn open(order: Order) -> std::result::Result<Upload, Status> {
    let Order { settings, head, name, size, digest } = order;
    let hidden = name.iter().enumerate().any(|(depth, part)| !settings.root.shows(part, depth));
    if hidden {
        return Err(Status::FORBIDDEN);
    }
    let (directory, rest) = settings.root.place(&name).map_err(|refusal| status_of_refusal(&refusal, &name))?;
    let present = settings.storage.look(&directory, rest).map_err(|error| status_of_error(&error, &name))?;
    if !may_proceed(&head, present.as_ref()) {
        return Err(Status::PRECONDITION_FAILED);
    }
    let incoming = settings.storage.begin(directory, rest, size).map_err(|error| status_of_error(&error, &name))?;
    let check = (!digest.is_empty()).then(|| digest.check());
    Ok(Upload { incoming, check, head, name })
}

/// There is a place for the file, or there will be no file.
fn opened(to: &mut HttpConnection, cx: &mut Cx<'_>, opened: std::result::Result<Upload, Status>) -> Result {
    let upload = match opened {
        Ok(upload) => upload,
        Err(status) => return conclude(to, cx, status, None),
    };
    let memory = Arc::clone(&cx.state().settings.memory);
    let timeout = cx.state().settings.timeouts.body;
    let Some(receiving) = to.receiving() else { return Ok(()) };
    let length = match receiving.framing {
        Framing::Length(length) => Some(length),
        Framing::Chunked(_) => None,
    };
    receiving.reception = Some(Reception::new(upload, &memory, length, cx.now()));
    receiving.begun = true;
    receiving.timer = Some(cx.set_timer(timeout)?);
    let head = Arc::clone(&receiving.head);
    if receiving.whole {
        return reception::pump(to, cx);
    }
    if read_again(&head).is_some_and(|request| request.expects_continue) {
        cx.send([Status::CONTINUE.line(), "\r\n"].concat())?;
    }
    cx.resume();
    Ok(())
}

/// Takes what has come of the body. What is behind it stays.
pub(crate) fn take(to: &mut HttpConnection, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result {
    let Some(receiving) = to.receiving() else { return Ok(()) };
    if receiving.reception.as_ref().is_none_or(Reception::is_whole) {
        return Ok(());
    }
    if let Framing::Length(_) = receiving.framing {
        reception::receive(to, cx, input)?;
    } else if let Err(status) = take_chunks(to, cx, input)? {
        return give_up(to, cx, status);
    }
    if to.reception().is_some_and(|reception| !reception.is_busy()) {
        cx.quickack();
    }
    Ok(())
}

/// Takes the data out of the chunks that have come, as long as there is room for it.
fn take_chunks(
    to: &mut HttpConnection,
    cx: &mut Cx<'_>,
    input: &mut Input<'_>,
) -> Result<std::result::Result<(), Status>> {
    let most = cx.state().settings.uploads.max_size.unwrap_or(u64::MAX);
    let now = cx.now();
    while let Some(receiving) = to.receiving()
        && !input.is_empty()
    {
        let Receiving { framing: Framing::Chunked(decoder), reception: Some(reception), .. } = receiving else { break };
        let room = reception.room().min(input.len());
        if room == 0 || reception.is_whole() {
            break;
        }
        let mut rest = &input.as_slice()[..room];
        let piece = decoder.next(&mut rest);
        let taken = room - rest.len();
        match piece {
            Err(_) => return Ok(Err(Status::BAD_REQUEST)),
            Ok(Piece::End) => reception.end(),
            Ok(Piece::More) => {}
            Ok(Piece::Data(data)) => drop(reception.take(data, now)),
        }
        // A chunk tells its size before its data: that is enough to refuse it.
        if reception.come().saturating_add(decoder.announced()) > most {
            return Ok(Err(Status::CONTENT_TOO_LARGE));
        }
        input.consume(taken);
        reception::pump(to, cx)?;
    }
    Ok(Ok(()))
}

/// The rest of the body is not wanted any more.
fn give_up(to: &mut HttpConnection, cx: &mut Cx<'_>, status: Status) -> Result {
    if let Some(reception) = to.receiving().and_then(|receiving| receiving.reception.take()) {
        jobs::discard(cx, reception);
    }
    conclude(to, cx, status, None)
}

/// Gives the answer, and goes on with the next request if this one has come whole.
fn conclude(to: &mut HttpConnection, cx: &mut Cx<'_>, status: Status, etag: Option<ETag>) -> Result {
    let Some(receiving) = to.receiving() else { return Ok(()) };
    if let Some(timer) = receiving.timer.take() {
        cx.cancel_timer(timer);
    }
    let (head, begun) = (Arc::clone(&receiving.head), receiving.begun);
    let now = cx.now();
    cx.state().begin_turn(now);
    let Some(request) = read_again(&head) else { return Ok(()) };
    if !begun {
        to.pass_over_body(&request);
    }
    let tag = etag.as_ref().map(|etag| ("ETag", etag.as_bytes()));
    answer::message(to, cx, &request, status, tag.as_slice())?;
    to.go_on(cx);
    Ok(())
}

/// The timer of a body: whether too little has come of it.
pub(crate) fn on_timer(to: &mut HttpConnection, cx: &mut Cx<'_>, timer: TimerId) -> Result {
    let timeout = cx.state().settings.timeouts.body;
    let now = cx.now();
    let Some(receiving) = to.receiving().filter(|receiving| receiving.timer == Some(timer)) else { return Ok(()) };
    let is_busy = receiving.reception.as_ref().is_none_or(Reception::is_busy);
    let last = receiving.reception.as_ref().map_or(now, Reception::progress);
    let silent = now.saturating_duration_since(last);
    if !is_busy && silent >= timeout {
        receiving.timer = None;
        return give_up(to, cx, Status::REQUEST_TIMEOUT);
    }
    receiving.timer = Some(cx.set_timer(if is_busy { timeout } else { timeout - silent })?);
    Ok(())
}

/// The connection has ended: what has come of the body goes where that may take its time.
pub(crate) fn on_close(receiving: Receiving, cx: &mut Cx<'_>) {
    if let Some(reception) = receiving.reception {
        jobs::discard(cx, reception);
    }
}

impl Receiver<Worker> for HttpConnection {
    type Sink = Upload;

    fn reception(&mut self) -> Option<&mut Reception<Upload>> {
        self.receiving()?.reception.as_mut()
    }

    fn received(&mut self, cx: &mut Cx<'_>, outcome: io::Result<std::result::Result<Stored, Status>>) -> Result {
        if let Some(receiving) = self.receiving() {
            receiving.whole |= receiving.reception.take().is_some_and(|reception| reception.is_whole());
        }
        let tag = |attributes: &Attributes| Some(tag_of(attributes));
        let (status, etag) = match outcome {
            Ok(Ok(Stored::Created(attributes))) => (Status::CREATED, tag(&attributes)),
            Ok(Ok(Stored::Replaced(attributes))) => (Status::NO_CONTENT, tag(&attributes)),
            Ok(Ok(Stored::Refused)) => (Status::PRECONDITION_FAILED, None),
            Ok(Err(status)) => (status, None),
            Err(error) => (status_of_error(&error, Path::new("a body")), None),
        };
        conclude(self, cx, status, etag)
    }
}

/// A file on its way to the disk.
#[derive(Debug)]
pub struct Upload {
    incoming: Incoming,
    /// What the client says of the content.
    check: Option<DigestCheck>,
    head: Arc<[u8]>,
    name: PathBuf,
}

impl Sink for Upload {
    type Outcome = std::result::Result<Stored, Status>;

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(check) = &mut self.check {
            check.update(bytes);
        }
        self.incoming.write(bytes)
    }

    fn file(&mut self) -> Option<&mut Incoming> {
        self.check.is_none().then_some(&mut self.incoming)
    }

    fn finish(self) -> io::Result<Self::Outcome> {
        let Self { incoming, check, head, name } = self;
        if check.is_some_and(|check| !check.holds()) {
            return Ok(Err(Status::BAD_REQUEST));
        }
        Ok(incoming.store(|present| may_proceed(&head, present)).map_err(|error| status_of_error(&error, &name)))
    }
}

/// Whether the conditions of a request hold for what is there.
pub(crate) fn may_proceed(head: &[u8], present: Option<&Attributes>) -> bool {
    let Some(request) = read_again(head) else { return false };
    let current = present.map(|attributes| (tag_of(attributes), attributes.modified));
    let current = current.as_ref().map(|(etag, modified)| Validators { etag: etag.as_bytes(), modified: *modified });
    conditional::evaluate(&request, current) == Outcome::Proceed
}

/// The tag of a file that is stored, or to be stored: as it is.
fn tag_of(attributes: &Attributes) -> ETag {
    ETag::of(&state_of(attributes), Coding::Identity)
}

/// It was read once, and is read the same way again.
pub(crate) fn read_again(head: &[u8]) -> Option<Request<'_>> {
    request::parse(head, &LIMITS).ok().flatten()
}

/// The bytes of a path as the name that they are.
pub(crate) fn name_of<'a>(path: &'a RelativePath<'_>) -> &'a std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(path.as_bytes())
}

/// What a client is told of a place that is none. What is not there would be made, so what is missing is in the way.
fn status_of_refusal(refusal: &Refusal, name: &Path) -> Status {
    match refusal {
        Refusal::Missing => Status::CONFLICT,
        Refusal::Forbidden => Status::FORBIDDEN,
        Refusal::Busy => Status::SERVICE_UNAVAILABLE,
        Refusal::Failed(error) => status_of_error(error, name),
    }
}

/// What a client is told of a disk that does not do what it should.
pub(crate) fn status_of_error(error: &io::Error, name: &Path) -> Status {
    match error.kind() {
        _ if is_full(error) => Status::INSUFFICIENT_STORAGE,
        _ if Errno::from_io_error(error).is_some_and(is_shortage) => Status::SERVICE_UNAVAILABLE,
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => Status::CONFLICT,
        io::ErrorKind::FileTooLarge => Status::CONTENT_TOO_LARGE,
        io::ErrorKind::InvalidFilename => Status::BAD_REQUEST,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Status::FORBIDDEN,
        _ => {
            tracing::error!("cannot store {}: {error}", name.display());
            Status::INTERNAL_SERVER_ERROR
        }
    }
}
