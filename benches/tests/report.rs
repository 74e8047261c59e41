//! `bench-report` measures whatever echoes, says what it cannot measure, and guards the hot path.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[test]
fn measures_servers_side_by_side_and_writes_what_it_found() {
    let output = directory("survey");
    let another = format!("--server=another={} poll --listen {{addr}}", env!("CARGO_BIN_EXE_bench-peer"));
    let run = report(&[
        "--quick",
        "--rounds=1",
        "--sample=10ms",
        "--peers=reactor,epoll",
        "--workloads=64x64B,churn",
        "--connections=300",
        "--rate=2000",
        "--no-callgrind",
        &another,
        &format!("--output={}", output.display()),
    ]);
    assert!(run.status.success(), "{}", text(&run));
    let report = fs::read_to_string(output.join("report.md")).unwrap();
    for expected in ["| reactor |", "| epoll |", "| another |", "64x64B | churn", "congestion control: reno", "99th"] {
        assert!(report.contains(expected), "no `{expected}` in {report}");
    }
    assert!(!report.contains("failed"), "{report}");
    let csv = fs::read_to_string(output.join("results.csv")).unwrap();
    let least_cpu = |server: &str| {
        let line = csv.lines().find(|line| line.starts_with("\"Processor") && line.contains(server)).unwrap();
        line.split(',').rev().nth(2).unwrap().parse::<f64>().unwrap()
    };
    // A message takes a server more than nothing and less than a second.
    assert!((1.0..1e9).contains(&least_cpu("64x64B,reactor,")), "{csv}");
    assert!((1.0..1e9).contains(&least_cpu("64x64B,another,")), "{csv}");
}

#[test]
fn counts_system_calls_where_it_can_and_says_so_where_not() {
    let output = directory("calls");
    let run = report(&[
        "--quick",
        "--rounds=1",
        "--sample=10ms",
        "--peers=epoll",
        "--workloads=1x64B",
        "--connections=100",
        "--rate=1000",
        "--no-callgrind",
        &format!("--output={}", output.display()),
    ]);
    assert!(run.status.success(), "{}", text(&run));
    let report = fs::read_to_string(output.join("report.md")).unwrap();
    let csv = fs::read_to_string(output.join("results.csv")).unwrap();
    let Some(line) = csv.lines().find(|line| line.starts_with("\"System calls\"")) else {
        assert!(report.contains("system calls by: NOTHING"), "{report}");
        return;
    };
    // The bare loop waits, receives and sends.
    let calls: f64 = line.split(',').nth(3).unwrap().parse().unwrap();
    assert!((2.9..3.5).contains(&calls), "{calls}");
}

#[test]
fn a_server_that_does_not_start_is_named() {
    let output = directory("broken");
    for command in ["false {port}", "/nowhere/to/be/found {port}"] {
        let run = report(&[
            "--quick",
            "--peers=none",
            &format!("--server=broken={command}"),
            &format!("--output={}", output.display()),
        ]);
        assert_eq!(run.status.code(), Some(1), "{}", text(&run));
        assert!(text(&run).contains("broken"), "{}", text(&run));
    }
}

#[test]
fn two_servers_of_one_name_are_refused() {
    let run = report(&["--peers=none", "--server=a=x {port}", "--server=a=y {port}", "--output", path("twice")]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    assert!(text(&run).contains("two servers are called a"), "{}", text(&run));
}

#[test]
fn the_guard_skips_visibly_without_valgrind() {
    let mut command = program();
    let run = command.args(["guard", "--figures", "/nowhere"]).env("PATH", "").output().unwrap();
    assert!(run.status.success(), "{}", text(&run));
    assert!(text(&run).contains("SKIPPED"), "{}", text(&run));
}

#[test]
fn the_guard_fails_when_the_hot_path_grows() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("SKIPPED: valgrind is not installed");
        return;
    }
    let figures = directory("guard").join("hotpath.txt");
    let guard = |more: &[&str]| {
        let mut command = program();
        command.args(["guard", "--scripts=message", "--figures"]).arg(&figures).args(more).output().unwrap()
    };
    let missing = guard(&[]);
    assert_eq!(missing.status.code(), Some(1), "{}", text(&missing));
    let update = guard(&["--update=the first figures"]);
    assert!(update.status.success(), "{}", text(&update));
    let written = fs::read_to_string(&figures).unwrap();
    assert!(written.contains("reason: the first figures"), "{written}");
    // A message that costs 4% more than it may is noticed.
    let message = written.lines().find(|line| line.starts_with("message")).unwrap();
    let [count, calls] = [1, 2].map(|column| message.split_whitespace().nth(column).unwrap().parse::<f64>().unwrap());
    let lower = written.replace(message, &format!("message {:.1} {calls}", count / 1.04));
    fs::write(&figures, &lower).unwrap();
    let grown = guard(&[]);
    assert_eq!(grown.status.code(), Some(1), "{}", text(&grown));
    assert!(text(&grown).contains("message grew by more than 3%"), "{}", text(&grown));
    // Not so where another compiler counted, but that is said.
    fs::write(&figures, lower.replace("compiler: ", "compiler: another than ")).unwrap();
    let other = guard(&[]);
    assert!(other.status.success(), "{}", text(&other));
    assert!(text(&other).contains("NOTE: the figures are of another than"), "{}", text(&other));
    fs::write(&figures, lower.replace("architecture: ", "architecture: not ")).unwrap();
    let foreign = guard(&[]);
    assert!(foreign.status.success() && text(&foreign).contains("SKIPPED"), "{}", text(&foreign));
}

fn report(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-report"));
    // Under cargo it would build what it measures; here cargo has done that.
    command.env_remove("CARGO");
    command
}

/// A new directory for one test.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{name}"));
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(&path).unwrap();
    path
}

fn path(name: &str) -> &'static str {
    let path = directory(name).to_str().unwrap().to_owned();
    path.leak()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
