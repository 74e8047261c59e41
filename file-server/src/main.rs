//! `file-server`: serves a directory over HTTP, and receives files.

#![forbid(unsafe_code)]

mod options;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use file_server::access_log::AccessLog;
use file_server::connection::HttpConnection;
use file_server::http::target::encode_name;
use file_server::metrics::MetricsConnection;
use file_server::settings::Settings;
use file_server::shared::Shared;
use file_server::struct_upload::{StructOptions, StructUpload};
use file_server::worker::Worker;
use program::cli;
use program::console::{self, Console};
use program::entrance::Entrance;
use program::proxy_header::ProxyTerms;
use program::{file_size, inherited, logging};
use reactor::{DrainReport, ListenOptions, Server, ServerBuilder, Sharing, SocketAddress, WorkerOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::level_filters::LevelFilter;

use crate::options::Options;

fn main() -> ExitCode {
    let options = match cli::parse::<Options>() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let outcome = match options.completions {
        Some(shell) => cli::write_completions::<Options>(shell).context("cannot write to stdout"),
        None if options.man => cli::write_man_page::<Options>().context("cannot write to stdout"),
        None => serve(&options),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    console::say_last(format_args!("file-server: {error:#}"));
    ExitCode::from(cli::FAILURE)
}

/// Runs the server from its start to its end.
fn serve(options: &Options) -> anyhow::Result<()> {
    file_size::survive_limit().context("cannot start")?;
    raise_descriptor_limit();
    let settings = Arc::new(options.settings()?);
    let shared = Arc::new(Shared::default());
    let builder = builder(options, &settings, &shared)?;
    // The builder has blocked the signals that the server waits for, and threads that start from here on do not catch them.
    let console = Console::start().context("cannot start")?;
    logging::start(&console, options.log_level.clone(), LevelFilter::INFO);
    start_access_log(options, &shared)?;
    if options.stores() {
        clean_up(&settings);
    }
    let server = builder.start().context("cannot start")?;
    shared.set_server(server.handle());
    tell_ready(&console, server.local_addresses(), options);
    let report = server.wait();
    if let Ok(report) = &report {
        tell_cut(&console, report);
    }
    if let Some(log) = shared.access_log() {
        log.flush();
    }
    console.flush();
    report.map(drop).context("the server failed")
}

/// The server with all its sockets bound, or nothing bound at all.
fn builder(options: &Options, settings: &Arc<Settings>, shared: &Arc<Shared>) -> anyhow::Result<ServerBuilder<Worker>> {
    let state = {
        let (settings, shared) = (Arc::clone(settings), Arc::clone(shared));
        move |_loop| Worker::new(&settings, &shared)
    };
    let mut builder = Server::with_state(state)
        .threads(options.threads)
        .pin_threads(options.pin)
        .workers(WorkerOptions::default().threads(options.workers))
        .max_connections(options.max_connections.unwrap_or(usize::MAX))
        .shutdown_on_signals(options.shutdown_timeout);
    // Until the first request has been answered: whoever connects and says nothing is not waited for as long as others.
    let listen_options = ListenOptions::default().idle_timeout(settings.timeouts.header);
    let entrance = Entrance {
        options: listen_options.clone(),
        sharing: options.sharing,
        proxy_header: options.proxy_protocol.then(|| proxy_terms(settings, shared)),
    };
    let inherited = inherited::listeners()?;
    for address in options.addresses(!inherited.is_empty()) {
        builder = entrance.listen(builder, address, HttpConnection::new)?;
    }
    for listener in inherited {
        builder = entrance.listen_on(builder, listener, HttpConnection::new);
    }
    let entrance = Entrance { options: ListenOptions::default(), ..entrance };
    let struct_options = Arc::new(struct_options(settings, shared));
    for address in options.struct_listen.clone() {
        let options = Arc::clone(&struct_options);
        let make = move |peer: &SocketAddress| StructUpload::new(Arc::clone(&options), peer.clone());
        builder = entrance.listen(builder, address, make)?;
    }
    for address in options.metrics_listen.clone() {
        builder = builder.listen_with(address, &listen_options, Sharing::default(), |_peer| MetricsConnection)?;
    }
    Ok(builder)
}

fn proxy_terms(settings: &Settings, shared: &Shared) -> ProxyTerms {
    ProxyTerms { timeout: settings.timeouts.header, refusals: Arc::clone(&shared.proxy_refusals) }
}

fn struct_options(settings: &Settings, shared: &Arc<Shared>) -> StructOptions {
    StructOptions {
        root: Arc::clone(&settings.root),
        storage: Arc::clone(&settings.storage),
        memory: Arc::clone(&settings.memory),
        max_size: settings.uploads.max_size.unwrap_or(u64::MAX),
        header_timeout: settings.timeouts.header,
        body_timeout: settings.timeouts.body,
        shared: Arc::clone(shared),
    }
}

/// Removes what a server that was killed has left of uploads.
fn clean_up(settings: &Settings) {
    let directory = settings.root.directory("".as_ref());
    let prepared = directory.map(|directory| settings.storage.prepare(&directory));
    if let Ok(Err(error)) = prepared {
        tracing::warn!("cannot look for what is left of uploads: {error}");
    }
}

/// Opens the access log, and sees to it that SIGHUP opens it anew.
fn start_access_log(options: &Options, shared: &Shared) -> anyhow::Result<()> {
    let Some(path) = &options.access_log else { return Ok(()) };
    let log = AccessLog::start(path, options.access_log_format.into())
        .with_context(|| format!("cannot write the access log to {}", path.display()))?;
    signal_hook::flag::register(signal_hook::consts::SIGHUP, log.reopen_flag()).context("cannot start")?;
    shared.set_access_log(log);
    Ok(())
}

/// Many connections and open files: the soft limit is for programs that use select(2), which none of this does.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // What cannot be raised is lived with.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Tells the bound sockets in the order in which they were bound: HTTP, then struct, then metrics.
fn tell_ready(console: &Console, addresses: &[SocketAddress], options: &Options) {
    let metrics_from = addresses.len() - options.metrics_listen.len();
    let struct_from = metrics_from - options.struct_listen.len();
    for (index, address) in addresses.iter().enumerate() {
        match index {
            _ if index >= metrics_from => console.say(format_args!("metrics on {}", url_of("http", address))),
            _ if index >= struct_from => console.say(format_args!("listening on {}", url_of("struct", address))),
            _ => console.say(format_args!("listening on {}", url_of("http", address))),
        }
    }
}

/// A URL as `file-client` takes it.
fn url_of(scheme: &str, address: &SocketAddress) -> String {
    let name = match address {
        SocketAddress::Inet(address) => return format!("{scheme}://{address}"),
        SocketAddress::Unix(name) => name.to_string(),
    };
    let mut url = format!("{scheme}+unix://");
    encode_name(&mut url, name.strip_prefix("unix:").unwrap_or(&name).as_bytes());
    url
}

fn tell_cut(console: &Console, report: &DrainReport) {
    if report.cut > 0 {
        let connections = if report.cut == 1 { "connection" } else { "connections" };
        console.say(format_args!("cut {} {connections}, {} bytes unsent", report.cut, report.unsent));
    }
}
