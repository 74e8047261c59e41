//! Results go to stdout and reach it whatever ends the run; the bar is for terminals; a lost stdout is no drama.

mod common;
mod load_support;

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::sync::mpsc;

use common::{DEADLINE, Server};
use load_support::{LOAD, answering, command, finish, load, texts};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

#[test]
fn a_signal_ends_the_run_with_its_results() {
    for signal in [Signal::INT, Signal::TERM] {
        let (sender, echoes) = mpsc::channel();
        let target = answering(move |number, message| {
            if number == 100 {
                sender.send(()).unwrap();
            }
            Some(message)
        });
        let run = ["-c", "1", "--duration", "1h", "--warmup", "0s", "--json", &target];
        let child = command(&run).spawn().unwrap();
        echoes.recv_timeout(DEADLINE).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = finish(child);
        let (stdout, stderr) = texts(&output);
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
        let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(report["ended_early"], true);
        assert!(report["messages"].as_u64().unwrap() >= 100 && report["sent"] == report["echoed"], "{report}");
    }
}

#[test]
fn a_reader_that_has_gone_away_is_no_failure() {
    let server = Server::on_tcp(&[]);
    let mut child = command(&["-c", "1", "--messages", "10", &server.tcp_address().to_string()]).spawn().unwrap();
    drop(child.stdout.take());
    let output = finish(child);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
}

#[test]
fn a_full_disk_is_told() {
    let server = Server::on_tcp(&[]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(&["-c", "1", "--messages", "10", &server.tcp_address().to_string()]);
    let output = finish(command.stdout(Stdio::from(full)).spawn().unwrap());
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.starts_with("echo-load: cannot write the results to stdout: No space left"), "{stderr}");
}

#[test]
fn a_terminal_sees_a_bar_unless_it_asks_not_to() {
    let server = Server::on_tcp(&[]);
    let target = server.tcp_address().to_string();
    for (more, is_seen) in [(&[][..], true), (&["--no-progress"], false)] {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let screen = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let run = ["-c", "1", "--duration", "1s", "--warmup", "0s", target.as_str()];
        let mut command = command(&[&run, more].concat());
        let child = command.stderr(Stdio::from(screen)).spawn().unwrap();
        drop(command);
        let output = finish(child);
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty());
        let mut shown = Vec::new();
        // A terminal nobody has open on the other side ends with an error.
        let _ = File::from(terminal).read_to_end(&mut shown);
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert_eq!(shown.contains("measuring ["), is_seen, "{shown:?}");
    }
}

#[test]
fn help_version_and_completions_go_to_stdout() {
    let cases: [(&[&str], &str); 3] = [
        (&["--help"], "Usage: echo-load [OPTIONS] [ADDR]"),
        (&["--version"], "echo-load "),
        (&["--completions", "bash"], "_echo__load()"),
    ];
    for (arguments, part) in cases {
        let output = load(arguments);
        let (stdout, stderr) = texts(&output);
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
        assert!(stdout.contains(part), "{stdout}");
    }
}

#[test]
fn help_into_a_closed_pipe_ends_quietly() {
    let script = format!("{LOAD} --help | true; {LOAD} --completions zsh | true");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(output.stderr, b"", "{output:?}");
}
