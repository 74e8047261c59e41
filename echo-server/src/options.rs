//! The options of `echo-server`.

use std::time::Duration;

use clap::Parser;
use clap_complete::Shell;
use program::sharing::HowToShare;
use program::{cli, logging};
use reactor::{Address, Limits};
use tracing_subscriber::filter::Targets;

/// Send back every byte that comes in, over TCP, UDP and Unix sockets.
#[derive(Parser)]
#[command(name = "echo-server", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// Where to listen: tcp://HOST:PORT, HOST:PORT, udp://HOST:PORT, unix:/path, unix:@name, unix-dgram:/path or
    /// unix-dgram:@name; may be given several times.
    ///
    /// Port 0 picks one. By default tcp://127.0.0.1:7777, or nothing beyond the sockets of LISTEN_FDS.
    #[arg(short, long, value_name = "ADDR", value_parser = cli::address, help_heading = LISTENING)]
    listen: Vec<Address>,

    /// How the threads share a TCP port. Of a UDP port each has a socket of its own, as with reuse-port.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = HowToShare::Exclusive, help_heading = LISTENING)]
    pub(crate) sharing: HowToShare,

    /// Every stream connection begins with a PROXY header (version 1 or 2), in which a load balancer tells its client's address.
    ///
    /// Only for where nobody but the balancer can connect, for anybody else is believed too.
    #[arg(long, help_heading = LISTENING)]
    pub(crate) proxy_protocol: bool,

    /// Connections open at once; the next ones wait in the backlog [default: no limit].
    #[arg(long, value_name = "N", value_parser = cli::positive_count, help_heading = LIMITS)]
    pub(crate) max_connections: Option<usize>,

    /// Close connections on which nothing moves for so long [default: never].
    #[arg(long, value_name = "DUR", value_parser = cli::timeout, help_heading = LIMITS)]
    pub(crate) idle_timeout: Option<Duration>,

    /// After SIGINT or SIGTERM, cut connections that are still open after so long; a second signal cuts them at once.
    #[arg(long, value_name = "DUR", value_parser = cli::duration, default_value = "10s", help_heading = LIMITS)]
    pub(crate) shutdown_timeout: Duration,

    /// Bytes waiting for a peer that does not read, above which it is not read from either.
    #[arg(long, value_name = "SIZE", value_parser = cli::size, default_value = "256KiB", help_heading = LIMITS)]
    max_buffer: usize,

    /// Event loops, each on its own thread [default: one per core].
    #[arg(long, value_name = "N", value_parser = cli::threads, default_value = "0", hide_default_value = true, help_heading = THREADS)]
    pub(crate) threads: usize,

    /// Keep each thread on one core.
    #[arg(long, help_heading = THREADS)]
    pub(crate) pin: bool,

    /// Poll for so long before sleeping, such as 50us: less latency for a busy core [default: off].
    #[arg(long, value_name = "DUR", value_parser = cli::duration, default_value = "0s", hide_default_value = true, help_heading = THREADS)]
    spin: Duration,

    /// Print a line of statistics that often; on a terminal it stays in its place.
    #[arg(long, value_name = "DUR", value_parser = cli::positive_duration, help_heading = OUTPUT)]
    pub(crate) stats_interval: Option<Duration>,

    /// What to log: off, error, warn, info, debug or trace, or TARGET=LEVEL, with commas between [default: $RUST_LOG or info].
    #[arg(long, value_name = "LEVEL", value_parser = logging::filter, help_heading = OUTPUT)]
    pub(crate) log_level: Option<Targets>,

    /// Print the completion script of a shell, and end.
    #[arg(long, value_name = "SHELL", value_enum, help_heading = OUTPUT)]
    pub(crate) completions: Option<Shell>,
}

impl Options {
    /// The addresses to bind. The default is for those who say nothing and pass no socket in.
    pub(crate) fn addresses(&self, has_inherited: bool) -> Vec<Address> {
        if self.listen.is_empty() && !has_inherited {
            return vec![Address::from(std::net::SocketAddr::from(DEFAULT_ADDRESS))];
        }
        self.listen.clone()
    }

    /// The bounds of each loop.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.spin = self.spin;
        limits.high_mark = self.max_buffer;
        limits.low_mark = self.max_buffer / 4;
        // One callback may add a whole read to what waits.
        limits.max_output = limits.max_output.max(self.max_buffer.saturating_add(limits.scratch_max));
        limits
    }
}

const DEFAULT_ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 7777);

const LISTENING: &str = "Listening";
const LIMITS: &str = "Limits";
const THREADS: &str = "Threads";
const OUTPUT: &str = "Output";

const AFTER_HELP: &str = "\
Durations are written as 10s, 500ms or 1m30s, sizes as 64KiB or 1MB.

Each bound socket is told on stderr as `listening on tcp://127.0.0.1:7777`.
Exit codes: 0 ended by a signal, 1 failed, 2 bad arguments.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_go_together() {
        Options::command().debug_assert();
    }

    #[test]
    fn every_buffer_size_makes_limits_that_hold() {
        for size in ["1", "1KiB", "256KiB", "1GiB"] {
            let options = Options::parse_from(["echo-server", "--max-buffer", size]);
            options.limits().check().unwrap();
        }
    }

    #[test]
    fn the_default_address_is_for_those_who_say_nothing() {
        let options = Options::parse_from(["echo-server"]);
        assert_eq!(options.addresses(false)[0].to_string(), "tcp://127.0.0.1:7777");
        assert!(options.addresses(true).is_empty());
    }
}
