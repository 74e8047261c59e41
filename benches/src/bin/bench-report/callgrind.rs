//! Counts user instructions with `valgrind --tool=callgrind`, where the processor's own counter is not to be had.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::server::{Launch, Server};
use crate::workload::Workload;

/// Whether valgrind is installed.
pub(crate) fn is_here() -> bool {
    let run = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
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
    let launch = Launch { wrapper: wrapper(&result), ..Launch::default() };
    let process = server.start(&launch, output)?;
    let mut load = workload.start(process.address)?;
    let (done, _) = load.run(units)?;
    process.end()?;
    drop(load);
    Ok((total_in(&result)?, done))
}

/// The instructions that a file of callgrind's sums up to.
pub(crate) fn total_in(result: &Path) -> anyhow::Result<u64> {
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
}
