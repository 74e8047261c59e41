//! Measures echo servers from outside, each a pinned process of its own, by what a clock blurs least: counts before times.
#![forbid(unsafe_code)]

mod callgrind;
mod congestion;
mod counters;
mod exchange;
mod figures;
mod fixed_rate;
mod growth;
mod guard;
mod machine;
mod markdown;
mod memory;
mod options;
mod plot;
mod ports;
mod progress;
mod results;
mod server;
mod siblings;
mod strace;
mod survey;
mod timers;
mod tool;
mod usage;
mod workload;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::options::{Command, Options};

fn main() -> ExitCode {
    let Options { command, survey } = Options::parse();
    let result = match command {
        Some(Command::Guard(options)) => guard::run(&options),
        None => survey::run(survey),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without anybody to read it, the exit code tells.
            let _ = writeln!(io::stderr(), "bench-report: {error:#}");
            ExitCode::FAILURE
        }
    }
}
