//! The limit of file sizes that a process may be given: `RLIMIT_FSIZE` in getrlimit(2), `ulimit -f` in a shell.

use std::io;
use std::sync::Arc;

use signal_hook::consts::SIGXFSZ;

/// Has a write beyond the limit fail, as other writes do (`EFBIG`). Without this SIGXFSZ would end the process: a log that has
/// become long, or an upload, would stop the service.
///
/// # Errors
/// The signal cannot be caught.
pub fn survive_limit() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}
