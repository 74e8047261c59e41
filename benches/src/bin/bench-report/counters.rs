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
    /// Of the system calls those that wait for events.
    Waits,
}

/// A count over all threads of a process: those there are, and those they start.
pub(crate) struct Count {
    counters: Vec<Counter>,
}

impl Count {
    /// Begins to count.
    pub(crate) fn begin(counted: Counted, pid: u32) -> io::Result<Self> {
        let mut counters = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let name = entry?.file_name();
            let thread = name.to_string_lossy().parse().map_err(io::Error::other)?;
            match counted {
                Counted::UserInstructions => counters.push(attach(Hardware::INSTRUCTIONS, thread, true, false)?),
                Counted::KernelInstructions => counters.push(attach(Hardware::INSTRUCTIONS, thread, false, true)?),
                Counted::SystemCalls => counters.push(attach(entry_of("raw_syscalls/sys_enter")?, thread, true, true)?),
                Counted::Waits => {
                    for name in WAITS {
                        let entry = entry_of(&format!("syscalls/sys_enter_{name}"))?;
                        counters.push(attach(entry, thread, true, true)?);
                    }
                }
            }
        }
        Ok(Self { counters })
    }

    /// What was counted since the beginning.
    pub(crate) fn read(&mut self) -> io::Result<u64> {
        self.counters.iter_mut().map(Counter::read).sum()
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

/// A tracepoint that system calls pass as they begin.
fn entry_of(event: &str) -> io::Result<Tracepoint> {
    let read = |root: &str| fs::read_to_string(format!("{root}/events/{event}/id"));
    let id = read("/sys/kernel/tracing").or_else(|_| read("/sys/kernel/debug/tracing"))?;
    Ok(Tracepoint::with_id(id.trim().parse().map_err(io::Error::other)?))
}

/// The system calls that wait for events of many descriptors.
pub(crate) const WAITS: [&str; 7] =
    ["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"];
