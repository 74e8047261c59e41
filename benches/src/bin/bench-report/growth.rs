//! How costs grow: a message with the idle connections around it, timers with their number, and loops with each other.

use anyhow::Context;

use crate::exchange;
use crate::results::{Growth, Series};
use crate::server::{Launch, Server};
use crate::survey::Survey;
use crate::workload::{Load, PING_PONG};
use crate::{siblings, timers};

/// Measures all growth.
pub(crate) fn measure(survey: &mut Survey) -> anyhow::Result<()> {
    survey.progress.expect(WATCHED.len() * IDLE.len());
    with_idle_connections(survey);
    survey.progress.expect(timers::LIVE.len() + 2);
    let progress = &survey.progress;
    let growth = timers::growth(|live| progress.step(format!("{live} timers")))?;
    survey.results.growths.extend(growth);
    with_loops(survey);
    Ok(())
}

/// A message's cost among more and more connections that are idle.
fn with_idle_connections(survey: &mut Survey) {
    let servers: Vec<Server> = survey.servers.iter().filter(|s| WATCHED.contains(&s.name.as_str())).cloned().collect();
    let mut series: Vec<Series> = Vec::new();
    for server in &servers {
        let mut points = Vec::new();
        let most = server.max_connections.min(survey.most_connections).saturating_sub(PING_PONG.connections);
        if most + PING_PONG.connections < MOST_IDLE {
            survey.results.note(format!("Growth of {}: at most {most} connections are idle.", server.name));
        }
        for idle in IDLE.map(|idle| idle * most.min(MOST_IDLE) / MOST_IDLE) {
            survey.progress.step(format!("{} with {idle} idle", server.name));
            match message_among(survey, server, idle) {
                Ok(cpu_ns) => points.push(((idle + PING_PONG.connections) as f64, cpu_ns)),
                Err(error) => survey.forgive("growth", &server.name, Err(error)),
            }
        }
        series.push(Series { name: server.name.clone(), points });
    }
    survey.results.growths.push(Growth {
        name: "idle",
        title: "A message of 64 bytes on 64 connections among idle ones".to_owned(),
        x: "connections",
        y: "processor time of a message, ns",
        series,
    });
}

/// The least of a few samples: what disturbs only adds.
fn message_among(survey: &Survey, server: &Server, idle: usize) -> anyhow::Result<f64> {
    let process = survey.start(server)?;
    let mut load = Load::exchange(process.address, PING_PONG, idle).context("cannot connect")?;
    let units = load.units_in(survey.options.sample())?;
    let mut least = f64::INFINITY;
    for _ in 0..survey.options.rounds.get() {
        least = least.min(exchange::cost(&process, &mut load, units)?.cpu_ns);
    }
    Ok(least)
}

/// One loop, and two that share all processors with the load.
fn with_loops(survey: &mut Survey) {
    let (package, name) = siblings::ECHO_SERVER;
    let Ok(program) = siblings::copy(siblings::ECHO_SERVER, &survey.scratch) else {
        survey.results.note(format!("Loops are left out: {package} is not built."));
        return;
    };
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for threads in [1, 2] {
        survey.progress.step(format!("{threads} loops"));
        let server = Server::of_program(&program, name, threads);
        match message_with_loops(survey, &server) {
            Ok((cpu_ns, wall_ns)) => {
                cpu.push((threads as f64, cpu_ns));
                wall.push((threads as f64, wall_ns));
            }
            Err(error) => survey.forgive("loops", name, Err(error)),
        }
    }
    let series = |name: &str, points| Series { name: name.to_owned(), points };
    survey.results.growths.push(Growth {
        name: "loops",
        title: format!("A message of 64 bytes on 64 connections, {name} not pinned"),
        x: "loops",
        y: "time of a message, ns",
        series: vec![series("processor time", cpu), series("by the clock", wall)],
    });
}

fn message_with_loops(survey: &Survey, server: &Server) -> anyhow::Result<(f64, f64)> {
    let process = server.start(&Launch { everywhere: true, ..Launch::default() }, &survey.scratch)?;
    let mut load = Load::exchange(process.address, PING_PONG, 0).context("cannot connect")?;
    let units = load.units_in(survey.options.sample())?;
    let (mut cpu, mut wall) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..survey.options.rounds.get() {
        let cost = exchange::cost(&process, &mut load, units)?;
        (cpu, wall) = (cpu.min(cost.cpu_ns), wall.min(cost.wall_ns));
    }
    Ok((cpu, wall))
}

/// The servers whose growth says something: two that should have none, two that must.
const WATCHED: [&str; 4] = ["reactor", "epoll", "poll", "select"];

const IDLE: [usize; 4] = [0, 1_000, 5_000, MOST_IDLE];

const MOST_IDLE: usize = 15_000;
