//! Counts user instructions with `valgrind --tool=callgrind`, where the processor's own counter is not to be had.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::server::{Launch, Server};
use crate::tool;
use crate::workload::Workload;

/// Whether valgrind is installed.
pub(crate) fn is_here() -> bool {
    tool::is_here("valgrind")
}

/// The words that run a command under callgrind, which writes what it counted to a file.
pub(crate) fn wrapper(result: &Path) -> Vec<String> {
    let file = format!("--callgrind-out-file={}", result.display());
    ["valgrind", "--tool=callgrind", &file].map(str::to_owned).to_vec()
}

/// User instructions of a server for a unit of work. Two runs that differ in their units alone differ by what the units
/// cost: starting, connecting and ending cancel out.
pub(crate) fn instructions_per_unit(server: &Server, workload: &Workload, output: &Path) -> anyhow::Result<f64> {
    let connections = workload.active().max(16) as u64;
    let few = count(server, workload, FEW * connections, output)?;
    let many = count(server, workload, MANY * connections, output)?;
    let units = many.1.saturating_sub(few.1).max(1);
    Ok((many.0 as f64 - few.0 as f64) / units as f64)
}

/// The instructions of a run, and its units.
fn count(server: &Server, workload: &Workload, units: u64, output: &Path) -> anyhow::Result<(u64, u64)> {
    let result = output.join(format!("{}.callgrind", server.name));
    let launch = Launch { wrapper: wrapper(&result), ..workload.launch() };
    let process = server.start(&launch, output)?;
    let mut load = workload.start(process.address)?;
    let (done, _) = load.run(units)?;
    process.end()?;
    drop(load);
    Ok((total_in(&result)?, done))
}

/// What a program costs in itself, whatever machine it runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct OwnCost {
    /// Instructions that are in the program's file.
    pub(crate) instructions: f64,
    /// Calls from there into shared libraries, which here is the C library. What such a call costs is the affair of its
    /// version and of the processor it finds: there are five of memcpy(3) for x86-64 alone.
    pub(crate) calls: f64,
}

/// The part of a file of callgrind's that is a program's own.
pub(crate) fn own_cost_in(result: &Path, program: &Path) -> anyhow::Result<OwnCost> {
    let text = fs::read_to_string(result).with_context(|| format!("callgrind wrote no {}", result.display()))?;
    parse_own_cost(&text, &program.to_string_lossy())
        .with_context(|| format!("{} cannot be understood", result.display()))
}

/// The format: <https://valgrind.org/docs/manual/cl-format.html>. A name is written once, as `(number) name`, and then
/// called by its number. The line after `calls=` is what the callee cost; that is told again in its place.
fn parse_own_cost(text: &str, program: &str) -> Option<OwnCost> {
    let mut own_names = HashSet::new();
    let mut is_own = |name: &str| {
        let (number, name) = name.split_once(' ').unwrap_or((name, ""));
        if name == program {
            own_names.insert(number.to_owned());
        }
        own_names.contains(number)
    };
    let mut cost = OwnCost::default();
    let (mut caller, mut callee) = (false, false);
    let mut lines = text.lines().skip_while(|line| !line.starts_with("ob="));
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("ob=") {
            caller = is_own(name);
            callee = caller;
        } else if let Some(name) = line.strip_prefix("cob=") {
            callee = is_own(name);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            if caller && !callee {
                cost.calls += calls.split(' ').next()?.parse::<f64>().ok()?;
            }
            callee = caller;
            lines.next()?;
        } else if caller && line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            cost.instructions += line.split(' ').nth(1)?.parse::<f64>().ok()?;
        }
    }
    Some(cost)
}

/// The instructions that a file of callgrind's sums up to.
fn total_in(result: &Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(result).with_context(|| format!("callgrind wrote no {}", result.display()))?;
    parse_total(&text).with_context(|| format!("{} has no total", result.display()))
}

fn parse_total(text: &str) -> Option<u64> {
    // A program that ends in the usual way has both lines, and they agree; one that a signal ends has the first.
    let total = |name: &str| text.lines().rev().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    total("totals:").or_else(|| total("summary:"))
}

/// Units for each connection: enough to even out turns of different sizes, few enough for a processor fifty times slower.
const FEW: u64 = 20;
const MANY: u64 = 220;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_file_is_found() {
        assert_eq!(parse_total("events: Ir\nfn=(1) x\n1 2\nsummary: 77\n\n\ntotals: 78\n"), Some(78));
        assert_eq!(parse_total("events: Ir\nsummary: 77\n"), Some(77));
        assert_eq!(parse_total("events: Ir\n"), None);
    }

    #[test]
    fn what_is_the_programs_own_is_told_from_the_librarys() {
        let text = "\
positions: line
events: Ir
summary: 1000

ob=(1) /lib/libc.so.6
fn=(1) memcpy
7 500
cob=(2) /bin/program
cfn=(2) callback
calls=9 1
8 20

ob=(2)
fl=(3) main.rs
fn=(3) main
10 30
+1 4
cob=(1)
cfn=(1)
calls=3 7
* 500
cfn=(4) helper
calls=5 20
-2 60
fe=(4) other.rs
12 6
";
        let own = parse_own_cost(text, "/bin/program");
        assert_eq!(own, Some(OwnCost { instructions: 40.0, calls: 3.0 }));
        assert_eq!(parse_own_cost(text, "/bin/another"), Some(OwnCost::default()));
        assert_eq!(parse_own_cost("ob=(1) /bin/x\ncalls=", "/bin/x"), None);
    }
}
