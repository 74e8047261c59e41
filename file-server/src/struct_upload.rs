//! The struct upload protocol: a header of fixed length, "ok", the content, and "ok" again when it is stored.
//!
//! ```text
//! client -> server   256 bytes  the name, ended by a NUL; what follows it is ignored
//!                      4 bytes  int32, little-endian: how many bytes the content has
//! server -> client     2 bytes  "ok": send it
//! client -> server   the content
//! server -> client     2 bytes  "ok": it is whole, and stored under the name
//! ```
//!
//! One file a connection: the server closes it after the second "ok", and ignores what comes behind the content. A refusal
//! closes it without "ok".

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reactor::{CloseReason, Context, Handler, Input, Result, SocketAddress, TimerId};

use crate::access_log::{self, End, Record};
use crate::http::status::Status;
use crate::jobs;
use crate::memory::Memory;
use crate::receiving::status_of_error;
use crate::reception::{self, Receiver, Reception};
use crate::root::{Refusal, Root};
use crate::shared::Shared;
use crate::sink::Sink;
use crate::storage::{Incoming, Storage, Stored};
use crate::struct_header::{self, HEADER, Rejection};

/// What all connections of a listener have in common.
#[derive(Clone, Debug)]
pub struct StructOptions {
    /// Where the files go.
    pub root: Arc<Root>,
    /// How they are stored.
    pub storage: Arc<Storage>,
    /// What their bytes on the way may take.
    pub memory: Arc<Memory>,
    /// Bytes of the largest file.
    pub max_size: u64,
    /// How long the header may take.
    pub header_timeout: Duration,
    /// How long the content may stand still.
    pub body_timeout: Duration,
    /// Where what came of them is counted and logged.
    pub shared: Arc<Shared>,
}

/// One connection of the protocol, which is one file.
#[derive(Debug)]
pub struct StructUpload {
    options: Arc<StructOptions>,
    peer: SocketAddress,
    name: String,
    size: u64,
    /// As the access log has the name, and when it came.
    asked: Option<(String, Instant)>,
    stage: Stage,
    /// Looks whether anything comes.
    timer: Option<TimerId>,
    /// The log knows how it ended.
    told: bool,
}

#[derive(Debug)]
enum Stage {
    /// The header is awaited.
    Header,
    /// A place for the file is made.
    Opening,
    /// The content is awaited, or stored.
    Content(Box<Reception<Upload>>),
    /// The file is stored.
    Stored,
}

impl StructUpload {
    /// A connection that has just come.
    #[must_use]
    pub fn new(options: Arc<StructOptions>, peer: SocketAddress) -> Self {
        let (name, stage) = (String::new(), Stage::Header);
        Self { options, peer, name, size: 0, asked: None, stage, timer: None, told: false }
    }

    /// Looks at the header and has a place made for the file. What has come of the content waits meanwhile.
    fn begin<S: 'static>(&mut self, cx: &mut Context<'_, S>, header: &[u8; HEADER]) -> Result {
        if self.options.shared.access_log().is_some() {
            self.asked = Some((struct_header::target(header), cx.now()));
        }
        let (name, size) = match struct_header::read(header, &self.options.root, self.options.max_size) {
            Ok(found) => found,
            Err(rejection) => return self.refuse(cx, &rejection),
        };
        (self.name, self.size) = (name.to_owned(), size);
        self.stage = Stage::Opening;
        cx.pause();
        let (options, name) = (Arc::clone(&self.options), name.to_owned());
        let open = move |()| open(&options, &name, size);
        match jobs::run_for(cx, (), open, Self::opened::<S>) {
            Ok(()) => Ok(()),
            Err(()) => self.refuse(cx, &Rejection::new(Status::SERVICE_UNAVAILABLE, "the server is overloaded")),
        }
    }

    /// There is a place for the file, or there cannot be.
    fn opened<S: 'static>(
        &mut self,
        cx: &mut Context<'_, S>,
        opened: std::result::Result<Incoming, Rejection>,
    ) -> Result {
        let incoming = match opened {
            Ok(incoming) => incoming,
            Err(rejection) => return self.refuse(cx, &rejection),
        };
        cx.send(OK)?;
        let length = Some(self.size);
        let reception = Reception::new(Upload(incoming), &self.options.memory, length, cx.now());
        self.stage = Stage::Content(Box::new(reception));
        self.watch(cx, self.options.body_timeout)?;
        cx.resume();
        // There may be none to wait for.
        reception::pump(self, cx)
    }

    /// Takes content.
    fn take<S: 'static>(&mut self, cx: &mut Context<'_, S>, input: &mut Input<'_>) -> Result {
        reception::receive(self, cx, input)?;
        if matches!(&self.stage, Stage::Content(reception) if !reception.is_busy()) {
            cx.quickack();
        }
        Ok(())
    }

    /// Sees to it that somebody looks whether anything has come within `timeout`.
    fn watch<S>(&mut self, cx: &mut Context<'_, S>, timeout: Duration) -> Result {
        if let Some(timer) = self.timer.take() {
            cx.cancel_timer(timer);
        }
        self.timer = Some(cx.set_timer(timeout)?);
        Ok(())
    }

    /// Closes the connection without "ok", and tells the logs why.
    fn refuse<S>(&mut self, cx: &mut Context<'_, S>, rejection: &Rejection) -> Result {
        self.tell(Some(rejection.status), &format_args!("refused: {rejection}"));
        cx.close();
        Ok(())
    }

    /// Tells the logs how it failed, if they were not told before. Without a status it is the client who has ended it.
    fn tell(&mut self, status: Option<Status>, what: &dyn fmt::Display) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        self.options.shared.struct_uploads.failed.fetch_add(1, Ordering::Relaxed);
        match &*self.name {
            "" => tracing::warn!("struct upload from {}: {what}", self.peer),
            name => tracing::warn!("struct upload of {name:?} from {}: {what}", self.peer),
        }
        self.log(status, Some(&what.to_string()));
    }

    /// Writes its line of the access log, which is like that of a PUT.
    fn log(&self, status: Option<Status>, error: Option<&str>) {
        let Some(log) = self.options.shared.access_log() else { return };
        let (target, took) = match &self.asked {
            Some((target, begun)) => (&**target, begun.elapsed()),
            None => ("-", Duration::ZERO),
        };
        let line = log.line(&Record {
            time: access_log::time_before(took),
            client: &access_log::client_name(&self.peer),
            protocol: "struct",
            method: self.asked.as_ref().map(|_| "PUT"),
            target: target.as_bytes(),
            version: "STRUCT/1",
            status: status.map_or(access_log::UNANSWERED, Status::code),
            error,
            ..Record::default()
        });
        log.add(&line, End { bytes: self.come(), took, complete: status.is_some() });
    }

    /// How much of the content has come.
    fn come(&self) -> u64 {
        match &self.stage {
            Stage::Content(reception) => reception.come(),
            Stage::Header | Stage::Opening | Stage::Stored => 0,
        }
    }

    /// How far it has come.
    fn extent(&self) -> String {
        match &self.stage {
            Stage::Content(_) => format!("after {} of {} bytes", self.come(), self.size),
            Stage::Header | Stage::Opening | Stage::Stored => "before its content".to_owned(),
        }
    }
}

impl<S: 'static> Handler<S> for StructUpload {
    fn on_open(&mut self, cx: &mut Context<'_, S>) -> Result {
        self.watch(cx, self.options.header_timeout)
    }

    fn on_data(&mut self, cx: &mut Context<'_, S>, input: &mut Input<'_>) -> Result {
        match &self.stage {
            Stage::Header => match input.take_exact(HEADER).and_then(|header| header.try_into().ok()) {
                Some(header) => self.begin(cx, header),
                None => {
                    cx.quickack();
                    Ok(())
                }
            },
            Stage::Content(reception) if !reception.is_whole() => self.take(cx, input),
            // Reading is paused, or this is what comes behind the content.
            Stage::Opening | Stage::Content(_) | Stage::Stored => Ok(()),
        }
    }

    fn on_eof(&mut self, cx: &mut Context<'_, S>) -> Result {
        let partial = cx.take_unread().len();
        match &self.stage {
            // Somebody looked whether there is a server.
            Stage::Header if partial == 0 => {}
            Stage::Header => self.tell(None, &format_args!("ended after {partial} of {HEADER} bytes of the header")),
            Stage::Content(reception) if reception.is_whole() => return Ok(()),
            Stage::Opening | Stage::Content(_) => self.tell(None, &format_args!("ended {}", self.extent())),
            Stage::Stored => {}
        }
        cx.close_after_flush()
    }

    fn on_timer(&mut self, cx: &mut Context<'_, S>, _: TimerId) -> Result {
        let timeout = self.options.body_timeout;
        let silent = match &self.stage {
            Stage::Header => {
                let late = Rejection::new(Status::REQUEST_TIMEOUT, "the header did not come in time");
                return self.refuse(cx, &late);
            }
            Stage::Opening | Stage::Stored => return Ok(()),
            // It is us who are slow.
            Stage::Content(reception) if reception.is_busy() => return self.watch(cx, timeout),
            Stage::Content(reception) => cx.now().saturating_duration_since(reception.progress()),
        };
        if silent < timeout {
            self.timer = Some(cx.set_timer(timeout - silent)?);
            return Ok(());
        }
        let what = format!("given up {}: nothing came for {timeout:?}", self.extent());
        self.tell(Some(Status::REQUEST_TIMEOUT), &what);
        cx.close();
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, S>, _: Instant) -> Result {
        match self.stage {
            Stage::Header => cx.finish(),
            // It may go on until the deadline.
            Stage::Opening | Stage::Content(_) | Stage::Stored => Ok(()),
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_, S>, reason: &CloseReason) {
        if matches!(self.stage, Stage::Opening | Stage::Content(_)) {
            self.tell(None, &format_args!("ended {}: {reason}", self.extent()));
        }
        if let Stage::Content(reception) = std::mem::replace(&mut self.stage, Stage::Stored) {
            jobs::discard(cx, reception);
        }
    }
}

impl<S: 'static> Receiver<S> for StructUpload {
    type Sink = Upload;

    fn reception(&mut self) -> Option<&mut Reception<Upload>> {
        match &mut self.stage {
            Stage::Content(reception) => Some(reception),
            Stage::Header | Stage::Opening | Stage::Stored => None,
        }
    }

    fn received(&mut self, cx: &mut Context<'_, S>, outcome: io::Result<Stored>) -> Result {
        let status = match outcome {
            Ok(Stored::Replaced(_)) => Status::NO_CONTENT,
            Ok(_) => Status::CREATED,
            Err(error) => {
                let status = status_of_error(&error, Path::new(&self.name));
                return self.refuse(cx, &Rejection::new(status, format!("it cannot be stored: {error}")));
            }
        };
        self.options.shared.struct_uploads.stored.fetch_add(1, Ordering::Relaxed);
        tracing::info!("stored {:?}, {} bytes from {}", self.name, self.size, self.peer);
        self.log(Some(status), None);
        self.stage = Stage::Stored;
        cx.send(OK)?;
        cx.close_after_flush()
    }
}

/// Makes a place for the file; it blocks.
fn open(options: &StructOptions, name: &str, size: u64) -> std::result::Result<Incoming, Rejection> {
    let path = Path::new(name);
    let failed = |error: io::Error| Rejection::new(status_of_error(&error, path), error.to_string());
    let (directory, name) = options.root.parent(path).map_err(|refusal| match refusal {
        Refusal::Failed(error) => failed(error),
        Refusal::Missing => Rejection::new(Status::CONFLICT, "the directory is gone"),
        Refusal::Forbidden => failed(io::ErrorKind::PermissionDenied.into()),
        Refusal::Busy => Rejection::new(Status::SERVICE_UNAVAILABLE, "no descriptor or memory is left"),
    })?;
    options.storage.begin(directory, name.as_ref(), Some(size)).map_err(failed)
}

/// A file of the protocol on its way to the disk.
#[derive(Debug)]
pub struct Upload(Incoming);

impl Sink for Upload {
    type Outcome = Stored;

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    fn file(&mut self) -> Option<&mut Incoming> {
        Some(&mut self.0)
    }

    fn finish(self) -> io::Result<Stored> {
        self.0.store(|_| true)
    }
}

const OK: &[u8] = b"ok";
