//! Counts system calls with strace(1), where the kernel's own counter is not to be had. The server is slow meanwhile.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::counters::WAITS;
use crate::tool;

/// strace, while it is attached.
pub(crate) struct Strace {
    child: Child,
    summary: PathBuf,
}

impl Strace {
    /// Whether it is installed.
    pub(crate) fn is_here() -> bool {
        tool::is_here("strace")
    }

    /// Attaches to a process and its threads.
    pub(crate) fn begin(pid: u32, summary: PathBuf) -> anyhow::Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-qq", "-o"]).arg(&summary).args(["-p", &pid.to_string()]);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot run strace")?;
        let mut strace = Self { child, summary };
        let deadline = Instant::now() + PATIENCE;
        while !is_traced(pid)? {
            if let Some(status) = strace.child.try_wait()? {
                bail!("strace ended with {status}");
            }
            ensure!(Instant::now() < deadline, "strace does not attach");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(strace)
    }

    /// Detaches, and answers how many calls there were, and how many of them were waits.
    pub(crate) fn end(mut self) -> anyhow::Result<(u64, u64)> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::INT)?;
        }
        self.child.wait()?;
        let summary = fs::read_to_string(&self.summary)?;
        let total = calls_in(&summary, "total").context("strace's summary has no total")?;
        Ok((total, WAITS.iter().filter_map(|name| calls_in(&summary, name)).sum()))
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // It is gone already unless something failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_traced(pid: u32) -> anyhow::Result<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0")))
}

/// The calls of a line: share, seconds, microseconds a call, calls, errors (if any), name. The last one is named `total`.
fn calls_in(summary: &str, name: &str) -> Option<u64> {
    let line = summary.lines().rev().find(|line| line.split_ascii_whitespace().next_back() == Some(name))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found_with_and_without_errors() {
        assert_eq!(calls_in("100.00    0.001072           7       145        16 total\n", "total"), Some(145));
        assert_eq!(calls_in("100.00    0.001072           7       145           total", "total"), Some(145));
        assert_eq!(calls_in("strace: nothing", "total"), None);
    }

    #[test]
    fn one_call_is_told_from_another_of_a_longer_name() {
        let summary = "60.0 0.1 7 20 epoll_pwait\n40.0 0.1 7 30 2 epoll_wait\n100.0 0.2 7 50 2 total\n";
        assert_eq!(calls_in(summary, "epoll_wait"), Some(30));
        assert_eq!(calls_in(summary, "poll"), None);
    }
}
