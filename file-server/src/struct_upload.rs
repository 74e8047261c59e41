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

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reactor::{CloseReason, Context, Handler, Input, Result, SocketAddress, TimerId};

use crate::jobs;
use crate::memory::Memory;
use crate::reception::{self, Receiver, Reception, Sink};
use crate::root::{Refusal, Root};
use crate::storage::{Incoming, Storage, Stored};

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
    /// What came of those that ended.
    pub counts: Arc<UploadCounts>,
}

/// How many uploads ended how. The threads that count share it, for an upload costs far more than that.
#[derive(Debug, Default)]
pub struct UploadCounts {
    /// The file is stored.
    pub stored: AtomicU64,
    /// It was refused, or broke off.
    pub failed: AtomicU64,
}

/// One connection of the protocol, which is one file.
#[derive(Debug)]
pub struct StructUpload {
    options: Arc<StructOptions>,
    peer: SocketAddress,
    name: String,
    size: u64,
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
        Self { options, peer, name, size: 0, stage, timer: None, told: false }
    }

    /// Looks at the header and has a place made for the file. What has come of the content waits meanwhile.
    fn begin<S: 'static>(&mut self, cx: &mut Context<'_, S>, header: &[u8; HEADER]) -> Result {
        let (name, size) = match read_header(header, &self.options) {
            Ok(found) => found,
            Err(flaw) => return self.refuse(cx, flaw),
        };
        (self.name, self.size) = (name.to_owned(), size);
        self.stage = Stage::Opening;
        cx.pause();
        let (options, name) = (Arc::clone(&self.options), name.to_owned());
        let open = move |()| open(&options, &name, size);
        match jobs::run_for(cx, (), open, Self::opened::<S>) {
            Ok(()) => Ok(()),
            Err(()) => self.refuse(cx, "the server is overloaded"),
        }
    }

    /// There is a place for the file, or there cannot be.
    fn opened<S: 'static>(&mut self, cx: &mut Context<'_, S>, opened: io::Result<Incoming>) -> Result {
        let incoming = match opened {
            Ok(incoming) => incoming,
            Err(error) => return self.refuse(cx, error),
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

    /// Closes the connection without "ok", and tells the log why.
    fn refuse<S>(&mut self, cx: &mut Context<'_, S>, why: impl fmt::Display) -> Result {
        self.tell(&format_args!("refused: {why}"));
        cx.close();
        Ok(())
    }

    /// Tells the log how it ended, if it was not told before.
    fn tell(&mut self, what: &dyn fmt::Display) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        self.options.counts.failed.fetch_add(1, Ordering::Relaxed);
        match &*self.name {
            "" => tracing::warn!("struct upload from {}: {what}", self.peer),
            name => tracing::warn!("struct upload of {name:?} from {}: {what}", self.peer),
        }
    }

    /// How far it has come.
    fn extent(&self) -> String {
        match &self.stage {
            Stage::Content(reception) => format!("after {} of {} bytes", reception.come(), self.size),
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
            Stage::Header => self.tell(&format_args!("ended after {partial} of {HEADER} bytes of the header")),
            Stage::Content(reception) if reception.is_whole() => return Ok(()),
            Stage::Opening | Stage::Content(_) => self.tell(&format_args!("ended {}", self.extent())),
            Stage::Stored => {}
        }
        cx.close_after_flush()
    }

    fn on_timer(&mut self, cx: &mut Context<'_, S>, _: TimerId) -> Result {
        let timeout = self.options.body_timeout;
        let silent = match &self.stage {
            Stage::Header => return self.refuse(cx, "the header did not come in time"),
            Stage::Opening | Stage::Stored => return Ok(()),
            // It is us who are slow.
            Stage::Content(reception) if reception.is_busy() => return self.watch(cx, timeout),
            Stage::Content(reception) => cx.now().saturating_duration_since(reception.progress()),
        };
        if silent < timeout {
            self.timer = Some(cx.set_timer(timeout - silent)?);
            return Ok(());
        }
        self.tell(&format_args!("given up {}: nothing came for {timeout:?}", self.extent()));
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
        let stage = std::mem::replace(&mut self.stage, Stage::Stored);
        match stage {
            Stage::Header | Stage::Stored => {}
            Stage::Opening => self.tell(&format_args!("ended before its content: {reason}")),
            Stage::Content(reception) => {
                let (come, size) = (reception.come(), self.size);
                self.tell(&format_args!("ended after {come} of {size} bytes: {reason}"));
                jobs::discard(cx, reception);
            }
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
        if let Err(error) = outcome {
            return self.refuse(cx, format_args!("it cannot be stored: {error}"));
        }
        self.options.counts.stored.fetch_add(1, Ordering::Relaxed);
        tracing::info!("stored {:?}, {} bytes from {}", self.name, self.size, self.peer);
        self.stage = Stage::Stored;
        cx.send(OK)?;
        cx.close_after_flush()
    }
}

/// Takes the name and the size out of a header.
fn read_header<'a>(header: &'a [u8; HEADER], options: &StructOptions) -> std::result::Result<(&'a str, u64), String> {
    let (name, size) = header.split_at(NAME);
    let name = name.iter().position(|byte| *byte == 0).map(|end| &name[..end]).ok_or("the name has no end")?;
    let name = std::str::from_utf8(name)
        .map_err(|_| format!("the name {:?} is not UTF-8", name.escape_ascii().to_string()))?;
    if matches!(name, "" | "." | "..") || name.contains('/') {
        return Err(format!("{name:?} is not the name of a file"));
    }
    if !options.root.shows(OsStr::new(name), 0) {
        return Err(format!("{name:?} is hidden"));
    }
    let size = i32::from_le_bytes(size.try_into().map_err(|_| "the header is too short")?);
    let size = u64::try_from(size).map_err(|_| format!("{name:?} has a size of {size}"))?;
    if size > options.max_size {
        return Err(format!("{name:?} has {size} bytes, and {} are allowed", options.max_size));
    }
    Ok((name, size))
}

/// Makes a place for the file; it blocks.
fn open(options: &StructOptions, name: &str, size: u64) -> io::Result<Incoming> {
    let (directory, name) = options.root.parent(Path::new(name)).map_err(|refusal| match refusal {
        Refusal::Failed(error) => error,
        Refusal::Missing => io::Error::other("the directory is gone"),
        Refusal::Forbidden => io::ErrorKind::PermissionDenied.into(),
        Refusal::Busy => io::Error::other("no descriptor or memory is left"),
    })?;
    options.storage.begin(directory, name.as_ref(), Some(size))
}

/// A file of the protocol on its way to the disk.
#[derive(Debug)]
pub struct Upload(Incoming);

impl Sink for Upload {
    type Outcome = Stored;

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    fn finish(self) -> io::Result<Stored> {
        self.0.store(|_| true)
    }
}

/// Bytes of the name, and of the header.
const NAME: usize = 256;
const HEADER: usize = NAME + 4;

const OK: &[u8] = b"ok";
