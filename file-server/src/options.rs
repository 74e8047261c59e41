//! The options of `file-server`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, ValueEnum};
use clap_complete::Shell;
use file_server::access_log::Format;
use file_server::http::cors::AllowedOrigins;
use file_server::memory::Memory;
use file_server::root::{Access, Root};
use file_server::settings::{Answers, Caching, Check, Settings, Timeouts, Uploads};
use file_server::storage::{Fsync, Storage, StorageOptions};
use file_server::users::Users;
use program::sharing::HowToShare;
use program::{cli, logging};
use reactor::Address;
use tracing_subscriber::filter::Targets;

/// Serve a directory over HTTP, and receive files.
#[derive(Parser)]
#[command(name = "file-server", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// The directory to serve.
    #[arg(value_name = "ROOT", default_value = ".", hide_default_value = true)]
    pub(crate) root: PathBuf,

    /// Where to serve HTTP: HOST:PORT, tcp://HOST:PORT, unix:/path or unix:@name; may be given several times.
    ///
    /// Port 0 picks one. By default 127.0.0.1:8080, or nothing beyond the sockets of LISTEN_FDS.
    #[arg(short, long, value_name = "ADDR", value_parser = cli::stream_address, help_heading = LISTENING)]
    listen: Vec<Address>,

    /// Where to receive files by the struct upload protocol, which is itself the permission to upload there; may be given
    /// several times.
    #[arg(long, value_name = "ADDR", value_parser = cli::stream_address, help_heading = LISTENING)]
    pub(crate) struct_listen: Vec<Address>,

    /// Where to tell Prometheus metrics, at /metrics, and whether all is well, at /health.
    #[arg(long, value_name = "ADDR", value_parser = cli::stream_address, help_heading = LISTENING)]
    pub(crate) metrics_listen: Vec<Address>,

    /// How the threads share a TCP port, of HTTP and of the struct upload protocol.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = HowToShare::Exclusive, help_heading = LISTENING)]
    pub(crate) sharing: HowToShare,

    /// Every connection of HTTP and of the struct upload protocol begins with a PROXY header (version 1 or 2), in which a load
    /// balancer tells its client's address.
    ///
    /// Only for where nobody but the balancer can connect, for anybody else is believed too.
    #[arg(long, help_heading = LISTENING)]
    pub(crate) proxy_protocol: bool,

    /// A file that answers for its directory, the first that exists; may be given several times [default: index.html].
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), help_heading = ANSWERS)]
    index: Vec<String>,

    /// Do not look for index files.
    #[arg(long, conflicts_with = "index", help_heading = ANSWERS)]
    no_index: bool,

    /// Answer names that do not exist with the index of the root, for applications that route in the browser.
    #[arg(long, help_heading = ANSWERS)]
    spa: bool,

    /// Do not list directories.
    #[arg(long, help_heading = ANSWERS)]
    no_listing: bool,

    /// Do not look for NAME.br, NAME.zst and NAME.gz to send in place of NAME.
    #[arg(long, help_heading = ANSWERS)]
    no_precompressed: bool,

    /// The Cache-Control header of answers, such as "public, max-age=3600" [default: none].
    #[arg(long, value_name = "VALUE", value_parser = header_value, help_heading = ANSWERS)]
    cache_control: Option<String>,

    /// An origin such as https://example.org whose pages may read the answers, or * for all; may be given several times
    /// [default: none].
    #[arg(long, value_name = "ORIGIN", value_parser = origin, num_args = 0..=1, default_missing_value = "*", help_heading = ANSWERS)]
    cors: Vec<String>,

    /// Follow symlinks that lead out of ROOT.
    #[arg(long, help_heading = ACCESS)]
    follow_symlinks: bool,

    /// Serve names that begin with a dot. /.well-known is always served.
    #[arg(long, help_heading = ACCESS)]
    hidden: bool,

    /// Store what is sent by PUT.
    #[arg(long, help_heading = ACCESS)]
    allow_upload: bool,

    /// Remove files by DELETE.
    #[arg(long, help_heading = ACCESS)]
    allow_delete: bool,

    /// Serve only users whose names and password hashes are in this file, as made by `htpasswd -B` and `openssl passwd -6`.
    #[arg(long, value_name = "FILE", help_heading = ACCESS)]
    auth_file: Option<PathBuf>,

    /// Serve only this user and those of other such options; the hash is of bcrypt or SHA-crypt.
    #[arg(long, value_name = "USER:HASH", help_heading = ACCESS)]
    auth: Vec<String>,

    /// When a stored file is forced onto the disk.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Fsync::Never, help_heading = ACCESS)]
    fsync: Fsync,

    /// Reserve the space of an upload whose size is known before its first byte comes.
    #[arg(long, help_heading = ACCESS)]
    preallocate: bool,

    /// How the server learns that a file it keeps has changed. With stat every request asks the disk: for files that are
    /// changed through mmap, or by other machines.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = HowToCheck::Watch, help_heading = CACHING)]
    cache_check: HowToCheck,

    /// Files kept open by each thread.
    #[arg(long, value_name = "N", value_parser = cli::positive_count, default_value = "1024", help_heading = CACHING)]
    cache_files: usize,

    /// Bytes of small files that each thread keeps.
    #[arg(long, value_name = "SIZE", value_parser = cli::size, default_value = "64MiB", help_heading = CACHING)]
    cache_size: usize,

    /// Look again at a file after so long, even if nothing was told of it.
    #[arg(long, value_name = "DUR", value_parser = cli::duration, default_value = "60s", help_heading = CACHING)]
    cache_max_age: Duration,

    /// Connections open at once; the next ones wait in the backlog [default: no limit].
    #[arg(long, value_name = "N", value_parser = cli::positive_count, help_heading = LIMITS)]
    pub(crate) max_connections: Option<usize>,

    /// Connections of one address (IPv6: of one /64 network) at once; the next ones are told to come later [default: no limit].
    #[arg(long, value_name = "N", value_parser = cli::positive_count, help_heading = LIMITS)]
    max_connections_per_address: Option<usize>,

    /// Bytes a second that one connection is sent at most [default: no limit].
    #[arg(long, value_name = "SIZE", value_parser = cli::size, help_heading = LIMITS)]
    bandwidth: Option<usize>,

    /// Bytes of one upload at most [default: no limit].
    #[arg(long, value_name = "SIZE", value_parser = cli::size, help_heading = LIMITS)]
    max_upload_size: Option<usize>,

    /// Memory for uploads on their way to the disk; when it is short, each gets less of it.
    #[arg(long, value_name = "SIZE", value_parser = cli::size, default_value = "64MiB", help_heading = LIMITS)]
    upload_memory: usize,

    /// Memory of each thread for listings that clients have yet to take; when it is used up, listings get 503.
    #[arg(long, value_name = "SIZE", value_parser = cli::size, default_value = "64MiB", help_heading = LIMITS)]
    listing_memory: usize,

    /// Close a connection whose request has not come so long after its first byte.
    #[arg(long, value_name = "DUR", value_parser = cli::timeout, default_value = "10s", help_heading = LIMITS)]
    header_timeout: Duration,

    /// Close a connection that sends nothing more of a body for so long.
    #[arg(long, value_name = "DUR", value_parser = cli::timeout, default_value = "60s", help_heading = LIMITS)]
    body_timeout: Duration,

    /// Close a connection that takes nothing more of an answer for so long.
    #[arg(long, value_name = "DUR", value_parser = cli::timeout, default_value = "60s", help_heading = LIMITS)]
    write_timeout: Duration,

    /// Close a connection that asks for nothing more for so long.
    #[arg(long, value_name = "DUR", value_parser = cli::timeout, default_value = "60s", help_heading = LIMITS)]
    keep_alive_timeout: Duration,

    /// After SIGINT or SIGTERM, cut connections that are still open after so long; a second signal cuts them at once.
    #[arg(long, value_name = "DUR", value_parser = cli::duration, default_value = "10s", help_heading = LIMITS)]
    pub(crate) shutdown_timeout: Duration,

    /// Event loops, each on its own thread [default: one per core].
    #[arg(long, value_name = "N", value_parser = cli::threads, default_value = "0", hide_default_value = true, help_heading = THREADS)]
    pub(crate) threads: usize,

    /// Keep each thread on one core.
    #[arg(long, help_heading = THREADS)]
    pub(crate) pin: bool,

    /// Threads for what waits for a disk.
    #[arg(long, value_name = "N", value_parser = workers, default_value = "16", help_heading = THREADS)]
    pub(crate) workers: usize,

    /// Write a line for each request to a file, which is opened anew on SIGHUP, or to stdout with -.
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(crate) access_log: Option<PathBuf>,

    /// How these lines look.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Combined, help_heading = OUTPUT)]
    pub(crate) access_log_format: LogFormat,

    /// What to log on stderr: off, error, warn, info, debug or trace, or TARGET=LEVEL, with commas between [default: $RUST_LOG or info].
    #[arg(long, value_name = "LEVEL", value_parser = logging::filter, help_heading = OUTPUT)]
    pub(crate) log_level: Option<Targets>,

    /// Print the completion script of a shell, and end.
    #[arg(long, value_name = "SHELL", value_enum, help_heading = OUTPUT)]
    pub(crate) completions: Option<Shell>,

    /// Print the man page, and end.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) man: bool,
}

/// How the cache learns of changes, as options name it.
#[derive(Clone, Copy, ValueEnum)]
enum HowToCheck {
    /// The kernel tells, by inotify.
    Watch,
    /// Every request asks the disk.
    Stat,
}

/// The forms of the access log, as options name them.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// Common Log Format.
    Common,
    /// The same, with referrer and browser.
    Combined,
    /// An object a line.
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Common => Self::Common,
            LogFormat::Combined => Self::Combined,
            LogFormat::Json => Self::Json,
        }
    }
}

impl Options {
    /// The addresses to serve HTTP on. The default is for those who say nothing and pass no socket in.
    pub(crate) fn addresses(&self, has_inherited: bool) -> Vec<Address> {
        if self.listen.is_empty() && !has_inherited {
            return vec![Address::from(SocketAddr::from(DEFAULT_ADDRESS))];
        }
        self.listen.clone()
    }

    /// What is served and how, with the root open.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let access = Access { follow_symlinks: self.follow_symlinks, hidden: self.hidden };
        let root = Root::open(&self.root, access).with_context(|| format!("cannot serve {}", self.root.display()))?;
        Ok(Settings {
            root: Arc::new(root),
            storage: Arc::new(Storage::new(StorageOptions { fsync: self.fsync, preallocate: self.preallocate })),
            memory: Memory::new(self.upload_memory),
            users: self.users()?.map(Arc::new),
            answers: self.answers(),
            uploads: Uploads {
                allow_upload: self.allow_upload,
                allow_delete: self.allow_delete,
                max_size: self.max_upload_size.map(|size| size as u64),
            },
            timeouts: self.timeouts(),
            caching: self.caching(),
            connections_per_address: self.max_connections_per_address.unwrap_or(0),
            bandwidth: self.bandwidth.unwrap_or(0) as u64,
        })
    }

    /// Those who are served, if not everybody is.
    fn users(&self) -> anyhow::Result<Option<Users>> {
        if self.auth.is_empty() && self.auth_file.is_none() {
            return Ok(None);
        }
        let mut text = self.auth.join("\n");
        if let Some(path) = &self.auth_file {
            let told = || format!("cannot read users from {}", path.display());
            let lines = std::fs::read_to_string(path).with_context(told)?;
            Users::parse(&lines).with_context(told)?;
            text = format!("{text}\n{lines}");
        }
        Users::parse(&text).map(Some).context("cannot use the users of --auth")
    }

    /// Whether anything may be stored here, over any protocol.
    pub(crate) fn stores(&self) -> bool {
        self.allow_upload || !self.struct_listen.is_empty()
    }

    fn answers(&self) -> Answers {
        let index = match self.index.as_slice() {
            [] if self.no_index => Vec::new(),
            [] => Answers::default().index,
            names => names.to_vec(),
        };
        Answers {
            index,
            spa: self.spa,
            listing: !self.no_listing,
            listing_memory: self.listing_memory,
            precompressed: !self.no_precompressed,
            cache_control: self.cache_control.clone(),
            cors: self.cors(),
        }
    }

    fn cors(&self) -> Option<AllowedOrigins> {
        match self.cors.as_slice() {
            [] => None,
            origins if origins.iter().any(|origin| origin == "*") => Some(AllowedOrigins::Any),
            origins => Some(AllowedOrigins::Listed(origins.to_vec())),
        }
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts {
            header: self.header_timeout,
            body: self.body_timeout,
            write: self.write_timeout,
            keep_alive: self.keep_alive_timeout,
        }
    }

    fn caching(&self) -> Caching {
        let check = match self.cache_check {
            HowToCheck::Watch => Check::Watch,
            HowToCheck::Stat => Check::Stat,
        };
        Caching { check, files: self.cache_files, bytes: self.cache_size, max_age: self.cache_max_age }
    }
}

/// What goes into a header as it is, and must not end it.
fn header_value(text: &str) -> Result<String, String> {
    let is_text = |byte: u8| matches!(byte, b' '..=b'~');
    if text.trim().is_empty() || !text.bytes().all(is_text) {
        return Err("write what a header may hold: printable ASCII".to_owned());
    }
    Ok(text.trim().to_owned())
}

/// An origin as browsers write it, or `*`. What is not one may be the directory that was meant to be served.
fn origin(text: &str) -> Result<String, String> {
    let is_host = |host: &str| !host.is_empty() && !host.contains('/');
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| !scheme.is_empty() && is_host(host));
    match header_value(text)? {
        origin if is_origin || matches!(text, "*" | "null") => Ok(origin),
        _ => Err("write an origin such as https://example.org, or * for all, as in --cors=* DIRECTORY".to_owned()),
    }
}

fn workers(text: &str) -> Result<usize, String> {
    match cli::threads(text)? {
        0 => Err("it must be at least 1".to_owned()),
        count => Ok(count),
    }
}

const DEFAULT_ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);

const LISTENING: &str = "Listening";
const ANSWERS: &str = "Answers";
const ACCESS: &str = "Access";
const CACHING: &str = "Caching";
const LIMITS: &str = "Limits";
const THREADS: &str = "Threads";
const OUTPUT: &str = "Output";

const AFTER_HELP: &str = "\
Durations are written as 10s, 500ms or 1m30s, sizes as 64KiB or 1MB.

Each bound socket is told on stderr as `listening on http://127.0.0.1:8080`.
Exit codes: 0 ended by a signal, 1 failed, 2 bad arguments.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Options {
        Options::parse_from([&["file-server"], arguments].concat())
    }

    #[test]
    fn options_go_together() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_default_address_is_for_those_who_say_nothing() {
        assert_eq!(parse(&[]).addresses(false)[0].to_string(), "tcp://127.0.0.1:8080");
        assert!(parse(&[]).addresses(true).is_empty());
    }

    #[test]
    fn nothing_that_ends_a_header_gets_into_one() {
        assert_eq!(parse(&["--cors"]).answers().cors, Some(AllowedOrigins::Any));
        for origin in ["https://example.org", "http://[::1]:8080", "*", "null"] {
            assert!(Options::try_parse_from(["file-server", "--cors", origin]).is_ok(), "{origin}");
        }
        for bad in ["./public", "public", "/srv", "https://", "https://a/", "://a", "https://a\r\nb", "https://ü"] {
            assert!(Options::try_parse_from(["file-server", "--cors", bad]).is_err(), "{bad}");
        }
        for bad in ["", " ", "a\r\nb", "ü"] {
            assert!(Options::try_parse_from(["file-server", "--cache-control", bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn index_files_are_chosen_or_none() {
        assert_eq!(parse(&[]).answers().index, ["index.html"]);
        assert_eq!(parse(&["--index", "a", "--index", "b"]).answers().index, ["a", "b"]);
        assert!(parse(&["--no-index"]).answers().index.is_empty());
    }
}
