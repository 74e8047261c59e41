//! A fixed rate sends what is due whatever the server does, and counts latency from when it was due.

mod common;
mod load_support;

use std::thread;
use std::time::Duration;

use common::Server;
use load_support::{answering, count, load, report, texts};

#[test]
fn what_is_due_is_sent_or_told_to_be_behind() {
    let server = Server::on_tcp(&[]);
    let arguments = ["-c", "4", "--threads", "2", "--rate", "2000", "--duration", "500ms", "--warmup", "100ms"];
    let report = report(&server.tcp_address().to_string(), &arguments);
    assert_eq!(count(&report, "sent") + count(&report, "unsent"), 1200);
    assert!(count(&report, "messages") <= 1000, "{report}");
    assert_eq!(report["latency"]["corrected"], true);
}

#[test]
fn a_stall_of_the_server_is_felt_by_every_message_that_was_due_meanwhile() {
    let stall = Duration::from_millis(300);
    let target = answering(move |number, message| {
        if number == 20 {
            thread::sleep(stall);
        }
        Some(message)
    });
    let arguments = ["-c", "1", "--rate", "200", "--messages", "100"];
    let report = report(&target, &arguments);
    // Sixty messages fell due during the stall, so at least the slowest quarter waited for a good part of it.
    let p90 = report["latency"]["p90_us"].as_f64().unwrap();
    assert!(p90 >= 150_000.0, "{report}");
    assert_eq!(count(&report, "messages"), 100);
}

#[test]
fn a_closed_loop_feels_the_same_stall_once() {
    let target = answering(|number, message| {
        if number == 20 {
            thread::sleep(Duration::from_secs(1));
        }
        Some(message)
    });
    let report = report(&target, &["-c", "1", "--messages", "1000"]);
    let latency = |name| report["latency"][name].as_f64().unwrap();
    assert!(latency("max_us") >= 1_000_000.0 && latency("p50_us") < 1_000_000.0, "{report}");
}

#[test]
fn a_rate_that_is_not_kept_is_told() {
    let server = Server::on_tcp(&[]);
    let target = server.tcp_address().to_string();
    let output = load(&["-c", "2", "--rate", "1000000000", "--duration", "100ms", "--warmup", "0s", &target]);
    let (stdout, _) = texts(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout.contains("messages were due and not sent") && stdout.contains("corrected for"), "{stdout}");
}

#[test]
fn connections_can_be_made_at_a_rate() {
    let server = Server::on_tcp(&[]);
    let arguments = ["-c", "8", "--rate", "500", "--messages", "100", "--churn"];
    let report = report(&server.tcp_address().to_string(), &arguments);
    assert_eq!((count(&report, "opened"), count(&report, "messages")), (100, 100));
}

#[test]
fn spinning_changes_nothing_but_the_time() {
    let server = Server::on_tcp(&[]);
    let arguments = ["-c", "2", "--rate", "1000", "--messages", "200", "--spin", "100us"];
    assert_eq!(count(&report(&server.tcp_address().to_string(), &arguments), "messages"), 200);
}
