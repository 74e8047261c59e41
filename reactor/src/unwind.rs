//! Panics of the application, which stop where they happen.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs what the application gave; a panic is an error that says what the panic said.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(panic_message)
}

/// Drops what the application made: its `Drop` may panic, and the loop goes on.
pub(crate) fn drop_safely<T>(value: T) {
    if let Err(message) = catch(|| drop(value)) {
        log::error!("dropping a value of the application panicked: {message}");
    }
}

/// What a panic said. Its payload is dropped with care, for that may panic in turn.
pub(crate) fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    let message = text.unwrap_or("(no message)").to_owned();
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // One that panics as it is dropped is better leaked than tried again.
        let _ = ManuallyDrop::new(another);
    }
    message
}
