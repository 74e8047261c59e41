//! The options of `bench-report`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use benches::peers;
use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand};

use crate::guard;
use crate::server::Server;
use crate::workload::{self, Workload};

/// Measure echo servers side by side, and write Markdown, CSV and SVG.
#[derive(Parser)]
#[command(name = "bench-report", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) survey: SurveyOptions,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Count the instructions of the hot path, and fail if they have grown by more than 3%.
    Guard(GuardOptions),
}

/// What to measure.
#[derive(Args)]
pub(crate) struct SurveyOptions {
    /// A few servers, a few workloads, short samples, no growth: a look, not a result.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Samples of each server and workload; the servers take turns.
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) rounds: NonZeroUsize,

    /// How long a sample takes [default: 400ms, or 100ms with --quick].
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration)]
    sample: Option<Duration>,

    /// Another server, started by COMMAND with {port} or {addr} in it; it echoes on 127.0.0.1. May be given several times.
    #[arg(long = "server", value_name = "NAME=COMMAND", value_parser = Server::parse)]
    pub(crate) servers: Vec<Server>,

    /// Only these of the servers that come with it, with commas between; `none` for none.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = names_of_peers())]
    pub(crate) peers: Option<Vec<String>>,

    /// Only these workloads, with commas between.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = names_of_workloads())]
    workloads: Option<Vec<String>>,

    /// Messages a second at which latencies are taken.
    #[arg(long, value_name = "N", default_value = "20000", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) rate: u64,

    /// The most connections held at once; the limit of open files may leave fewer.
    #[arg(long, value_name = "N", default_value = "15000", value_parser = clap::value_parser!(u64).range(100..=100_000))]
    connections: u64,

    /// Leave out the runs under valgrind.
    #[arg(long)]
    pub(crate) no_callgrind: bool,

    /// Leave out how costs grow.
    #[arg(long)]
    no_growth: bool,

    /// Where the report goes.
    #[arg(long, value_name = "DIR", default_value = "target/bench-report")]
    pub(crate) output: PathBuf,

    /// Also put the report, without its plots, between the marks of this Markdown file.
    #[arg(long, value_name = "FILE")]
    pub(crate) into: Option<PathBuf>,
}

/// What to guard.
#[derive(Args)]
pub(crate) struct GuardOptions {
    /// The committed figures.
    #[arg(long, value_name = "FILE", default_value = "benches/hotpath.txt")]
    pub(crate) figures: PathBuf,

    /// Only these scripts of events, with commas between.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = guard::SCRIPTS.map(|script| script.name))]
    pub(crate) scripts: Option<Vec<String>>,

    /// Write what is counted now, for this reason, instead of comparing.
    #[arg(long, value_name = "REASON")]
    pub(crate) update: Option<String>,
}

impl SurveyOptions {
    pub(crate) fn sample(&self) -> Duration {
        let usual = if self.quick { Duration::from_millis(100) } else { Duration::from_millis(400) };
        self.sample.unwrap_or(usual).clamp(Duration::from_millis(10), Duration::from_secs(10))
    }

    pub(crate) fn with_growth(&self) -> bool {
        !self.quick && !self.no_growth
    }

    pub(crate) fn most_connections(&self) -> usize {
        self.connections as usize
    }

    /// The workloads that are wanted.
    pub(crate) fn workloads(&self) -> Vec<&'static Workload> {
        let is_wanted = |workload: &&Workload| match &self.workloads {
            Some(names) => names.iter().any(|name| name == workload.name),
            None => workload.is_quick || !self.quick,
        };
        workload::ALL.iter().filter(is_wanted).collect()
    }
}

fn names_of_peers() -> Vec<PossibleValue> {
    let peers = peers::ALL.iter().map(|peer| PossibleValue::new(peer.name).help(peer.about));
    let program = PossibleValue::new("echo-server").help("this project's program, if it is built");
    peers.chain([program, PossibleValue::new("none")]).collect()
}

fn names_of_workloads() -> Vec<PossibleValue> {
    workload::ALL.iter().map(|workload| PossibleValue::new(workload.name).help(workload.about)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_look_leaves_workloads_out() {
        let names = |arguments: &[&str]| Options::parse_from(arguments).survey.workloads().len();
        assert!(names(&["bench-report", "--quick"]) < names(&["bench-report"]));
        assert_eq!(names(&["bench-report", "--quick", "--workloads", "churn"]), 1);
    }
}
