//! A file sent by the struct protocol: a header, "ok", the content, "ok".

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reactor::{CloseReason, Context, Handler, Input, Result, TimerId};

use crate::failure::Failure;
use crate::session::{Outcome, Session, failure_of};
use crate::task::{self, Task, What};

/// One file on its way.
pub(crate) struct StructPut {
    /// `None` when it is over.
    task: Option<Task>,
    header: Vec<u8>,
    file: Option<Arc<File>>,
    size: u64,
    begun: Instant,
    /// Bytes that were told to the bar.
    shown: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    /// The header is sent: will it be taken?
    Asking,
    /// The content is sent: is it stored?
    Sending,
}

impl StructPut {
    pub(crate) fn new(task: Task) -> std::result::Result<Self, Failure> {
        let What::PutStruct { file, name, .. } = &task.what else { return Err(Failure::lasting("it is no such task")) };
        let (file, size) = task::open(file)?;
        let wire_size = i32::try_from(size).map_err(|_| Failure::lasting("it has 2 GiB or more"))?;
        let mut header = vec![0; NAME];
        let place = header.get_mut(..name.len()).filter(|place| place.len() < NAME);
        place.ok_or_else(|| Failure::lasting("its name has more than 255 bytes"))?.copy_from_slice(name.as_bytes());
        header.extend(wire_size.to_le_bytes());
        let (file, begun, stage) = (Some(Arc::new(file)), Instant::now(), Stage::Connecting);
        Ok(Self { task: Some(task), header, file, size, begun, shown: 0, stage })
    }

    fn show_sent(&mut self, cx: &mut Context<'_, Session>) {
        let left = self.size.saturating_sub(cx.queued() as u64);
        if self.stage == Stage::Sending && left > self.shown {
            cx.state().progress.moved(left - self.shown);
            self.shown = left;
        }
    }

    /// Tells what has come of it, once.
    fn end(&mut self, cx: &mut Context<'_, Session>, outcome: std::result::Result<Outcome, Failure>) {
        let Some(task) = self.task.take() else { return };
        if outcome.is_err() {
            cx.state().progress.take_back(0, self.shown);
        }
        cx.close();
        let took = self.begun.elapsed();
        Session::end(cx, task, outcome.map(|outcome| (outcome, took)));
    }

    fn fail(&mut self, cx: &mut Context<'_, Session>, reason: &CloseReason) {
        let failure = match (self.stage, reason) {
            // The protocol has no word for a refusal.
            (Stage::Asking, CloseReason::Eof) => Failure::lasting("the server refuses it, and its log says why"),
            (Stage::Sending, CloseReason::Eof) => {
                Failure::passing("the server has not stored it, and its log says why")
            }
            (_, reason) => failure_of(reason),
        };
        self.end(cx, Err(failure));
    }
}

impl Handler<Session> for StructPut {
    fn on_open(&mut self, cx: &mut Context<'_, Session>) -> Result {
        self.stage = Stage::Asking;
        cx.set_timer(SHOWN_EVERY)?;
        cx.send(&self.header)
    }

    fn on_data(&mut self, cx: &mut Context<'_, Session>, input: &mut Input<'_>) -> Result {
        while let Some(answer) = input.take_exact(OK.len()) {
            if answer != OK {
                self.end(cx, Err(Failure::lasting("the server does not speak the struct protocol")));
                return Ok(());
            }
            match self.file.take() {
                Some(file) => {
                    self.stage = Stage::Sending;
                    if self.size > 0 {
                        cx.send_file(file, 0..self.size)?;
                    }
                }
                None => {
                    self.show_sent(cx);
                    self.end(cx, Ok(Outcome::Moved(self.size)));
                }
            }
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_, Session>) -> Result {
        self.fail(cx, &CloseReason::Eof);
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_, Session>, _: TimerId) -> Result {
        self.show_sent(cx);
        cx.set_timer(SHOWN_EVERY).map(drop)
    }

    fn on_close(&mut self, cx: &mut Context<'_, Session>, reason: &CloseReason) {
        self.fail(cx, reason);
    }
}

const OK: &[u8] = b"ok";

/// Bytes of the name in the header.
const NAME: usize = 256;

/// How often the bar is told what has left.
const SHOWN_EVERY: Duration = Duration::from_millis(100);
