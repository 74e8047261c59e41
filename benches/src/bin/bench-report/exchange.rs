//! What a unit of work costs a server: processor time, instructions, system calls; and how long a message takes.

use anyhow::Context;

use crate::callgrind;
use crate::counters::{self, Count, Counted};
use crate::fixed_rate;
use crate::results::Metric;
use crate::server::{Process, Server};
use crate::strace::Strace;
use crate::survey::Survey;
use crate::usage::CpuTime;
use crate::workload::{Load, Workload};

/// Measures each workload on each server.
pub(crate) fn measure(survey: &mut Survey) -> anyhow::Result<()> {
    let tools = Tools::here(survey);
    let workloads = survey.options.workloads();
    let rounds = survey.options.rounds.get();
    for workload in &workloads {
        let servers = survey.servers_for(workload).len();
        survey.progress.expect(servers * (rounds + usize::from(tools.runs_callgrind(workload))));
    }
    for workload in workloads {
        if workload.connections() > survey.most_connections {
            let limit = survey.most_connections;
            survey.results.note(format!("{} is left out: {limit} connections at most.", workload.name));
            continue;
        }
        let servers = survey.servers_for(workload);
        for round in 0..rounds {
            // Each round begins with another server, so that none always comes first.
            for turn in 0..servers.len() {
                let server = &servers[(turn + round) % servers.len()];
                survey.progress.step(format!("{} {}", workload.name, server.name));
                let result = sample(survey, &tools, workload, server);
                survey.forgive(workload.name, &server.name, result);
            }
        }
        if tools.runs_callgrind(workload) {
            count_instructions(survey, workload, &servers);
        }
    }
    Ok(())
}

/// Takes latencies at the fixed rate.
pub(crate) fn measure_latencies(survey: &mut Survey) {
    let rate = survey.options.rate;
    let name = format!("64 at {rate}/s");
    let servers = survey.servers.clone();
    survey.progress.expect(servers.len() * survey.options.rounds.get());
    for round in 0..survey.options.rounds.get() {
        for turn in 0..servers.len() {
            let server = &servers[(turn + round) % servers.len()];
            survey.progress.step(format!("latency {}", server.name));
            let result = latencies(survey, server, rate, &name);
            survey.forgive("latency", &server.name, result);
        }
    }
}

/// What this machine can count with.
struct Tools {
    instructions: bool,
    tracepoint: bool,
    strace: bool,
    callgrind: bool,
}

impl Tools {
    fn here(survey: &Survey) -> Self {
        let instructions = counters::why_not(Counted::UserInstructions).is_none();
        let tracepoint = counters::why_not(Counted::SystemCalls).is_none();
        Self {
            instructions,
            tracepoint,
            strace: !tracepoint && Strace::is_here(),
            callgrind: !instructions && !survey.options.no_callgrind && callgrind::is_here(),
        }
    }

    /// Ten thousand connections take too long there, and cost a message nothing more in user code.
    fn runs_callgrind(&self, workload: &Workload) -> bool {
        self.callgrind && workload.connections() <= 1000
    }
}

/// One sample of one server: of times and instructions, and then of system calls, since counting those costs time.
fn sample(survey: &mut Survey, tools: &Tools, workload: &Workload, server: &Server) -> anyhow::Result<()> {
    let process = server.start(&workload.launch(), &survey.scratch)?;
    let mut load = workload.start(process.address).context("cannot connect")?;
    let units = load.units_in(survey.options.sample())?;
    let mut add = |metric, value| survey.results.add(metric, workload.name, &server.name, value);
    let mut instructions = match tools.instructions {
        true => Some((
            Count::begin(Counted::UserInstructions, process.id())?,
            Count::begin(Counted::KernelInstructions, process.id())?,
        )),
        false => None,
    };
    let Cost { units, cpu_ns, wall_ns, ticks } = cost(&process, &mut load, units)?;
    add(Metric::CpuTime, cpu_ns);
    add(Metric::WallTime, wall_ns);
    if let Some((user, kernel)) = &mut instructions {
        add(Metric::UserInstructions, user.read()? as f64 / units as f64);
        add(Metric::KernelInstructions, kernel.read()? as f64 / units as f64);
    }
    survey.results.add_ticks(workload.name, &server.name, ticks);
    if let Some((calls, waits)) = count_calls(survey, tools, &process, &mut load, units / 2)? {
        survey.results.add(Metric::SystemCalls, workload.name, &server.name, calls);
        survey.results.add(Metric::Waits, workload.name, &server.name, waits);
    }
    Ok(())
}

/// System calls for a unit of work, and how many of them are waits. `None`: nothing can count them here.
fn count_calls(
    survey: &Survey,
    tools: &Tools,
    process: &Process,
    load: &mut Load,
    units: u64,
) -> anyhow::Result<Option<(f64, f64)>> {
    let each = |count: u64, done: u64| count as f64 / done as f64;
    if tools.tracepoint {
        let mut calls = Count::begin(Counted::SystemCalls, process.id())?;
        let mut waits = Count::begin(Counted::Waits, process.id())?;
        let (done, _) = load.run(units.max(LEAST_COUNTED))?;
        return Ok(Some((each(calls.read()?, done), each(waits.read()?, done))));
    }
    if tools.strace {
        let strace = Strace::begin(process.id(), survey.scratch.join("strace"))?;
        let (done, _) = load.run(units.clamp(LEAST_COUNTED, MOST_TRACED))?;
        let (calls, waits) = strace.end()?;
        return Ok(Some((each(calls, done), each(waits, done))));
    }
    Ok(None)
}

/// What a unit of work cost a server.
pub(crate) struct Cost {
    units: u64,
    pub(crate) cpu_ns: f64,
    pub(crate) wall_ns: f64,
    /// Of user code, and of all.
    ticks: (u64, u64),
}

/// Runs a load, and looks at the server's processor time before and after.
pub(crate) fn cost(process: &Process, load: &mut Load, units: u64) -> anyhow::Result<Cost> {
    let before = CpuTime::of(process.id())?;
    let (units, took) = load.run(units)?;
    let after = CpuTime::of(process.id())?;
    let each = |nanos: u128| nanos as f64 / units as f64;
    Ok(Cost {
        units,
        cpu_ns: each(after.since(before).as_nanos()),
        wall_ns: each(took.as_nanos()),
        ticks: after.ticks_since(before),
    })
}

fn count_instructions(survey: &mut Survey, workload: &Workload, servers: &[Server]) {
    for server in servers {
        survey.progress.step(format!("callgrind {} {}", workload.name, server.name));
        let result = callgrind::instructions_per_unit(server, workload, &survey.scratch).map(|count| {
            survey.results.add(Metric::CallgrindInstructions, workload.name, &server.name, count);
        });
        survey.forgive("callgrind", &server.name, result);
    }
}

fn latencies(survey: &mut Survey, server: &Server, rate: u64, name: &str) -> anyhow::Result<()> {
    let process = survey.start(server)?;
    let latencies = fixed_rate::latencies(process.address, rate, survey.options.sample() * 4)?;
    let quantiles =
        [(Metric::Latency50, 0.5), (Metric::Latency90, 0.9), (Metric::Latency99, 0.99), (Metric::Latency999, 0.999)];
    for (metric, quantile) in quantiles {
        let micros = latencies.value_at_quantile(quantile) as f64 / 1000.0;
        survey.results.add(metric, name, &server.name, micros);
    }
    Ok(())
}

/// Units over which system calls are counted: what the first and the last one cut off does not matter then.
const LEAST_COUNTED: u64 = 100;

/// Units of a run under strace, which takes a hundred microseconds a call.
const MOST_TRACED: u64 = 5000;
