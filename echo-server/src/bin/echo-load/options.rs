//! The options of `echo-load`.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use clap::Parser;
use clap_complete::Shell;
use program::{cli, logging};
use reactor::{Address, ConnectOptions};
use tracing_subscriber::filter::Targets;

use crate::pattern::Pattern;
use crate::plan::{Extent, Plan};
use crate::target;

/// Load an echo server, check every byte that comes back, and tell how fast it was.
#[derive(Parser)]
#[command(name = "echo-load", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// The server: tcp://HOST:PORT, HOST:PORT, unix:/path or unix:@name.
    #[arg(value_name = "ADDR", value_parser = cli::stream_address, default_value = "tcp://127.0.0.1:7777")]
    address: Address,

    /// Connections open at once.
    #[arg(short, long, value_name = "N", default_value = "64", help_heading = LOAD)]
    connections: NonZeroU32,

    /// Bytes of a message, such as 64, 4KiB or 1MiB.
    #[arg(short, long, value_name = "SIZE", value_parser = cli::size, default_value = "64", help_heading = LOAD)]
    size: usize,

    /// Messages on their way on one connection at once.
    #[arg(long, value_name = "N", default_value = "1", help_heading = LOAD)]
    depth: NonZeroU32,

    /// Send so many messages a second in all, whether or not the server keeps up, and count latency from the time each
    /// one is due [default: send the next one when one has come back].
    #[arg(short, long, value_name = "N", help_heading = LOAD)]
    rate: Option<NonZeroU64>,

    /// Make a connection for every message: connect, send, receive, close.
    #[arg(long, conflicts_with = "depth", help_heading = LOAD)]
    churn: bool,

    /// Measure for so long.
    #[arg(short, long, value_name = "DUR", value_parser = cli::positive_duration, default_value = "10s", help_heading = EXTENT)]
    duration: Duration,

    /// Measure so many messages, however long that takes.
    #[arg(short, long, value_name = "N", conflicts_with = "duration", help_heading = EXTENT)]
    messages: Option<NonZeroU64>,

    /// Send for so long before measuring [default: 1s, with --messages nothing].
    #[arg(long, value_name = "DUR", value_parser = cli::duration, help_heading = EXTENT)]
    warmup: Option<Duration>,

    /// Event loops, each on its own thread.
    #[arg(long, value_name = "N", default_value = "1", help_heading = CLIENT)]
    threads: NonZeroUsize,

    /// Give up a connection that is not made by then.
    #[arg(long, value_name = "DUR", value_parser = cli::positive_duration, default_value = "5s", help_heading = CLIENT)]
    connect_timeout: Duration,

    /// Connect from this address of this machine.
    #[arg(long, value_name = "IP[:PORT]", value_parser = cli::local_address, help_heading = CLIENT)]
    local_address: Option<SocketAddr>,

    /// Poll for so long before sleeping, such as 1ms: sends a fixed rate more punctually, for a busy core [default: off].
    #[arg(long, value_name = "DUR", value_parser = cli::duration, default_value = "0s", hide_default_value = true, help_heading = CLIENT)]
    spin: Duration,

    /// Print the results as one JSON object.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,

    /// Show no progress bar; one is shown only on a terminal.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) no_progress: bool,

    /// What to log: off, error, warn, info, debug or trace, or TARGET=LEVEL, with commas between [default: $RUST_LOG or warn].
    #[arg(long, value_name = "LEVEL", value_parser = logging::filter, help_heading = OUTPUT)]
    pub(crate) log_level: Option<Targets>,

    /// Print the completion script of a shell, and end.
    #[arg(long, value_name = "SHELL", value_enum, help_heading = OUTPUT)]
    pub(crate) completions: Option<Shell>,
}

impl Options {
    /// What is wrong with the options together, if anything is.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let in_flight = self.size.saturating_mul(self.depth.get() as usize);
        if in_flight > MAX_IN_FLIGHT {
            return Some(format!(
                "--size times --depth is {in_flight} bytes on one connection at once; write at most {MAX_IN_FLIGHT}"
            ));
        }
        if self.span().is_none() {
            return Some("--warmup and --duration are longer than a century".to_owned());
        }
        let local = self.local_address?;
        if matches!(self.address, Address::Unix(_)) {
            return Some("--local-address is for TCP; a Unix socket has none".to_owned());
        }
        if local.port() != 0 && (self.connections.get() > 1 || self.churn) {
            return Some(format!("only one connection can use port {}; leave the port out", local.port()));
        }
        None
    }

    /// The plan, with the address looked up.
    ///
    /// # Errors
    /// The address cannot be found.
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        let connect = ConnectOptions::default().deadline(self.connect_timeout);
        let connections = self.connections.get() as usize;
        Ok(Plan {
            target: self.address.to_string(),
            address: target::choose(&self.address, self.local_address, self.connect_timeout)?,
            connect: self.local_address.into_iter().fold(connect, ConnectOptions::local),
            pattern: Pattern::new(self.size),
            connections,
            threads: self.threads.get().min(connections),
            depth: self.depth.get() as usize,
            churn: self.churn,
            rate: self.rate.map(NonZeroU64::get),
            warmup: self.warmup(),
            extent: self.extent(),
            spin: self.spin,
        })
    }

    /// What ends the run.
    pub(crate) fn extent(&self) -> Extent {
        self.messages.map_or(Extent::Time(self.duration), |messages| Extent::Messages(messages.get()))
    }

    fn warmup(&self) -> Duration {
        let default = if self.messages.is_some() { Duration::ZERO } else { Duration::from_secs(1) };
        self.warmup.unwrap_or(default)
    }

    /// How long all takes, if that is no longer than the clock can tell.
    fn span(&self) -> Option<Duration> {
        self.warmup().checked_add(self.duration).filter(|span| *span <= A_CENTURY)
    }
}

/// What may be on its way on one connection: it has to fit in memory, connections times.
const MAX_IN_FLIGHT: usize = 256 << 20;

const A_CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

const LOAD: &str = "Load";
const EXTENT: &str = "Extent";
const CLIENT: &str = "Client";
const OUTPUT: &str = "Output";

const AFTER_HELP: &str = "\
Without --rate a stalled server also stalls the sending, which hides the stall (\"coordinated omission\"). With --rate \
messages go on falling due, and the latency of each counts from then.

Ctrl-C ends the run early, with its results; a second one does not wait for what is on its way.

Exit codes: 0 all came back right; 1 a byte was wrong, a connection failed or broke, or a message was not answered; \
2 bad arguments.";
