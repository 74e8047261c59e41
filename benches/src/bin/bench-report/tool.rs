//! The tools of others that are used where they are installed.

use std::process::{Command, Stdio};

/// Whether a tool runs here.
pub(crate) fn is_here(name: &str) -> bool {
    let run = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}
