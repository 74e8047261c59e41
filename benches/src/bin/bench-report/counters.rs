//! Counters that the kernel keeps on request, through perf_event_open(2): instructions and system calls.

use std::fs;
use std::io;

use perf_event::events::{Event, Hardware, Tracepoint};
use perf_event::{Builder, Counter};

/// Something to count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    UserInstructions,
    KernelInstructions,
    SystemCalls,
}

/// A count over all threads of a process: those there are, and those they start.
pub(crate) struct Count {
    threads: Vec<Counter>,
}

impl Count {
    /// Begins to count.
    pub(crate) fn begin(counted: Counted, pid: u32) -> io::Result<Self> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let name = entry?.file_name();
            let thread = name.to_string_lossy().parse().map_err(io::Error::other)?;
            threads.push(match counted {
                Counted::UserInstructions => attach(Hardware::INSTRUCTIONS, thread, true, false),
                Counted::KernelInstructions => attach(Hardware::INSTRUCTIONS, thread, false, true),
                Counted::SystemCalls => attach(every_call()?, thread, true, true),
            }?);
        }
        Ok(Self { threads })
    }

    /// What was counted since the beginning.
    pub(crate) fn read(&mut self) -> io::Result<u64> {
        self.threads.iter_mut().map(Counter::read).sum()
    }
}

/// Why this machine cannot count it; `None`: it can.
pub(crate) fn why_not(counted: Counted) -> Option<String> {
    let counted_here = || {
        let mut count = Count::begin(counted, std::process::id())?;
        fs::read_to_string("/proc/self/stat")?;
        // A virtual processor may let a counter be made that then stands still.
        if count.read()? == 0 { Err(io::Error::other("the counter stands still")) } else { Ok(()) }
    };
    counted_here().err().map(|error| error.to_string())
}

fn attach(event: impl Event, thread: i32, user: bool, kernel: bool) -> io::Result<Counter> {
    let mut builder = Builder::new(event);
    builder.observe_pid(thread).any_cpu().inherit(true).exclude_user(!user).exclude_kernel(!kernel).enabled(true);
    builder.build()
}

/// The tracepoint that every system call passes.
fn every_call() -> io::Result<Tracepoint> {
    let read = |root: &str| fs::read_to_string(format!("{root}/events/raw_syscalls/sys_enter/id"));
    let id = read("/sys/kernel/tracing").or_else(|_| read("/sys/kernel/debug/tracing"))?;
    Ok(Tracepoint::with_id(id.trim().parse().map_err(io::Error::other)?))
}
