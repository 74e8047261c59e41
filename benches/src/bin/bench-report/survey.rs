//! The whole of a run: which servers, in which order what is measured, and where it is written.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use benches::peers::{self, Peer};
use benches::{cores, descriptors};

use crate::machine::Machine;
use crate::options::SurveyOptions;
use crate::progress::Progress;
use crate::results::Results;
use crate::server::{Launch, Process, Server};
use crate::workload::Workload;
use crate::{congestion, exchange, growth, markdown, memory, plot, siblings};

/// What every part of a run needs.
pub(crate) struct Survey {
    pub(crate) options: SurveyOptions,
    pub(crate) servers: Vec<Server>,
    /// Connections that this process and a server can each hold.
    pub(crate) most_connections: usize,
    /// What servers say, and what tools write on the way.
    pub(crate) scratch: PathBuf,
    pub(crate) progress: Progress,
    pub(crate) results: Results,
}

/// Measures, and writes the report.
pub(crate) fn run(mut options: SurveyOptions) -> anyhow::Result<()> {
    // Before anything else: it looks up which processors there are.
    let cores = cores::count()?;
    cores::pin_load()?;
    siblings::build(&[siblings::PEER, siblings::ECHO_SERVER])?;
    let scratch = options.output.join("scratch");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let limit = descriptors::raise().saturating_sub(SPARE);
    let most_connections = options.most_connections().min(limit);
    let mut servers = servers_that_come_with_it(&options, &scratch)?;
    servers.append(&mut options.servers);
    ensure!(!servers.is_empty(), "there is no server to measure");
    if let Some(path) = &options.into {
        ensure!(path.exists(), "there is no {}", path.display());
    }
    for (index, server) in servers.iter().enumerate() {
        let is_new = servers[..index].iter().all(|other| other.name != server.name);
        ensure!(is_new, "two servers are called {}", server.name);
    }
    let mut survey =
        Survey { options, servers, most_connections, scratch, progress: Progress::new(), results: Results::default() };
    if cores < 2 {
        survey.results.note("One processor: server and load share it, and times say little.".to_owned());
    }
    if limit < survey.options.most_connections() {
        survey.results.note(format!("The limit of open files leaves {limit} connections."));
    }
    let congestion = congestion::check(&mut survey)?;
    let machine = Machine::here(congestion)?;
    exchange::measure(&mut survey)?;
    exchange::measure_latencies(&mut survey);
    memory::measure(&mut survey);
    if survey.options.with_growth() {
        growth::measure(&mut survey)?;
    }
    let Survey { options, servers, results, progress, .. } = survey;
    drop(progress);
    write(&options, &servers, &machine, &results)
}

impl Survey {
    /// The servers that a workload suits.
    pub(crate) fn servers_for(&self, workload: &Workload) -> Vec<Server> {
        self.servers.iter().filter(|server| workload.suits(server)).cloned().collect()
    }

    pub(crate) fn start(&self, server: &Server) -> anyhow::Result<Process> {
        server.start(&Launch::default(), &self.scratch)
    }

    /// What went wrong with one server is noted, and the others go on.
    pub(crate) fn forgive(&mut self, what: &str, server: &str, result: anyhow::Result<()>) {
        if let Err(error) = result {
            self.results.note(format!("{what} on {server} failed: {error:#}."));
        }
    }
}

fn servers_that_come_with_it(options: &SurveyOptions, scratch: &Path) -> anyhow::Result<Vec<Server>> {
    let is_wanted = |name: &str, is_quick: bool| match &options.peers {
        Some(names) => names.iter().any(|wanted| wanted == name),
        None => is_quick || !options.quick,
    };
    let wanted: Vec<&Peer> =
        peers::ALL.iter().filter(|peer| is_wanted(peer.name, QUICK.contains(&peer.name))).collect();
    let mut servers = Vec::new();
    if !wanted.is_empty() {
        let program = siblings::copy(siblings::PEER, scratch)?;
        servers.extend(wanted.into_iter().map(|peer| Server::of_peer(&program, peer)));
    }
    if is_wanted(siblings::ECHO_SERVER.1, false) {
        match siblings::copy(siblings::ECHO_SERVER, scratch) {
            Ok(program) => {
                let mut server = Server::of_program(&program, siblings::ECHO_SERVER.1, 1);
                server.is_optional = options.peers.is_none();
                servers.push(server);
            }
            // It is no part of this package: without being asked for it is welcome, not missed.
            Err(error) if options.peers.is_some() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(servers)
}

fn write(options: &SurveyOptions, servers: &[Server], machine: &Machine, results: &Results) -> anyhow::Result<()> {
    let save = |name: &str, text: &str| {
        let path = options.output.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    save("results.csv", &results.to_csv())?;
    save("growth.csv", &results.growth_to_csv())?;
    for growth in &results.growths {
        plot::draw(growth, &options.output.join(format!("{}.svg", growth.name)))?;
    }
    let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
    let report = markdown::report(machine, &names, results);
    save("report.md", &report)?;
    if let Some(path) = &options.into {
        let failure = || format!("cannot put the report into {}", path.display());
        let text = fs::read_to_string(path).with_context(failure)?;
        let text = markdown::insert(&text, &report).context("the marks are missing").with_context(failure)?;
        fs::write(path, text).with_context(failure)?;
    }
    announce(&options.output, &report)
}

/// The report goes to stdout too. Who closes it early has seen enough.
fn announce(output: &Path, report: &str) -> anyhow::Result<()> {
    let text = format!("{report}\nwritten to {}\n", output.display());
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The peers of a quick look.
const QUICK: [&str; 4] = ["reactor", "epoll", "mio", "tokio"];

/// Descriptors for all else: epoll instances, counters, files.
const SPARE: usize = 200;
