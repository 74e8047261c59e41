//! A server that cannot tell when it is ready, for its stderr is elsewhere, or nowhere.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::process::{DEADLINE, eventually, wait_for};

/// A server that listens at a path: unlike a port, that is ours before it serves. Dropping it kills it.
#[derive(Debug)]
pub struct Silent {
    /// The process.
    pub child: Child,
    directory: TempDir,
}

impl Silent {
    /// Starts a command, which is told to listen at a path in this directory.
    pub fn start(directory: TempDir, command: &mut Command) -> Self {
        let listen = format!("unix:{}", socket_in(&directory).display());
        let child = command.args(["--listen", &listen]).spawn().unwrap();
        Self { child, directory }
    }

    /// Waits until the server is up.
    #[track_caller]
    pub fn connect(&self) -> UnixStream {
        let mut stream = None;
        eventually("the server is up", || {
            stream = UnixStream::connect(socket_in(&self.directory)).ok();
            stream.is_some()
        });
        let stream = stream.unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Drains by SIGTERM and answers the exit code.
    #[track_caller]
    pub fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        wait_for(&mut self.child).code()
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket_in(directory: &TempDir) -> PathBuf {
    directory.path().join("socket")
}

/// A program, but for its arguments, that a shell starts with other descriptors, such as `2>&-`.
#[must_use]
pub fn redirected(program: &str, redirections: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!(r#"exec "$0" "$@" {redirections}"#), program]);
    command
}
