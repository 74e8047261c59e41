//! A closed loop gets every byte back, counts every message, and tells how long they took.

mod common;
mod load_support;

use common::{Server, unix_url};
use load_support::{count, load, report, texts};

#[test]
fn every_message_is_counted_once() {
    let server = Server::on_tcp(&[]);
    let target = server.tcp_address().to_string();
    let report = report(&target, &["-c", "8", "--depth", "4", "--threads", "3", "--messages", "5001"]);
    for name in ["sent", "echoed", "messages"] {
        assert_eq!(count(&report, name), 5001, "{name}");
    }
    assert_eq!((count(&report, "bytes"), count(&report, "opened")), (5001 * 64, 8));
    let latencies = ["min_us", "p50_us", "p90_us", "p99_us", "p99_9_us", "p99_99_us", "max_us"];
    let latencies = latencies.map(|name| report["latency"][name].as_f64().unwrap());
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{latencies:?}");
    assert_eq!(report["latency"]["corrected"], false);
}

#[test]
fn fewer_messages_than_connections_are_enough() {
    let server = Server::on_tcp(&[]);
    let report = report(&server.tcp_address().to_string(), &["-c", "8", "--threads", "2", "--messages", "3"]);
    assert_eq!((count(&report, "messages"), count(&report, "opened")), (3, 8));
}

#[test]
fn time_ends_it_and_the_warm_up_is_not_measured() {
    let server = Server::on_tcp(&[]);
    let target = server.tcp_address().to_string();
    let report = report(&target, &["-c", "4", "--duration", "300ms", "--warmup", "200ms"]);
    let (echoed, messages) = (count(&report, "echoed"), count(&report, "messages"));
    assert!(0 < messages && messages < echoed, "{messages} of {echoed}");
    assert!(report["elapsed_s"].as_f64().unwrap() >= 0.3, "{report}");
    assert_eq!(report["ended_early"], false);
}

#[test]
fn messages_of_one_byte_and_of_a_megabyte_pass() {
    let server = Server::on_tcp(&[]);
    let target = server.tcp_address().to_string();
    let small = report(&target, &["--size", "1", "--depth", "16", "--messages", "10000"]);
    assert_eq!(count(&small, "bytes"), 10_000);
    let large = report(&target, &["-c", "3", "--size", "1MiB", "--depth", "2", "--messages", "24"]);
    assert_eq!(count(&large, "bytes"), 24 << 20);
}

#[test]
fn a_unix_socket_is_loaded_like_a_port() {
    let directory = tempfile::tempdir().unwrap();
    let target = unix_url(&directory.path().join("echo.sock"));
    let _server = Server::start(&["--listen", &target, "--threads", "1"]);
    let stays = report(&target, &["-c", "8", "--messages", "1000"]);
    assert_eq!(count(&stays, "messages"), 1000);
    let churns = report(&target, &["-c", "8", "--messages", "100", "--churn"]);
    assert_eq!(count(&churns, "opened"), 100);
}

#[test]
fn churn_makes_a_connection_for_each_message() {
    let server = Server::on_tcp(&[]);
    let target = server.tcp_address().to_string();
    let report = report(&target, &["-c", "8", "--threads", "2", "--messages", "501", "--churn"]);
    for name in ["opened", "sent", "echoed", "messages"] {
        assert_eq!(count(&report, name), 501, "{name}");
    }
}

#[test]
fn it_connects_from_the_address_it_is_told() {
    let server = Server::on_tcp(&[]);
    let target = server.tcp_address().to_string();
    let report = report(&target, &["-c", "2", "--messages", "10", "--local-address", "127.0.0.9"]);
    assert_eq!(count(&report, "messages"), 10);
}

#[test]
fn people_get_a_table_that_says_what_it_means() {
    let server = Server::on_tcp(&[]);
    let output = load(&["-c", "2", "--messages", "100", &server.tcp_address().to_string()]);
    let (stdout, stderr) = texts(&output);
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    for part in ["2 connections", "closed loop", "messages/s", "MiB/s", "uncorrected", "p99.99 ", "max "] {
        assert!(stdout.contains(part), "no {part:?} in {stdout}");
    }
}
