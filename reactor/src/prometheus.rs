//! Metrics as text that Prometheus reads: the text exposition format, version 0.0.4.

use std::fmt::{self, Write};

use crate::histogram::Histogram;
use crate::metrics::{Closed, Datagrams, Metrics};

/// The metrics of loops as Prometheus reads them, each with the label `loop`, its place in the slice; names begin with
/// `prefix` and an underscore. It is to be served as `text/plain; version=0.0.4`.
///
/// The prefix is to be made of letters, digits and underscores, and to begin with a letter.
///
/// ```
/// use reactor::{Metrics, prometheus_text};
///
/// let mut metrics = Metrics::default();
/// metrics.open = 3;
/// let text = prometheus_text("chat", &[metrics]);
/// assert!(text.contains("# TYPE chat_connections gauge\nchat_connections{loop=\"0\"} 3\n"));
/// ```
#[must_use]
pub fn prometheus_text(prefix: &str, loops: &[Metrics]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut text, prefix, loops);
    text
}

fn write_all(out: &mut String, prefix: &str, loops: &[Metrics]) -> fmt::Result {
    for family in FAMILIES {
        let Family { name, help, kind, .. } = family;
        writeln!(out, "# HELP {prefix}_{name} {help}\n# TYPE {prefix}_{name} {kind}")?;
        for (index, metrics) in loops.iter().enumerate() {
            for (label, value) in (family.values)(metrics) {
                writeln!(out, "{prefix}_{name}{{loop=\"{index}\"{label}}} {value}")?;
            }
        }
    }
    for (name, help, histogram) in HISTOGRAMS {
        writeln!(out, "# HELP {prefix}_{name} {help}\n# TYPE {prefix}_{name} histogram")?;
        for (index, metrics) in loops.iter().enumerate() {
            write_histogram(out, &format!("{prefix}_{name}"), index, &histogram(metrics))?;
        }
    }
    Ok(())
}

fn write_histogram(out: &mut String, name: &str, index: usize, histogram: &Histogram) -> fmt::Result {
    let mut below = 0;
    let mut buckets = histogram.buckets().peekable();
    while let Some((bound, count)) = buckets.next() {
        below += count;
        let last = buckets.peek().is_none();
        let bound = if last { "+Inf".to_owned() } else { bound.as_secs_f64().to_string() };
        writeln!(out, "{name}_bucket{{loop=\"{index}\",le=\"{bound}\"}} {below}")?;
    }
    writeln!(out, "{name}_sum{{loop=\"{index}\"}} {}", histogram.sum().as_secs_f64())?;
    writeln!(out, "{name}_count{{loop=\"{index}\"}} {below}")
}

/// Figures under one name.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    /// The labels beside the loop's, and the value.
    values: fn(&Metrics) -> Vec<(&'static str, Value)>,
}

enum Value {
    Count(u64),
    Seconds(f64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Seconds(seconds) => seconds.fmt(f),
        }
    }
}

macro_rules! families {
    ($($kind:ident $name:literal $help:literal $values:expr;)*) => {
        &[$(Family { name: $name, help: $help, kind: stringify!($kind), values: $values }),*]
    };
}

const FAMILIES: &[Family] = families! {
    gauge "connections" "Connections open now." |m| count(m.open);
    counter "accepted_total" "Connections accepted." |m| count(m.accepted);
    counter "connected_total" "Outgoing connections that were made." |m| count(m.connected);
    counter "refused_total" "Clients turned away for want of descriptors, memory or a handler." |m| count(m.refused);
    counter "closed_total" "Connections and datagram sockets that ended, by reason." |m| closed(m.closed);
    gauge "lingering" "Closed connections that wait for the peer's end." |m| count(m.lingering);
    counter "received_bytes_total" "Bytes received on connections." |m| count(m.bytes_in);
    counter "sent_bytes_total" "Bytes that the kernel took for sending." |m| count(m.bytes_out);
    gauge "buffered_bytes" "Bytes that wait in the loop." |m| count(m.buffered);
    gauge "pending" "Sources that stopped before all was read, and go on next turn." |m| count(m.pending);
    counter "turns_total" "Turns of the loop." |m| count(m.turns);
    counter "events_total" "Events the kernel told." |m| count(m.events);
    counter "wakeups_total" "Times a message of another thread woke the loop." |m| count(m.wakeups);
    counter "messages_total" "Messages of other threads." |m| count(m.messages);
    gauge "timers" "Timers and tasks that wait." |m| count(m.timers);
    counter "panics_total" "Callbacks that panicked." |m| count(m.panics);
    counter "accept_shortages_total" "Shortages that accepting met." |m| count(m.accept_shortages);
    gauge "jobs" "Blocking jobs." |m| vec![
        (",state=\"waiting\"", Value::Count(m.jobs_waiting)),
        (",state=\"running\"", Value::Count(m.jobs_running)),
    ];
    counter "jobs_done_total" "Blocking jobs that have ended." |m| count(m.jobs_done);
    gauge "datagram_sockets" "Datagram sockets open now." |m| count(m.datagrams.sockets);
    counter "datagrams_total" "Datagrams, by what became of them." |m| datagrams(m.datagrams);
    counter "datagram_callbacks_failed_total" "Callbacks of datagram sockets that failed." |m| count(m.datagrams.failed);
    gauge "sources" "Other descriptors that are watched now." |m| count(m.sources);
    counter "sources_failed_total" "Sources that ended by an error or a panic." |m| count(m.sources_failed);
    counter "busy_seconds_total" "Time in callbacks and in the calls they lead to." |m| seconds(m.busy);
    counter "waited_seconds_total" "Time in which the loop waited for the kernel." |m| seconds(m.waited);
    gauge "longest_callback_seconds" "The longest callback." |m| seconds(m.longest_callback);
};

/// A name, what it says, and where it is found.
type HistogramFamily = (&'static str, &'static str, fn(&Metrics) -> Histogram);

const HISTOGRAMS: &[HistogramFamily] = &[
    ("turn_seconds", "How long turns took from wake-up to the next wait: how late the loop may be.", |m| m.turn_times),
    ("callback_seconds", "How long stretches of at most 32 callbacks took.", |m| m.callback_times),
];

fn count(value: u64) -> Vec<(&'static str, Value)> {
    vec![("", Value::Count(value))]
}

fn seconds(value: std::time::Duration) -> Vec<(&'static str, Value)> {
    vec![("", Value::Seconds(value.as_secs_f64()))]
}

fn closed(closed: Closed) -> Vec<(&'static str, Value)> {
    let Closed { eof, closed, aborted, error, connect_failed, timeout, overflow, shutdown, cut, panic } = closed;
    let values = [
        (",reason=\"eof\"", eof),
        (",reason=\"closed\"", closed),
        (",reason=\"aborted\"", aborted),
        (",reason=\"error\"", error),
        (",reason=\"connect_failed\"", connect_failed),
        (",reason=\"timeout\"", timeout),
        (",reason=\"overflow\"", overflow),
        (",reason=\"shutdown\"", shutdown),
        (",reason=\"cut\"", cut),
        (",reason=\"panic\"", panic),
    ];
    values.map(|(label, value)| (label, Value::Count(value))).into()
}

fn datagrams(datagrams: Datagrams) -> Vec<(&'static str, Value)> {
    let Datagrams { sockets: _, received, truncated, sent, dropped, errors, failed: _ } = datagrams;
    let values = [
        (",event=\"received\"", received),
        (",event=\"truncated\"", truncated),
        (",event=\"sent\"", sent),
        (",event=\"dropped\"", dropped),
        (",event=\"error\"", errors),
    ];
    values.map(|(label, value)| (label, Value::Count(value))).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::time::Duration;

    #[test]
    fn every_family_is_told_once_with_help_type_and_a_value_for_each_loop() {
        let text = prometheus_text("app", &[Metrics::default(), Metrics::default()]);
        let mut names = HashSet::new();
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            let name = line.split(' ').nth(2).unwrap();
            assert!(names.insert(name), "{name} twice");
            assert!(text.contains(&format!("# HELP {name} ")), "{name} without help");
            for index in ["0", "1"] {
                let has = |line: &str| line.starts_with(name) && line.contains(&format!("{{loop=\"{index}\""));
                assert!(text.lines().any(has), "{name} of loop {index}");
            }
        }
        assert_eq!(names.len(), FAMILIES.len() + HISTOGRAMS.len());
    }

    /// Each figure is one of its own, and all are written out here, so that none that is added can be forgotten.
    #[test]
    fn no_figure_is_left_out() {
        let histogram = |seconds| {
            let mut histogram = Histogram::default();
            histogram.add(Duration::from_secs(seconds));
            histogram
        };
        let metrics = Metrics {
            open: 1001,
            accepted: 1002,
            connected: 1003,
            refused: 1004,
            closed: Closed {
                eof: 1005,
                closed: 1006,
                aborted: 1007,
                error: 1008,
                connect_failed: 1009,
                timeout: 1010,
                overflow: 1011,
                shutdown: 1012,
                cut: 1013,
                panic: 1014,
            },
            lingering: 1015,
            bytes_in: 1016,
            bytes_out: 1017,
            buffered: 1018,
            turns: 1019,
            events: 1020,
            wakeups: 1021,
            messages: 1022,
            timers: 1023,
            panics: 1024,
            accept_shortages: 1025,
            jobs_waiting: 1026,
            jobs_running: 1027,
            jobs_done: 1028,
            sources: 1029,
            sources_failed: 1030,
            datagrams: Datagrams {
                sockets: 1031,
                received: 1032,
                truncated: 1033,
                sent: 1034,
                dropped: 1035,
                errors: 1036,
                failed: 1037,
            },
            longest_callback: Duration::from_secs(1038),
            callback_times: histogram(1039),
            turn_times: histogram(1040),
            busy: Duration::from_secs(1041),
            waited: Duration::from_secs(1042),
            pending: 1043,
        };
        let text = prometheus_text("app", &[metrics]);
        for figure in 1001..=1043 {
            assert!(text.contains(&format!("}} {figure}\n")), "{figure} is not in\n{text}");
        }
    }

    #[test]
    fn buckets_count_up_to_the_whole() {
        let mut metrics = Metrics::default();
        metrics.turn_times.add(Duration::from_micros(3));
        metrics.turn_times.add(Duration::from_secs(60));
        let text = prometheus_text("app", &[metrics]);
        for line in [
            "app_turn_seconds_bucket{loop=\"0\",le=\"0.000002048\"} 0",
            "app_turn_seconds_bucket{loop=\"0\",le=\"0.000004096\"} 1",
            "app_turn_seconds_bucket{loop=\"0\",le=\"+Inf\"} 2",
            "app_turn_seconds_sum{loop=\"0\"} 60.000003",
            "app_turn_seconds_count{loop=\"0\"} 2",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn reasons_are_labels() {
        let mut metrics = Metrics::default();
        metrics.closed.timeout = 4;
        let text = prometheus_text("app", &[metrics]);
        assert!(text.contains("\napp_closed_total{loop=\"0\",reason=\"timeout\"} 4\n"));
    }
}
