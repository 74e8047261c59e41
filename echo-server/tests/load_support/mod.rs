//! The real `echo-load` as a test runs it, and servers that echo badly.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "this is part of the tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use serde_json::Value;

use crate::common::wait_for;

/// The binary under test.
pub(crate) const LOAD: &str = env!("CARGO_BIN_EXE_echo-load");

/// The size of a message where nothing else is said.
pub(crate) const SIZE: usize = 64;

/// The program with these arguments, its output to be taken.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(LOAD);
    command.args(arguments).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub(crate) fn load(arguments: &[&str]) -> Output {
    finish(command(arguments).spawn().unwrap())
}

/// Waits for the end of the program. Its output is small enough for a pipe's buffer.
pub(crate) fn finish(mut child: Child) -> Output {
    wait_for(&mut child);
    child.wait_with_output().unwrap()
}

/// Runs the program against `target`, all being well, and answers its JSON object.
pub(crate) fn report(target: &str, arguments: &[&str]) -> Value {
    let output = load(&[arguments, &["--json", target]].concat());
    let (stdout, stderr) = texts(&output);
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{stdout}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let none = ["connect", "broken", "wrong", "unanswered"].iter().all(|kind| report["failures"][kind] == 0);
    assert!(none && report["sent"] == report["echoed"], "{report}");
    report
}

/// Runs the program against `target`, which it finds at fault, and answers the one line it says.
pub(crate) fn complaint(target: &str, arguments: &[&str]) -> String {
    let output = load(&[arguments, &[target]].concat());
    let (_, stderr) = texts(&output);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    stderr.strip_prefix("echo-load: ").unwrap().trim_end().to_owned()
}

/// Stdout and stderr.
pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// A number of the report.
pub(crate) fn count(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// Starts a server that treats each connection in this way, on a thread of its own.
pub(crate) fn fake_server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (serve.clone(), stream.unwrap());
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Starts a server that answers message `n` of a connection, from 0, with what `answer` makes of it; with `None` it ends
/// the connection.
pub(crate) fn answering(answer: impl Fn(u64, Vec<u8>) -> Option<Vec<u8>> + Clone + Send + 'static) -> String {
    let address = fake_server(move |mut stream| {
        for number in 0.. {
            let mut message = vec![0; SIZE];
            let Ok(()) = stream.read_exact(&mut message) else { return };
            let Some(answer) = answer(number, message) else { return };
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    });
    address.to_string()
}
