//! Which processor a thread runs on: server and load have one each, so that runs can be compared.

use std::io;
use std::sync::OnceLock;
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps the calling thread on the processor of the load, and the threads that it starts.
///
/// # Errors
/// The kernel refuses, or does not tell which processors there are.
pub fn pin_load() -> io::Result<()> {
    pin_to_nth(0)
}

/// Keeps the calling thread on the processor of the server, and the threads that it starts.
///
/// # Errors
/// As [`pin_load`].
pub fn pin_server() -> io::Result<()> {
    pin_to_nth(1)
}

/// Starts a thread on the processor of the server. A server that fails takes its bench down with a panic.
pub(crate) fn spawn_server(name: &str, serve: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let pinned = move || pin_server().and_then(|()| serve()).expect("a server runs as long as it is wanted");
    thread::Builder::new().name(name.to_owned()).spawn(pinned).map(drop)
}

/// How many processors the process could use when it started.
///
/// # Errors
/// The kernel does not tell.
pub fn count() -> io::Result<usize> {
    Ok(allowed()?.len())
}

/// With fewer processors than asked for they are shared.
fn pin_to_nth(nth: usize) -> io::Result<()> {
    let allowed = allowed()?;
    let mut set = CpuSet::new();
    set.set(allowed[nth % allowed.len()]);
    Ok(sched_setaffinity(None, &set)?)
}

/// The processors that the process may use. Looked up once: threads inherit the pin of the one that starts them.
fn allowed() -> io::Result<&'static [usize]> {
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    if let Some(allowed) = ALLOWED.get() {
        return Ok(allowed);
    }
    let set = sched_getaffinity(None)?;
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect();
    if allowed.is_empty() {
        return Err(io::Error::other("no processor is allowed"));
    }
    Ok(ALLOWED.get_or_init(|| allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_can_be_pinned_elsewhere() {
        let here = || {
            let set = sched_getaffinity(None).unwrap();
            (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect::<Vec<_>>()
        };
        let count = count().unwrap();
        thread::spawn(move || {
            pin_load().unwrap();
            let load = here();
            pin_server().unwrap();
            let server = here();
            assert_eq!((load.len(), server.len()), (1, 1));
            assert_eq!(load != server, count > 1);
        })
        .join()
        .unwrap();
    }
}
