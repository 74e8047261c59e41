//! What an idle connection keeps of a server's memory: the slope from few connections to many.

use anyhow::Context;
use benches::load::{ClosedLoop, Shape};

use crate::results::{Growth, Metric, Series};
use crate::server::Server;
use crate::survey::Survey;
use crate::usage::Memory;

/// Measures each server once: memory does not depend on who else runs.
pub(crate) fn measure(survey: &mut Survey) {
    let servers = survey.servers.clone();
    survey.progress.expect(servers.len());
    let mut series = Vec::new();
    for server in &servers {
        survey.progress.step(format!("memory {}", server.name));
        match points(survey, server) {
            Ok((start, points)) => {
                note_fewer(survey, server, &points);
                let (first, last) = (points[0], points[points.len() - 1]);
                let slope = (last.1 - first.1) / (last.0 - first.0);
                survey.results.add(Metric::ConnectionMemory, "memory", &server.name, slope);
                let points = points.into_iter().map(|(x, y)| (x, (y - start) / 1024.0)).collect();
                series.push(Series { name: server.name.clone(), points });
            }
            Err(error) => survey.forgive("memory", &server.name, Err(error)),
        }
    }
    if survey.options.with_growth() {
        survey.results.growths.push(Growth {
            name: "memory",
            title: "Memory of the server, beyond what it takes at start".to_owned(),
            x: "idle connections",
            y: "anonymous memory, KiB",
            series,
        });
    }
}

/// Anonymous memory in bytes: at start, and at some numbers of connections, each of which has been served once.
fn points(survey: &mut Survey, server: &Server) -> anyhow::Result<(f64, Vec<(f64, f64)>)> {
    let process = survey.start(server)?;
    let start = Memory::of(process.id())?;
    survey.results.add(Metric::StartMemory, "memory", &server.name, start.resident as f64 / 1024.0);
    let most = counts_for(survey, server)[COUNTS.len() - 1];
    let (mut loads, mut connected) = (Vec::new(), 0);
    let mut points = Vec::new();
    for count in COUNTS.map(|count| count * most / MOST) {
        let shape = Shape { connections: count - connected, size: 64, depth: 1 };
        let mut load = ClosedLoop::connect(process.address, shape).context("cannot connect")?;
        load.run(1)?;
        loads.push(load);
        connected = count;
        points.push((count as f64, Memory::of(process.id())?.anonymous as f64));
    }
    Ok((start.anonymous as f64, points))
}

/// The numbers of connections at which a server is looked at.
fn counts_for(survey: &Survey, server: &Server) -> [usize; COUNTS.len()] {
    let most = survey.most_connections.min(server.max_connections);
    let most = if survey.options.quick { most.min(QUICK) } else { most };
    COUNTS.map(|count| count * most.min(MOST) / MOST)
}

fn note_fewer(survey: &mut Survey, server: &Server, points: &[(f64, f64)]) {
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    if (last as usize) < MOST {
        let name = if survey.options.quick { "every server" } else { &server.name };
        survey.results.note(format!("Memory of {name}: the slope is from {first} to {last} connections at most."));
    }
}

/// Where the slope begins, where it ends, and between.
const COUNTS: [usize; 4] = [1_000, 3_000, 7_500, MOST];

const MOST: usize = 15_000;

/// The most connections of a quick look.
const QUICK: usize = 3_000;
