//! Commands are run and waited for, whatever they do with their pipes; open files pass from one process to another.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;

use common::{Program, binary, run};

#[test]
fn output_errors_and_status_are_told() {
    let script = "echo hello; printf 'no newline'; echo oops >&2; exit 3";
    let output = run(Command::new(binary("run_command")).args(["sh", "-c", script]));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.pop(), Some("exit status: 3"));
    lines.sort_unstable();
    assert_eq!(lines, ["err: oops", "out: hello", "out: no newline"]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn input_reaches_the_command_however_much_there_is_and_its_end_too() {
    let mut program = Program::start("run_command", &["sh", "-c", "cat | tee /dev/stderr | wc -c; cat"]);
    let mut stdin = program.child.stdin.take().unwrap();
    // Far more than the pipes hold, in both of its outputs: to read one after the other would stand still.
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let writer = std::thread::spawn(move || (0..2000).for_each(|_| stdin.write_all(&line).unwrap()));
    let errors = (0..2000).filter(|_| program.stdout.next().starts_with("err: xxx")).count();
    writer.join().unwrap();
    assert_eq!(errors, 2000);
    assert_eq!(program.stdout.next().replace(' ', ""), "out:2000000");
    assert_eq!(program.stdout.next(), "exit status: 0");
    program.succeed();
}

#[test]
fn a_command_that_takes_too_long_is_killed() {
    let mut program = Program::start("run_command", &["--timeout", "100ms", "sleep", "1000"]);
    assert_eq!(program.stdout.next(), "signal: 9 (SIGKILL)");
    assert_eq!(program.wait().code(), Some(1));
}

#[test]
fn a_pipe_that_a_grandchild_holds_is_not_waited_for() {
    let mut program = Program::start("run_command", &["sh", "-c", "sleep 1000 & echo $!"]);
    let grandchild = program.stdout.next()["out: ".len()..].to_owned();
    assert_eq!(program.stdout.next(), "exit status: 0");
    program.succeed();
    run(Command::new("kill").arg(grandchild));
}

#[test]
fn a_command_that_is_not_there_is_an_error() {
    let output = run(Command::new(binary("run_command")).arg("/no/such/command"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_open_file_passes_to_who_asks_for_it_and_nothing_stays_open() {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().join("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("greeting"), "hello\n").unwrap();
    symlink("/etc/passwd", files.join("link")).unwrap();
    let socket = directory.path().join("socket");
    let (socket, files) = (socket.to_str().unwrap(), files.to_str().unwrap());
    let mut server = Program::start("unix_fd_passing", &["serve", socket, files]);
    server.stderr.wait_for("listening on unix:");
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count();
    let before = descriptors();
    let open = |name: &str| run(Command::new(binary("unix_fd_passing")).args(["open", socket, name]));
    for _ in 0..5 {
        assert_eq!(String::from_utf8(open("greeting").stdout).unwrap(), "hello\n");
    }
    for (name, why) in [("nothing", "No such file"), ("../socket", "no plain name"), ("link", "symbolic links")] {
        let output = open(name);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(why), "{name}: {text}");
        assert!(output.stdout.is_empty());
    }
    common::wait_until("what was passed is closed", || descriptors() == before);
    let line = server.stdout.next();
    assert!(line.starts_with("process ") && line.ends_with(" gets greeting"), "{line}");
}
