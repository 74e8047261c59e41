//! A log of callbacks, written on the loop's thread and read by the test.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use reactor::{CloseReason, ConnId, Context, Handler, Input, Result, TimerId};

use super::DEADLINE;

/// A callback as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Open,
    /// The bytes that were shown, those left before included.
    Data(Vec<u8>),
    Eof,
    Drained,
    Timer(TimerId),
    Shutdown,
    /// The reason's name, its text, and the errno if it has one.
    Close {
        reason: &'static str,
        text: String,
        errno: Option<i32>,
    },
    /// What the test itself wrote.
    Note(String),
}

impl Event {
    fn of_close(reason: &CloseReason) -> Self {
        let errno = match reason {
            CloseReason::Error(error) | CloseReason::ConnectFailed(error) => error.raw_os_error(),
            _ => None,
        };
        Self::Close { reason: reason.name(), text: reason.to_string(), errno }
    }

    /// The name of the reason, if this is a close.
    pub(crate) fn close_reason(&self) -> Option<&'static str> {
        match self {
            Self::Close { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

/// A callback and whose it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: ConnId,
    pub(crate) event: Event,
}

/// The end of the log that handlers write to.
#[derive(Clone, Debug)]
pub(crate) struct Log(Sender<Record>);

impl Log {
    pub(crate) fn write(&self, id: ConnId, event: Event) {
        // The test may have seen enough.
        let _ = self.0.send(Record { id, event });
    }

    pub(crate) fn note(&self, id: ConnId, text: impl Into<String>) {
        self.write(id, Event::Note(text.into()));
    }
}

/// The end of the log that the test reads.
#[derive(Debug)]
pub(crate) struct Events {
    records: Receiver<Record>,
}

impl Events {
    pub(crate) fn new() -> (Log, Self) {
        let (sender, records) = mpsc::channel();
        (Log(sender), Self { records })
    }

    /// The next record.
    #[track_caller]
    pub(crate) fn next(&self) -> Record {
        self.records.recv_timeout(DEADLINE).expect("a callback comes within the deadline")
    }

    /// The next record is this; answers whose it was.
    #[track_caller]
    pub(crate) fn expect(&self, expected: &Event) -> ConnId {
        let record = self.next();
        assert_eq!(record.event, *expected);
        record.id
    }

    /// The next record is a close for this reason.
    #[track_caller]
    pub(crate) fn expect_close(&self, reason: &str) -> Record {
        let record = self.next();
        assert_eq!(record.event.close_reason(), Some(reason), "{record:?}");
        record
    }

    /// Skips to the first record that is wanted.
    #[track_caller]
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> Record {
        let deadline = Instant::now() + DEADLINE;
        let mut skipped = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.records.recv_timeout(left) {
                Ok(record) if wanted(&record.event) => return record,
                Ok(record) => skipped.push(record),
                Err(error) => panic!("{error}; before it came {skipped:?}"),
            }
        }
    }

    /// Skips to the next close, which is for this reason.
    #[track_caller]
    pub(crate) fn wait_for_close(&self, reason: &str) -> Record {
        let record = self.wait_for(|event| event.close_reason().is_some());
        assert_eq!(record.event.close_reason(), Some(reason), "{record:?}");
        record
    }

    /// What has been written by now.
    pub(crate) fn so_far(&self) -> Vec<Record> {
        self.records.try_iter().collect()
    }
}

/// A handler whose callbacks are logged before they run.
pub(crate) struct Logged<H> {
    pub(crate) log: Log,
    pub(crate) inner: H,
}

impl<H> Logged<H> {
    pub(crate) fn new(log: &Log, inner: H) -> Self {
        Self { log: log.clone(), inner }
    }
}

impl<S: 'static, H: Handler<S>> Handler<S> for Logged<H> {
    fn on_open(&mut self, cx: &mut Context<'_, S>) -> Result {
        self.log.write(cx.id(), Event::Open);
        self.inner.on_open(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_, S>, input: &mut Input<'_>) -> Result {
        self.log.write(cx.id(), Event::Data(input.as_slice().to_vec()));
        self.inner.on_data(cx, input)
    }

    fn on_eof(&mut self, cx: &mut Context<'_, S>) -> Result {
        self.log.write(cx.id(), Event::Eof);
        self.inner.on_eof(cx)
    }

    fn on_drained(&mut self, cx: &mut Context<'_, S>) -> Result {
        self.log.write(cx.id(), Event::Drained);
        self.inner.on_drained(cx)
    }

    fn on_timer(&mut self, cx: &mut Context<'_, S>, timer: TimerId) -> Result {
        self.log.write(cx.id(), Event::Timer(timer));
        self.inner.on_timer(cx, timer)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, S>, deadline: Instant) -> Result {
        self.log.write(cx.id(), Event::Shutdown);
        self.inner.on_shutdown(cx, deadline)
    }

    fn on_close(&mut self, cx: &mut Context<'_, S>, reason: &CloseReason) {
        self.log.write(cx.id(), Event::of_close(reason));
        self.inner.on_close(cx, reason);
    }
}
