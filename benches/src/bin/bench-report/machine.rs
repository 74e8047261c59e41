//! What a run was made on, and when.

use std::fs;
use std::time::{Duration, SystemTime};

use benches::cores;

use crate::counters::{self, Counted};
use crate::{callgrind, strace};

/// The machine, as far as it matters to figures.
pub(crate) struct Machine {
    /// A line each: name and value.
    pub(crate) facts: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn here(congestion: String) -> anyhow::Result<Self> {
        let facts = vec![
            ("date", humantime::format_rfc3339_seconds(SystemTime::now() - Duration::ZERO).to_string()),
            ("command", command()),
            (
                "processor",
                format!("{}, {} usable", processor().unwrap_or_else(|| "unknown".to_owned()), cores::count()?),
            ),
            ("kernel", first_line("/proc/sys/kernel/osrelease")),
            ("TCP congestion control", congestion),
            ("load average before", first_line("/proc/loadavg")),
            ("instructions by", instructions()),
            ("system calls by", system_calls()),
            ("build", if cfg!(debug_assertions) { "debug: no figure means anything" } else { "release" }.to_owned()),
        ];
        Ok(Self { facts })
    }
}

/// The command as it was typed, without the directory that the program lies in.
fn command() -> String {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn instructions() -> String {
    match counters::why_not(Counted::UserInstructions) {
        None => "the processor's counters".to_owned(),
        Some(why) if callgrind::is_here() => format!("callgrind, user code only (no hardware counters: {why})"),
        Some(why) => format!("NOTHING (no hardware counters: {why}; valgrind is not installed)"),
    }
}

fn system_calls() -> String {
    match counters::why_not(Counted::SystemCalls) {
        None => "the kernel's tracepoint".to_owned(),
        Some(why) if strace::Strace::is_here() => format!("strace (no tracepoint: {why})"),
        Some(why) => format!("NOTHING (no tracepoint: {why}; strace is not installed)"),
    }
}
