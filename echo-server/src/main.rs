//! `echo-server`: sends back every byte it receives, over TCP, UDP and Unix sockets.

#![forbid(unsafe_code)]

mod echo;
mod options;
mod proxied;
mod stats;
mod view;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use program::cli;
use program::console::{self, Console};
use program::entrance::Entrance;
use program::proxy_header::ProxyTerms;
use program::proxy_refusals::ProxyRefusals;
use program::{file_size, inherited, logging};
use reactor::{Address, DatagramOptions, DrainReport, Handler, ListenOptions, Server, ServerBuilder, SocketAddress};
use tracing::level_filters::LevelFilter;

use crate::echo::{DatagramEcho, Echo};
use crate::options::Options;
use crate::proxied::ProxiedEcho;
use crate::stats::{Counters, Stats};
use crate::view::Views;

fn main() -> ExitCode {
    let options = match cli::parse::<Options>() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let outcome = match options.completions {
        Some(shell) => cli::write_completions::<Options>(shell).context("cannot write to stdout"),
        None => serve(&options),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    console::say_last(format_args!("echo-server: {error:#}"));
    ExitCode::from(cli::FAILURE)
}

/// Runs the server from its start to its end.
fn serve(options: &Options) -> anyhow::Result<()> {
    file_size::survive_limit().context("cannot start")?;
    let views = Views::default();
    let proxy_refusals = Arc::default();
    let builder = views.shown_on_signal(builder(options, &views, &proxy_refusals)?);
    // The builder has blocked the signals that the server waits for, and threads that start from here on do not catch them.
    let console = Console::start().context("cannot start")?;
    views.show_on(&console);
    // Before the first connection, which asks whether it is to be traced.
    logging::start(&console, options.log_level.clone(), LevelFilter::INFO);
    let server = builder.start().context("cannot start")?;
    for address in server.local_addresses() {
        console.say(format_args!("listening on {}", url_of(address)));
    }
    for address in server.datagram_addresses() {
        console.say(format_args!("listening on {}", datagram_url_of(address)));
    }
    let counters = Counters { server: server.handle(), proxy_refusals };
    let stats = options.stats_interval.map(|every| Stats::start(counters, console.clone(), every)).transpose();
    let stats = stats.context("cannot start")?;
    let report = server.wait();
    drop(stats);
    if let Ok(report) = &report {
        tell_cut(&console, report);
    }
    console.flush();
    report.map(drop).context("the server failed")
}

/// The server with all its sockets bound, or nothing bound at all.
fn builder(options: &Options, views: &Views, refusals: &Arc<ProxyRefusals>) -> anyhow::Result<ServerBuilder> {
    let builder = Server::builder()
        .threads(options.threads)
        .pin_threads(options.pin)
        .limits(options.limits())
        .max_connections(options.max_connections.unwrap_or(usize::MAX))
        .shutdown_on_signals(options.shutdown_timeout);
    if options.proxy_protocol {
        let clients = Arc::clone(views.clients());
        let terms = ProxyTerms { timeout: PROXY_HEADER_TIMEOUT, refusals: Arc::clone(refusals) };
        return bind_all(builder, options, Some(terms), move |client| ProxiedEcho::new(client, &clients));
    }
    bind_all(builder, options, None, |_peer| Echo)
}

/// Binds all that is asked for. `make` makes the handlers of stream connections.
fn bind_all<H: Handler>(
    mut builder: ServerBuilder,
    options: &Options,
    proxy_header: Option<ProxyTerms>,
    make: impl Fn(&SocketAddress) -> H + Clone + Send + Sync + 'static,
) -> anyhow::Result<ServerBuilder> {
    let entrance = Entrance {
        options: ListenOptions::default().idle_timeout(options.idle_timeout),
        sharing: options.sharing,
        proxy_header,
    };
    let inherited = inherited::listeners()?;
    for address in options.addresses(!inherited.is_empty()) {
        if address.is_datagram() {
            let datagram_options = datagram_options(&address);
            builder = builder.bind_datagram(address, &datagram_options, |_loop| DatagramEcho)?;
            continue;
        }
        builder = entrance.listen(builder, address, make.clone())?;
    }
    for listener in inherited {
        builder = entrance.listen_on(builder, listener, make.clone());
    }
    Ok(builder)
}

fn url_of(address: &SocketAddress) -> Address {
    match address {
        SocketAddress::Inet(address) => Address::from(*address),
        SocketAddress::Unix(name) => Address::Unix(name.clone()),
    }
}

fn datagram_url_of(address: &SocketAddress) -> Address {
    match address {
        SocketAddress::Inet(address) => Address::Udp((*address).into()),
        SocketAddress::Unix(name) => Address::UnixDatagram(name.clone()),
    }
}

/// A datagram of a Unix socket may be as long as the sender's buffer, by default about as much as this.
fn datagram_options(address: &Address) -> DatagramOptions {
    match address {
        Address::UnixDatagram(_) => DatagramOptions::default().max_size(256 << 10),
        _ => DatagramOptions::default(),
    }
}

fn tell_cut(console: &Console, report: &DrainReport) {
    if report.cut > 0 {
        let connections = if report.cut == 1 { "connection" } else { "connections" };
        console.say(format_args!("cut {} {connections}, {} bytes unsent", report.cut, report.unsent));
    }
}

/// A balancer sends its header at once. This is time for a segment of it to be lost and sent again, twice over.
const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
