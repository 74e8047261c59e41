//! Enough file descriptors for the connections.

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files as far as this process may, if the plan needs it.
///
/// # Errors
/// The system allows fewer than are needed; the message says how many.
pub(crate) fn provide(connections: usize, threads: usize) -> anyhow::Result<()> {
    let needed = connections as u64 + threads as u64 * PER_THREAD + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = maximum.filter(|maximum| *maximum < needed) {
        bail!(
            "{connections} connections need {needed} open files, and the system allows {maximum} (see `ulimit -Hn`); \
             use fewer --connections or raise the limit"
        );
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }) {
        bail!("cannot raise the limit of open files to {needed}: {error}");
    }
    Ok(())
}

/// A loop's epoll instance, its waker, and room for a socket that is closing while its successor opens.
const PER_THREAD: u64 = 8;

/// Standard streams, the main thread's loop, its signals, and what was inherited.
const OTHERS: u64 = 32;
