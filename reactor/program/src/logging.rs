//! Logs of the program and of the library, filtered by target and level, as lines on the console.

use std::env;
use std::fmt::{Debug, Write};
use std::panic;
use std::str::FromStr;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;

use crate::console::Console;

/// Sends all logs to the console, those of the `log` crate and the messages of panics among them.
///
/// What is shown is what the option says, else what `RUST_LOG` says, else `default` and above. To be called once.
pub fn start(console: &Console, option: Option<Targets>, default: LevelFilter) {
    let (filter, complaint) = choose(option, env::var("RUST_LOG").ok().as_deref(), default);
    let most = filter.iter().map(|(_, level)| level).chain(filter.default_level()).max().unwrap_or(LevelFilter::OFF);
    let lines = Lines { console: console.clone(), filter, most };
    log::set_max_level(log_level_filter(most));
    // A second call finds the logs of the first one in place, which is as good.
    let _ = log::set_boxed_logger(Box::new(lines.clone()));
    let _ = tracing::subscriber::set_global_default(lines);
    // The usual hook writes to stderr itself, and would wait for a pipe that nobody reads.
    panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
}

/// Reads a filter: a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or `TARGET=LEVEL`, or several of them with
/// commas between.
///
/// # Errors
/// Names the part that is neither.
pub fn filter(text: &str) -> Result<Targets, String> {
    for part in text.split(',') {
        let (_, level) = part.rsplit_once('=').unwrap_or(("", part));
        if level.is_empty() || LevelFilter::from_str(level).is_err() {
            return Err(format!("{level:?} is no level; write off, error, warn, info, debug or trace"));
        }
    }
    text.parse().map_err(|error| format!("{error}; write a LEVEL or TARGET=LEVEL"))
}

/// The filter to use, and what is wrong with the environment.
fn choose(option: Option<Targets>, variable: Option<&str>, default: LevelFilter) -> (Targets, Option<String>) {
    let fallback = Targets::new().with_default(default);
    match (option, variable) {
        (Some(option), _) => (option, None),
        (None, None | Some("")) => (fallback, None),
        (None, Some(text)) => match filter(text) {
            Ok(filter) => (filter, None),
            Err(error) => (fallback, Some(format!("RUST_LOG is ignored: {error}"))),
        },
    }
}

/// Makes a line of each event. The programs have no spans, so there is no registry of them, which would be a tenth of the
/// memory of a server that idles.
#[derive(Clone)]
struct Lines {
    console: Console,
    filter: Targets,
    most: LevelFilter,
}

impl Lines {
    /// What a peer or a file name put into a message stays on its line, and out of the terminal's control.
    fn say(&self, level: Level, target: &str, message: &str) {
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        let mut line = format!("{time} {level:>5} {target}: ");
        for char in message.chars() {
            match char.is_control() {
                true => line.extend(char.escape_default()),
                false => line.push(char),
            }
        }
        self.console.say(line);
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // `tracing::enabled!` asks about what is neither a span nor an event.
        !metadata.is_span() && self.filter.would_enable(metadata.target(), metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.say(*event.metadata().level(), event.metadata().target(), &message.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl log::Log for Lines {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.filter.would_enable(metadata.target(), &level_of(metadata.level()))
    }

    fn log(&self, record: &log::Record<'_>) {
        if log::Log::enabled(self, record.metadata()) {
            self.say(level_of(record.level()), record.target(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// The text of an event: its message, and its other fields behind that.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        // A string takes all that is written to it.
        let _ = match field.name() {
            "message" => write!(self.0, "{space}{value:?}"),
            name => write!(self.0, "{space}{name}={value:?}"),
        };
    }
}

fn level_of(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::ERROR,
        log::Level::Warn => Level::WARN,
        log::Level::Info => Level::INFO,
        log::Level::Debug => Level::DEBUG,
        log::Level::Trace => Level::TRACE,
    }
}

fn log_level_filter(filter: LevelFilter) -> log::LevelFilter {
    match filter.into_level() {
        None => log::LevelFilter::Off,
        Some(Level::ERROR) => log::LevelFilter::Error,
        Some(Level::WARN) => log::LevelFilter::Warn,
        Some(Level::INFO) => log::LevelFilter::Info,
        Some(Level::DEBUG) => log::LevelFilter::Debug,
        Some(Level::TRACE) => log::LevelFilter::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_filter_is_a_level_or_a_target_with_one() {
        assert!(filter("debug").unwrap().would_enable("any", &Level::DEBUG));
        let mixed = filter("warn,reactor=trace").unwrap();
        assert!(mixed.would_enable("reactor::server", &Level::TRACE));
        assert!(!mixed.would_enable("other", &Level::INFO));
        for bad in ["", "verbose", "reactor=loud", "info,,"] {
            assert!(filter(bad).unwrap_err().contains("is no level"), "{bad}");
        }
    }

    #[test]
    fn the_option_wins_over_the_environment() {
        let option = filter("error").ok();
        let (chosen, complaint) = choose(option, Some("trace"), LevelFilter::INFO);
        assert!(!chosen.would_enable("any", &Level::WARN));
        assert_eq!(complaint, None);
    }

    #[test]
    fn a_bad_environment_is_told_and_does_not_stop_a_service() {
        let (chosen, complaint) = choose(None, Some("loud"), LevelFilter::INFO);
        assert!(chosen.would_enable("any", &Level::INFO));
        assert!(complaint.unwrap().contains("RUST_LOG is ignored"));
    }
}
