//! The limit of open files, which many connections meet first.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of this process as far as it may, and answers how many files it may have open.
pub fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// How many of `wanted` connections this process can hold when both ends are in it.
pub fn connections_in_process(wanted: usize) -> usize {
    wanted.min(raise().saturating_sub(SPARE) / 2)
}

/// Descriptors for all else: epoll instances, listeners, files.
const SPARE: usize = 200;
