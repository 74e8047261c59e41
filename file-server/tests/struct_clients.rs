//! Clients of the struct protocol that are written in C++ work unchanged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod upload_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use upload_support::{Server, assert_same, pattern, wait_for};

/// Builds the client; `None`, and said why: there is no compiler here.
fn build(directory: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/struct_client.cpp");
    let program = directory.join("struct_client");
    let mut compiler = Command::new("c++");
    let Ok(status) = compiler.args(["-O1", "-o"]).arg(&program).arg(source).status() else {
        println!("skipped: there is no C++ compiler");
        return None;
    };
    assert!(status.success(), "the client does not compile");
    Some(program)
}

fn send(program: &Path, server: &Server, name: &str, file: &Path) -> ExitStatus {
    let port = server.struct_address().port().to_string();
    wait_for(&mut Command::new(program).args([&port, name]).arg(file).spawn().unwrap())
}

#[test]
fn a_client_in_cpp_sends_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let Some(client) = build(directory.path()) else { return };
    let server = Server::start(&[]);
    let file = directory.path().join("content");
    for size in [0, 1, 10_000, 3_000_000] {
        fs::write(&file, pattern(7, size)).unwrap();
        assert!(send(&client, &server, "von C++", &file).success());
        assert_same(&fs::read(server.path("von C++")).unwrap(), &pattern(7, size));
    }
    assert_eq!(send(&client, &server, "../escape", &file).code(), Some(2));
    assert_eq!(server.names(), ["von C++"]);
}
