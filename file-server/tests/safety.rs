//! Nothing outside of the root is served, nothing that is no file hangs the server, and nobody holds it up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod common;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use common::{PROGRAM, Server, eventually, expect_end, pattern, read_all, read_answer};
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// A tree in which the root is a directory beside a secret.
fn guarded(arguments: &[&str]) -> (tempfile::TempDir, Server) {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join("secret"), "secret").unwrap();
    let root = tempfile::tempdir_in(outer.path()).unwrap();
    (outer, Server::serving(root, arguments))
}

#[test]
fn no_name_leads_out_of_the_root() {
    let (outer, server) = guarded(&[]);
    symlink("../../secret", server.path("relative")).unwrap();
    symlink(outer.path().join("secret"), server.path("absolute")).unwrap();
    symlink("..", server.path("up")).unwrap();
    // A link of proc(5) that leads back to the top of the file system, whatever a root is.
    let secret = outer.path().join("secret");
    symlink(format!("/proc/self/root{}", secret.display()), server.path("magic")).unwrap();
    symlink("loop", server.path("loop")).unwrap();
    for target in ["/relative", "/absolute", "/up/secret", "/up/", "/magic", "/loop"] {
        let answer = server.get(target);
        assert_eq!((answer.status, answer.text() == "secret"), (403, false), "{target}");
    }
    for target in [
        "/../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "/.%2e/secret",
        "/x/../../secret",
        "/..\\secret",
        "/..%5csecret",
        "/%2e%2e%5csecret",
        "/a%00/../secret",
        "//../secret",
        "/./../secret",
    ] {
        assert_eq!(server.get(target).status, 400, "{target}");
    }
    for target in
        ["/%252e%252e/secret", "/..;/secret", "/.../secret", "/%c0%ae%c0%ae/secret", "/\u{ff0e}\u{ff0e}/secret"]
    {
        assert_eq!(server.get(target).status, 404, "{target}");
    }
}

#[test]
fn symlinks_that_lead_out_are_followed_where_that_is_allowed() {
    let (outer, server) = guarded(&["--follow-symlinks"]);
    symlink(outer.path().join("secret"), server.path("absolute")).unwrap();
    assert_eq!(server.get("/absolute").text(), "secret");
    assert_eq!(server.get("/../secret").status, 400);
}

#[test]
fn a_listing_names_nothing_that_cannot_be_asked_for() {
    let server = Server::start(&[]);
    server.write("back\\slash", "");
    server.write("plain", "");
    let listing = server.get("/?format=json").text().to_owned();
    assert!(listing.contains("plain") && !listing.contains("slash"), "{listing}");
    assert_eq!(server.get("/back%5Cslash").status, 400);
}

#[test]
fn hidden_names_are_not_there_unless_they_are_shown() {
    for (arguments, status) in [(&[][..], 404), (&["--hidden"][..], 200)] {
        let server = Server::start(arguments);
        server.write(".env", "x");
        server.write(".git/config", "x");
        server.write(".well-known/acme", "x");
        for target in ["/.env", "/%2eenv", "/.git/config", "/.git/"] {
            assert_eq!(server.get(target).status, status, "{target}");
        }
        assert_eq!(server.get("/.well-known/acme").status, 200);
        assert_eq!(server.get("/").text().contains(".env"), status == 200);
    }
}

#[test]
fn a_part_of_a_file_is_seen_by_nobody() {
    let server = Server::start(&["--hidden", "--allow-upload", "--allow-delete"]);
    // As an upload looks on a file system where every file has a name.
    let part = "d/.file-server-1-2-3.part";
    server.write(part, "half");
    let ask =
        |line: &str| server.ask(format!("{line} /{part} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")).status;
    assert_eq!([ask("GET"), ask("PUT"), ask("DELETE")], [404, 403, 404]);
    assert!(!server.get("/d/").text().contains(".part"));
    assert_eq!(fs::read(server.path(part)).unwrap(), b"half");
}

#[test]
fn what_is_no_file_holds_nobody_up() {
    let server = Server::start(&["--workers", "1"]);
    mknodat(CWD, server.path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _socket = UnixListener::bind(server.path("socket")).unwrap();
    symlink("/dev/zero", server.path("zero")).unwrap();
    server.write("a", "x");
    for target in ["/fifo", "/socket", "/zero"] {
        assert_eq!(server.get(target).status, 403, "{target}");
        assert_eq!(server.get("/a").status, 200);
    }
    let listing = server.get("/").text();
    assert!(["fifo", "socket", "zero"].iter().all(|name| !listing.contains(name)));
}

/// A server that may do no more than its user, even if that is root: in a namespace of users without a mapping, nobody may pass
/// over permissions. `None`, and said why: this machine does not let us.
fn unprivileged(arguments: &[&str]) -> Option<Server> {
    let possible = Command::new("unshare").args(["-U", "true"]).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("skipped: there is no namespace of our own here");
        return None;
    }
    let tree = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["-U", PROGRAM, "--listen", "127.0.0.1:0", "--threads", "1"]).args(arguments).arg(tree.path());
    Some(Server::start_command(tree, &mut command, 1))
}

#[test]
fn what_may_not_be_read_is_forbidden() {
    let Some(server) = unprivileged(&[]) else { return };
    for name in ["a", "index/index.html", "shut/a", "unlisted/a", "z", "z.gz"] {
        server.write(name, "x");
    }
    let modes = [("a", 0), ("index/index.html", 0), ("shut", 0), ("unlisted", 0o311), ("z.gz", 0)];
    let set = |(name, mode)| fs::set_permissions(server.path(name), fs::Permissions::from_mode(mode)).unwrap();
    modes.into_iter().for_each(set);
    for target in ["/a", "/index/", "/shut/a", "/shut/", "/shut", "/unlisted/"] {
        assert_eq!(server.get(target).status, 403, "{target}");
    }
    assert_eq!(server.get("/unlisted/a").status, 200);
    // A form that cannot be read is none.
    let answer = server.ask("GET /z HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!((answer.status, answer.field("Content-Encoding")), (200, None));
    ["shut", "unlisted"].map(|name| (name, 0o755)).into_iter().for_each(set);
}

#[test]
fn what_may_not_be_written_is_forbidden() {
    let Some(server) = unprivileged(&["--allow-upload", "--allow-delete"]) else { return };
    server.write("kept/a", "x");
    fs::set_permissions(server.path("kept"), fs::Permissions::from_mode(0o555)).unwrap();
    for request in ["PUT /kept/b", "PUT /kept/a", "PUT /kept/new/a"] {
        let answer = server.ask(format!("{request} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"));
        assert_eq!(answer.status, 403, "{request}");
    }
    assert_eq!(server.ask("DELETE /kept/a HTTP/1.1\r\nHost: a\r\n\r\n").status, 403);
    assert_eq!(server.get("/kept/a").text(), "x");
    fs::set_permissions(server.path("kept"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn nothing_is_smuggled_behind_a_body() {
    let server = Server::start(&[]);
    server.write("a", "x");
    let smuggled = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let next = "GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for (head, answered) in [
        (format!("GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", smuggled.len()), 2),
        (format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", smuggled.len()), 2),
        ("GET /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 1),
        ("GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), 1),
    ] {
        let mut stream = server.connect();
        stream.write_all([head.as_str(), smuggled, next].concat().as_bytes()).unwrap();
        let answers = String::from_utf8(read_all(&mut stream)).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 ").count(), answered, "{head:?} is answered by {answers}");
        assert_eq!(answers.contains("404 Not Found"), answered == 2, "{head:?} is answered by {answers}");
    }
}

#[test]
fn a_head_that_is_slow_is_given_up() {
    let server = Server::start(&["--header-timeout", "1s"]);
    let mut slow = server.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    let mut silent = server.connect();
    // Bytes one by one do not make the time longer.
    let writer = slow.try_clone().unwrap();
    let dribbling = std::thread::spawn(move || dribble(writer));
    assert_eq!(read_answer(&mut slow, false).status, 408);
    expect_end(&mut slow);
    expect_end(&mut silent);
    dribbling.join().unwrap();
}

fn dribble(mut stream: TcpStream) {
    while stream.write_all(b"x").is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn who_asks_for_nothing_more_is_let_go() {
    let server = Server::start(&["--keep-alive-timeout", "1s"]);
    server.write("a", "x");
    let mut stream = server.connect();
    for _ in 0..2 {
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(read_answer(&mut stream, false).status, 200);
    }
    expect_end(&mut stream);
}

#[test]
fn who_takes_nothing_of_an_answer_is_let_go() {
    let server = Server::start(&["--write-timeout", "1s"]);
    server.write("large", pattern(40 << 20));
    let mut stream = server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    read_answer(&mut stream, true);
    eventually("all are let go", || open_connections(&server) == 0);
    let mut room = vec![0; 1 << 16];
    let mut got = 0;
    while let Ok(count @ 1..) = common::read_some(&mut stream, &mut room) {
        got += count;
    }
    assert!(got < 40 << 20, "the whole answer came");
}

/// How many sockets the server has besides its listener.
fn open_connections(server: &Server) -> usize {
    let directory = fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap();
    let targets = directory.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let sockets = targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count();
    sockets.saturating_sub(1)
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let server = Server::start(&["--max-connections-per-address", "2"]);
    server.write("a", "x");
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        read_answer(stream, false).status
    };
    let (mut one, mut two) = (server.connect(), server.connect());
    assert_eq!((ask(&mut one), ask(&mut two)), (200, 200));
    let mut three = server.connect();
    assert_eq!(read_answer(&mut three, false).status, 503);
    expect_end(&mut three);
    drop(one);
    eventually("one has a place again", || open_connections(&server) < 2);
    assert_eq!(ask(&mut server.connect()), 200);
}

#[test]
fn a_bandwidth_is_kept_to() {
    let server = Server::start(&["--bandwidth", "100KB"]);
    for (name, size) in [("medium", 100_000), ("large", 300_000)] {
        server.write(name, pattern(size));
        let began = std::time::Instant::now();
        assert!(server.get(&format!("/{name}")).body == pattern(size));
        // The last piece of a quarter of a second is there as soon as it is sent.
        let least = std::time::Duration::from_secs_f64(size as f64 / 100_000.0 - 0.3);
        assert!(began.elapsed() >= least, "{name} came within {:?}", began.elapsed());
    }
}

#[test]
fn a_client_that_never_reads_a_large_answer_costs_little() {
    let server = Server::start(&[]);
    fs::File::create(server.path("huge")).unwrap().set_len(1 << 30).unwrap();
    let before = server.status_kb("VmRSS");
    let clients: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            read_answer(&mut stream, true);
            stream
        })
        .collect();
    let grown = server.status_kb("VmRSS").saturating_sub(before);
    assert!(grown < 4 << 10, "{grown} kB more for 50 clients that do not read");
    server.write("a", "x");
    assert_eq!(server.get("/a").status, 200);
    drop(clients);
}

#[test]
fn hundreds_of_slow_clients_leave_room_for_others() {
    let server = Server::start(&[]);
    server.write("a", "x");
    fs::File::create(server.path("huge")).unwrap().set_len(1 << 30).unwrap();
    assert_eq!(server.get("/a").status, 200);
    let before = server.status_kb("RssAnon");
    let slow: Vec<TcpStream> = (0..600)
        .map(|number| {
            let mut stream = server.connect();
            let begun: &[u8] = match number % 3 {
                0 => b"",
                1 => b"GET /a HTTP/1.1\r\nHost: a\r\nX: ",
                _ => b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n",
            };
            stream.write_all(begun).unwrap();
            stream
        })
        .collect();
    eventually("all have come", || open_connections(&server) >= 600);
    assert_eq!(server.get("/a").status, 200);
    let grown = server.status_kb("RssAnon").saturating_sub(before);
    assert!(grown < 4 << 10, "{grown} kB more for 600 slow clients");
    drop(slow);
}

#[test]
fn listings_that_nobody_takes_are_bounded() {
    let server = Server::start(&["--listing-memory", "1MiB"]);
    let long = "x".repeat(180);
    // A page that is more than a socket takes at once, so that some of it waits.
    (0..1200).for_each(|number| server.write(&format!("{long}{number}"), ""));
    let mut slow: Vec<TcpStream> = (0..4).map(|_| server.connect()).collect();
    let statuses: Vec<u16> = slow
        .iter_mut()
        .map(|stream| {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(40).as_slice()).unwrap();
            read_answer(stream, true).status
        })
        .collect();
    assert!(statuses[0] == 200 && statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    // One more would be too much as long as the others have not taken theirs.
    eventually("there is no room", || server.get("/").status == 503);
    drop(slow);
    eventually("there is room again", || server.get("/").status == 200);
}
