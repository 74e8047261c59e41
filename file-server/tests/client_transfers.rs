//! `file-client` puts files to the real server and gets them from it, whole, and says by its exit code whether all was done.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod upload_support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use upload_support::{Server, assert_same, names, pattern, wait_for};

/// Runs the client to its end.
fn client(arguments: &[&str]) -> Output {
    client_in(Path::new("."), arguments)
}

fn client_in(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_file-client"));
    command.args(arguments).current_dir(directory).env_remove("RUST_LOG");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What it says is small enough for a pipe's buffer.
    wait_for(&mut child);
    child.wait_with_output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {stdout}\nstderr: {stderr}");
    (stdout, stderr)
}

fn http(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.http_address())
}

#[test]
fn what_was_put_is_got_again() {
    let server = Server::start(&["--allow-upload"]);
    let here = tempfile::tempdir().unwrap();
    for size in [0, 1, 100_000, (3 << 20) + 1] {
        let content = pattern(size as u64, size);
        let file = here.path().join("größe & co");
        fs::write(&file, &content).unwrap();
        for option in ["--checksum", "--quiet"] {
            expect(&client(&["put", option, file.to_str().unwrap(), &http(&server, "/")]), 0);
            assert_same(&fs::read(server.path("größe & co")).unwrap(), &content);
        }
        let url = http(&server, "/gr%C3%B6%C3%9Fe%20&%20co");
        let fetched = tempfile::tempdir().unwrap();
        let (_, stderr) = expect(&client_in(fetched.path(), &["get", &url]), 0);
        assert!(stderr.contains(&format!("{size} bytes")), "{stderr}");
        assert_same(&fs::read(fetched.path().join("größe & co")).unwrap(), &content);
        assert_eq!(names(fetched.path()), ["größe & co"]);
        let other = fetched.path().join("other");
        expect(&client(&["get", &url, "-o", other.to_str().unwrap()]), 0);
        assert_same(&fs::read(other).unwrap(), &content);
    }
}

#[test]
fn files_go_by_the_struct_protocol_too() {
    let mut server = Server::start(&[]);
    let here = tempfile::tempdir().unwrap();
    let url = format!("struct://{}", server.struct_address());
    let files = [("a", 0), ("b", 10_000), ("c", 3 << 20)].map(|(name, size)| {
        let path = here.path().join(name);
        fs::write(&path, pattern(1, size)).unwrap();
        path.to_str().unwrap().to_owned()
    });
    expect(&client(&["put", &files[0], &files[1], &files[2], &url]), 0);
    assert_eq!(server.names(), ["a", "b", "c"]);
    assert_same(&fs::read(server.path("c")).unwrap(), &pattern(1, 3 << 20));
    let hidden = here.path().join(".hidden");
    fs::write(&hidden, "x").unwrap();
    let (_, stderr) = expect(&client(&["put", hidden.to_str().unwrap(), &url]), 1);
    assert!(stderr.contains("the server refuses it"), "{stderr}");
    server.wait_for_words(&["\".hidden\" is hidden"]);
    let (_, stderr) = expect(&client(&["put", here.path().to_str().unwrap(), &files[0], &url]), 1);
    assert!(stderr.contains("directory"), "{stderr}");
}

#[test]
fn a_directory_is_put_with_all_that_is_in_it() {
    let server = Server::start(&["--allow-upload"]);
    let here = tempfile::tempdir().unwrap();
    fs::create_dir_all(here.path().join("tree/sub/deep")).unwrap();
    for name in ["tree/a", "tree/sub/b", "tree/sub/deep/c d"] {
        fs::write(here.path().join(name), name).unwrap();
    }
    expect(&client_in(here.path(), &["put", "tree", &http(&server, "/new/")]), 0);
    for name in ["tree/a", "tree/sub/b", "tree/sub/deep/c d"] {
        assert_eq!(fs::read(server.path(&format!("new/{name}"))).unwrap(), name.as_bytes());
    }
}

#[test]
fn a_directory_is_listed_and_got_with_all_that_is_in_it() {
    let server = Server::start(&[]);
    fs::create_dir_all(server.path("tree/sub/empty")).unwrap();
    for name in ["tree/a b", "tree/index.html", "tree/sub/ü%25"] {
        fs::write(server.path(name), name).unwrap();
    }
    let (stdout, _) = expect(&client(&["ls", &http(&server, "/tree/")]), 0);
    for name in ["a b", "index.html", "sub/"] {
        assert!(stdout.lines().any(|line| line.ends_with(&format!("  {name}"))), "{stdout}");
    }
    let here = tempfile::tempdir().unwrap();
    expect(&client_in(here.path(), &["get", &http(&server, "/tree/")]), 0);
    for name in ["tree/a b", "tree/index.html", "tree/sub/ü%25"] {
        assert_eq!(fs::read(here.path().join(name)).unwrap(), name.as_bytes());
    }
    assert!(here.path().join("tree/sub/empty").is_dir());
}

#[test]
fn what_is_refused_is_told_and_the_rest_is_done() {
    let server = Server::start(&["--allow-upload", "--max-upload-size", "200000"]);
    let here = tempfile::tempdir().unwrap();
    for (name, size) in [("a", 10), ("large", 200_001), ("z", 10)] {
        fs::write(here.path().join(name), pattern(1, size)).unwrap();
    }
    let output = client_in(here.path(), &["put", "--json", "a", "large", "z", &http(&server, "/")]);
    let (stdout, stderr) = expect(&output, 1);
    assert!(stderr.contains("cannot put large to") && stderr.contains("413"), "{stderr}");
    let lines: Vec<serde_json::Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines.iter().filter(|line| line["ok"] == true && line["bytes"] == 10).count(), 2);
    assert!(lines.iter().any(|line| line["ok"] == false && line["source"] == "large"));
    assert_eq!((&lines[3]["done"], &lines[3]["failed"]), (&2.into(), &1.into()));
    assert_eq!(server.names(), ["a", "z"]);
    let (_, stderr) = expect(&client_in(here.path(), &["put", "none", "a", &http(&server, "/")]), 1);
    assert!(stderr.contains("cannot put none to") && stderr.contains("No such file"), "{stderr}");
    let (_, stderr) = expect(&client_in(here.path(), &["put", "--no-replace", "a", &http(&server, "/z")]), 1);
    assert!(stderr.contains("412"), "{stderr}");
    let (_, stderr) = expect(&client(&["get", &http(&server, "/none")]), 1);
    assert!(stderr.contains("404"), "{stderr}");
}

#[test]
fn a_digest_that_is_wrong_keeps_the_file_away() {
    let server = Server::start(&[]);
    fs::write(server.path("a"), "hello").unwrap();
    let here = tempfile::tempdir().unwrap();
    let url = http(&server, "/a");
    let wrong = "00".repeat(32);
    let retries = ["--retries", "1", "--retry-delay", "1ms"];
    let (_, stderr) = expect(&client_in(here.path(), &[&["get", &url, "--sha256", &wrong], &retries[..]].concat()), 1);
    assert!(stderr.contains("digest"), "{stderr}");
    assert!(names(here.path()).is_empty());
    let right = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    expect(&client_in(here.path(), &["get", &url, "--sha256", right]), 0);
    assert_eq!(names(here.path()), ["a"]);
}

#[test]
fn a_part_is_gone_on_with_if_it_is_of_the_same_version() {
    let server = Server::start(&[]);
    let content = pattern(1, 1 << 20);
    fs::write(server.path("a"), &content).unwrap();
    let url = http(&server, "/a");
    let here = tempfile::tempdir().unwrap();
    let answer = upload_support::ask(server.http_address(), &upload_support::request("GET", "/a", ""));
    // A part that begins otherwise shows whether it was used.
    for (tag, used) in [(answer.field("ETag").unwrap(), true), ("\"other\"", false)] {
        fs::write(here.path().join("a.part"), vec![b'x'; 1000]).unwrap();
        fs::write(here.path().join("a.part.from"), format!("{url}\n{tag}\n")).unwrap();
        expect(&client_in(here.path(), &["get", &url]), 0);
        let fetched = fs::read(here.path().join("a")).unwrap();
        assert_same(&fetched[1000..], &content[1000..]);
        assert_eq!(fetched[..1000] == [b'x'; 1000], used);
        assert_eq!(names(here.path()), ["a"]);
    }
}

#[test]
fn bad_arguments_are_told_apart() {
    for arguments in [
        &[][..],
        &["fetch"],
        &["get"],
        &["put", "Cargo.toml"],
        &["get", "https://a/"],
        &["get", "no url"],
        &["get", "http://a/b", "--sha256", "00"],
        &["get", "http://a/b", "http://a/c", "--sha256", &"00".repeat(32)],
        &["put", "--checksum", "Cargo.toml", "struct://127.0.0.1:1"],
        &["get", "http://a/b", "http://a/c", "-o", "-"],
        &["get", "http+unix://%FF/a"],
    ] {
        let (stdout, stderr) = expect(&client(arguments), 2);
        assert!(stdout.is_empty() && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
    expect(&client(&["--help"]), 0);
    expect(&client(&["--completions", "bash"]), 0);
}

#[test]
fn nobody_there_is_a_failure_after_all_tries() {
    // A port that is never given to those who ask for any.
    let url = "http://127.0.0.1:1/a";
    let (_, stderr) = expect(&client(&["get", url, "--retries", "2", "--retry-delay", "1ms"]), 1);
    assert_eq!(stderr.matches("trying again").count(), 2, "{stderr}");
    assert!(stderr.contains("cannot get http://") && stderr.contains("refused"), "{stderr}");
}
