//! What the kernel keeps of a process anyway: its processor time and its memory. Reading it costs the process nothing.

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

/// Processor time of a process, of threads that have ended too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    /// All of it, to the nanosecond.
    pub(crate) total: Duration,
    /// User and system time as ticks of the clock sampled them: coarse, good for their proportion.
    ticks: (u64, u64),
}

impl CpuTime {
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).map_err(io::Error::other)?;
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(number))?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let ticks = ticks_in(&stat).ok_or_else(|| io::Error::other("/proc/PID/stat cannot be read"))?;
        Ok(Self { total: Duration::from(clock.now()?), ticks })
    }

    /// Processor time since an earlier look.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.total.saturating_sub(earlier.total)
    }

    /// Ticks since an earlier look: in user code, and in all.
    pub(crate) fn ticks_since(self, earlier: Self) -> (u64, u64) {
        let user = self.ticks.0.saturating_sub(earlier.ticks.0);
        (user, user + self.ticks.1.saturating_sub(earlier.ticks.1))
    }
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Pages that are in memory, shared ones too.
    pub(crate) resident: u64,
    /// Pages of its own that no file backs.
    pub(crate) anonymous: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let field = |name: &str| {
            field_in(&rollup, name).ok_or_else(|| io::Error::other(format!("/proc/PID/smaps_rollup has no {name}")))
        };
        // What was swapped out is used all the same.
        let swapped = field("Swap:")?;
        Ok(Self { resident: field("Rss:")? + swapped, anonymous: field("Anonymous:")? + swapped })
    }
}

/// The 14th and 15th field of proc_pid_stat(5). The second is a name, which may have anything in it.
fn ticks_in(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn field_in(rollup: &str, name: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_confuses_nothing() {
        let stat = "12 (a) 1 (b) S 1 2 3 4 5 6 7 8 9 10 77 88 0 0";
        assert_eq!(ticks_in(stat), Some((77, 88)));
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let pid = std::process::id();
        let before = CpuTime::of(pid).unwrap();
        let mut memory = vec![0u8; 8 << 20];
        let start = Memory::of(pid).unwrap();
        memory.fill(1);
        let grown = Memory::of(pid).unwrap().anonymous - start.anonymous;
        assert!(grown >= 7 << 20, "{grown}");
        assert!(CpuTime::of(pid).unwrap().since(before) > Duration::ZERO);
    }
}
