//! The options of `file-client`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use program::{cli, logging};
use tracing_subscriber::filter::Targets;

/// Put files to a server and get them from one, over HTTP and the struct upload protocol.
#[derive(Parser)]
#[command(name = "file-client", version, max_term_width = 100, after_help = AFTER_HELP, subcommand_negates_reqs = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Transfers at once, each on a connection of its own.
    #[arg(short, long, global = true, value_name = "N", value_parser = cli::positive_count, default_value = "4", help_heading = TRANSFER)]
    pub(crate) jobs: usize,

    /// Try again so often what fails for a reason that may pass, each time later.
    #[arg(long, global = true, value_name = "N", default_value = "3", help_heading = TRANSFER)]
    pub(crate) retries: u32,

    /// Wait so long before the first new try, twice as long before the second one and so on, at most 10s.
    #[arg(long, global = true, value_name = "DUR", value_parser = cli::duration, default_value = "500ms", help_heading = TRANSFER)]
    pub(crate) retry_delay: Duration,

    /// Give up a connection that is not made by then.
    #[arg(long, global = true, value_name = "DUR", value_parser = cli::positive_duration, default_value = "10s", help_heading = TRANSFER)]
    pub(crate) connect_timeout: Duration,

    /// Give up a connection on which nothing moves for so long.
    #[arg(long, global = true, value_name = "DUR", value_parser = cli::timeout, default_value = "60s", help_heading = TRANSFER)]
    pub(crate) timeout: Duration,

    /// Tell each result as a line of JSON on stdout.
    #[arg(long, global = true, help_heading = OUTPUT)]
    pub(crate) json: bool,

    /// Tell of failures only, and show no progress.
    #[arg(short, long, global = true, help_heading = OUTPUT)]
    pub(crate) quiet: bool,

    /// What to log: off, error, warn, info, debug or trace, or TARGET=LEVEL, with commas between [default: $RUST_LOG or warn].
    #[arg(long, global = true, value_name = "LEVEL", value_parser = logging::filter, help_heading = OUTPUT)]
    pub(crate) log_level: Option<Targets>,

    /// Print the completion script of a shell, and end.
    #[arg(long, value_name = "SHELL", value_enum, help_heading = OUTPUT)]
    pub(crate) completions: Option<Shell>,

    /// Print the man page, and end.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) man: bool,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Send files, and directories with all that is in them.
    ///
    /// To a URL that ends with a slash each goes under its own name. Directories are for HTTP only.
    Put(Put),
    /// Fetch files, and directories (URLs that end with a slash) with all that is in them.
    ///
    /// What was fetched in part is in NAME.part, and is gone on with.
    Get(Get),
    /// List directories.
    Ls(Ls),
}

#[derive(Args)]
pub(crate) struct Put {
    /// What to send.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Where to: http://HOST:PORT/PATH or struct://HOST:PORT, or http+unix://SOCKET/PATH or struct+unix://SOCKET.
    #[arg(value_name = "URL", required = true)]
    pub(crate) url: String,

    /// Have the server check what it gets (Content-Digest with SHA-256); each file is read twice.
    #[arg(long)]
    pub(crate) checksum: bool,

    /// Leave alone what is there already: it is a failure.
    #[arg(long)]
    pub(crate) no_replace: bool,
}

#[derive(Args)]
pub(crate) struct Get {
    /// What to fetch.
    #[arg(value_name = "URL", required = true)]
    pub(crate) urls: Vec<String>,

    /// The file to write to, or - for stdout, or the directory: one that exists, or a PATH that ends with a slash [default: the present
    /// directory].
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,

    /// What the SHA-256 of the one file has to be, in hexadecimal.
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    pub(crate) sha256: Option<[u8; 32]>,

    /// Fetch all of it, whatever is here in part.
    #[arg(long)]
    pub(crate) no_resume: bool,
}

#[derive(Args)]
pub(crate) struct Ls {
    /// What to list.
    #[arg(value_name = "URL", required = true)]
    pub(crate) urls: Vec<String>,
}

impl Options {
    /// The options of a put, if it is one.
    pub(crate) fn put(&self) -> Option<&Put> {
        match &self.command {
            Some(Command::Put(put)) => Some(put),
            _ => None,
        }
    }

    /// The options of a get, if it is one.
    pub(crate) fn get(&self) -> Option<&Get> {
        match &self.command {
            Some(Command::Get(get)) => Some(get),
            _ => None,
        }
    }
}

fn sha256(text: &str) -> Result<[u8; 32], String> {
    let flaw = || "write 64 hexadecimal digits".to_owned();
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(flaw());
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| flaw())?;
    }
    Ok(digest)
}

const TRANSFER: &str = "Transfer";
const OUTPUT: &str = "Output";

const AFTER_HELP: &str = "\
Durations are written as 10s, 500ms or 1m30s. A user and a password may stand in a URL: http://USER:PASSWORD@HOST/. The
name of a Unix socket stands in the place of the host, with its slashes as %2F: http+unix://%2Frun%2Ffiles.sock/.

Exit codes: 0 all was done, 1 something failed (each failure is a line on stderr), 2 bad arguments, 130 and 143 ended by
SIGINT and SIGTERM.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_go_together() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_digest_is_64_digits() {
        assert_eq!(sha256(&"0f".repeat(32)), Ok([15; 32]));
        for bad in ["", "0f", &"0g".repeat(32), &"ä".repeat(32), &"+f".repeat(32)] {
            assert!(sha256(bad).is_err(), "{bad}");
        }
    }
}
