//! Work that blocks, done for a connection: its handler is shown the outcome, and what nobody wants any more is dropped where
//! that may block too.

use std::sync::{Arc, Mutex, PoisonError};

use reactor::{ConnId, Context, Handler, JobPanic, LoopContext, Result};

/// Runs a job with `input` on the worker pool and then `done` with the connection's handler. An error of `done`, and a panic
/// of the job, close the connection.
///
/// If the connection has ended meanwhile, or has another handler, the outcome is dropped on the worker pool: closing a file
/// that is not wanted any more takes as long as its removal.
///
/// # Errors
/// The pool is full: the input comes back, and nothing will be done.
pub fn run_for<S: 'static, H: Handler<S>, I: Send + 'static, T: Send + 'static>(
    cx: &mut Context<'_, S>,
    input: I,
    job: impl FnOnce(I) -> T + Send + 'static,
    done: impl FnOnce(&mut H, &mut Context<'_, S>, T) -> Result + 'static,
) -> std::result::Result<(), I> {
    let id = cx.id();
    let ours = Arc::new(Mutex::new(Some(input)));
    let theirs = Arc::clone(&ours);
    let job = move || take(&theirs).map(job);
    // A job of the loop, and not of the connection, for its outcome is looked at when the connection is gone too.
    let on_loop: &mut LoopContext<'_, S> = cx;
    match on_loop.spawn_blocking(job, move |cx, outcome| show(cx, id, outcome, done)) {
        Ok(()) => Ok(()),
        Err(_) => take(&ours).map_or(Ok(()), Err),
    }
}

/// Drops a value on the worker pool, or here if that is full.
pub fn discard<S: 'static, T: Send + 'static>(cx: &mut LoopContext<'_, S>, value: T) {
    // A job that is refused is dropped, and the value with it.
    let _ = cx.spawn_blocking(move || drop(value), |_, _| ());
}

fn take<I>(place: &Mutex<Option<I>>) -> Option<I> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn show<S: 'static, H: Handler<S>, T: Send + 'static>(
    cx: &mut LoopContext<'_, S>,
    id: ConnId,
    outcome: std::result::Result<Option<T>, JobPanic>,
    done: impl FnOnce(&mut H, &mut Context<'_, S>, T) -> Result,
) {
    let mut outcome = Some(outcome);
    let shown = cx.with(id, |handler: &mut H, cx| match outcome.take() {
        Some(Ok(Some(value))) => done(handler, cx, value),
        Some(Err(panic)) => Err(panic.into()),
        Some(Ok(None)) | None => Ok(()),
    });
    match shown {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            tracing::debug!("connection {id}: {error}");
            if let Some(mut peer) = cx.peer(id) {
                peer.close();
            }
        }
        None => discard(cx, outcome),
    }
}
