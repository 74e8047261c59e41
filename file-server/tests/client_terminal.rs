//! `file-client` on a terminal: a bar that fits, follows the window and goes away; and in the hands of people who press Ctrl-C,
//! or read only the beginning.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod upload_support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use upload_support::{DEADLINE, Server, assert_same, eventually, names, pattern, wait_for};

const CLIENT: &str = env!("CARGO_BIN_EXE_file-client");

/// The two ends of a terminal.
struct Terminal {
    ours: File,
    theirs: OwnedFd,
}

impl Terminal {
    fn open(columns: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let terminal = Self { ours: File::from(ours), theirs };
        terminal.resize(columns);
        terminal
    }

    fn resize(&self, columns: u16) {
        tcsetwinsize(&self.ours, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    }

    /// Starts the client with its stderr here.
    fn run(&self, directory: &Path, arguments: &[&str]) -> Child {
        let mut command = Command::new(CLIENT);
        command.args(arguments).current_dir(directory).env("TERM", "xterm").env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.theirs.try_clone().unwrap()).spawn().unwrap()
    }

    /// What is written here until the client ends.
    fn read_while_it_runs(&mut self, client: &mut Child, mut each: impl FnMut(&Self, &str)) -> String {
        let mut text = String::new();
        let end = Instant::now() + DEADLINE;
        while client.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it does not end: {text:?}");
            let mut wanted = [PollFd::new(&self.ours, PollFlags::IN)];
            if poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 })) != Ok(1) {
                continue;
            }
            let mut piece = [0; 4096];
            let count = self.ours.read(&mut piece).unwrap();
            text.push_str(&String::from_utf8_lossy(&piece[..count]));
            each(self, &text);
        }
        text
    }

    /// The rest, once the program has ended.
    fn read_to_end(mut self, text: &mut String) {
        drop(self.theirs);
        let mut piece = [0; 4096];
        // The other end of a terminal is an error, and no end of file.
        while let Ok(count @ 1..) = self.ours.read(&mut piece) {
            text.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    }
}

/// What is between two moves of the cursor, without colours and the like.
fn drawn(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        if char == '\x1b' {
            // Of the sequences that are used here each ends with a letter.
            rest.find(char::is_ascii_alphabetic);
            plain.push('\n');
        } else {
            plain.push(char);
        }
    }
    plain.split(['\r', '\n']).map(str::to_owned).filter(|line| !line.trim().is_empty()).collect()
}

/// A server that takes two seconds for `large`, which is of 2 MiB.
fn slow_server() -> (Server, String, Vec<u8>) {
    let server = Server::start(&["--bandwidth", "1MiB"]);
    let content = pattern(1, 2 << 20);
    fs::write(server.path("large"), &content).unwrap();
    let url = format!("http://{}/large", server.http_address());
    (server, url, content)
}

#[test]
fn the_bar_fits_and_goes_away() {
    let (_server, url, content) = slow_server();
    let runs = [(120, "left  large"), (60, "left  large"), (20, "%")].map(|(columns, wanted)| {
        let url = url.clone();
        let run = move || {
            let here = tempfile::tempdir().unwrap();
            let mut terminal = Terminal::open(columns);
            let mut client = terminal.run(here.path(), &["get", &url]);
            let mut text = terminal.read_while_it_runs(&mut client, |_, _| ());
            assert!(client.wait().unwrap().success());
            terminal.read_to_end(&mut text);
            (columns, wanted, text, fs::read(here.path().join("large")).unwrap())
        };
        thread::spawn(run)
    });
    for run in runs {
        let (columns, wanted, text, fetched) = run.join().unwrap();
        assert_same(&fetched, &content);
        let bars: Vec<_> = drawn(&text).into_iter().filter(|line| !line.contains("->")).collect();
        assert!(bars.iter().all(|line| line.chars().count() <= usize::from(columns)), "{columns}: {bars:#?}");
        assert_eq!(bars.iter().any(|line| line.contains("B/s")), columns > 20, "{columns}: {bars:#?}");
        assert_eq!(bars.iter().any(|line| line.contains("of 2.00 MiB")), columns > 100, "{columns}: {bars:#?}");
        assert!(bars.iter().any(|line| line.trim_end().ends_with(wanted)), "{columns}: {bars:#?}");
        assert!(text.contains("large -> ./large: 2097152 bytes"), "{columns}: {text:?}");
    }
}

/// A server that sends a little now and then, and never comes to the end.
fn endless_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 1073741824\r\n\r\n").unwrap();
        while stream.write_all(&[b'x'; 4096]).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    address
}

#[test]
fn the_bar_follows_the_window() {
    let here = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::open(120);
    let mut client = terminal.run(here.path(), &["get", &format!("http://{}/large", endless_server())]);
    let process = Pid::from_child(&client);
    let mut narrow_from = None;
    terminal.read_while_it_runs(&mut client, |terminal, text| match narrow_from {
        None if text.contains("of 1.00 GiB") => {
            narrow_from = Some(text.len());
            terminal.resize(20);
            kill_process(process, Signal::WINCH).unwrap();
        }
        Some(from) if drawn(&text[from..]).iter().any(|line| line.trim() == "0%") => {
            kill_process(process, Signal::KILL).unwrap();
        }
        _ => {}
    });
}

/// What stands on stderr when it is no terminal: lines, and nothing that moves a cursor.
#[test]
fn elsewhere_there_are_lines() {
    let (_server, url, _content) = slow_server();
    let here = tempfile::tempdir().unwrap();
    let output = Command::new(CLIENT).args(["get", &url]).current_dir(here.path()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.lines().count()), (Some(0), 1), "{text:?}");
    assert!(!text.contains(['\r', '\x1b']), "{text:?}");
}

#[test]
fn an_interruption_leaves_no_file_under_its_name_and_a_part_to_go_on_with() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let here = tempfile::tempdir().unwrap();
        let terminal = Terminal::open(100);
        let mut client = terminal.run(here.path(), &["get", &format!("http://{}/large", endless_server())]);
        let part = here.path().join("large.part");
        eventually("some of it is there", || fs::metadata(&part).is_ok_and(|part| part.len() > 10_000));
        kill_process(Pid::from_child(&client), signal).unwrap();
        assert_eq!(wait_for(&mut client).code(), Some(code));
        let mut text = String::new();
        terminal.read_to_end(&mut text);
        assert!(text.contains("interrupted: 1 file is not done"), "{text:?}");
        assert_eq!(names(here.path()), ["large.part", "large.part.from"]);
        assert!(fs::read_to_string(here.path().join("large.part.from")).unwrap().ends_with("/large\n\"1\"\n"));
    }
}

#[test]
fn a_file_goes_to_stdout_and_a_reader_may_leave() {
    let server = Server::start(&[]);
    let content = pattern(1, 3 << 20);
    fs::write(server.path("a"), &content).unwrap();
    let url = format!("http://{}/a", server.http_address());
    let here = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(CLIENT);
        command.args(["get", &url, "-o", "-"]).args(arguments).current_dir(here.path()).output().unwrap()
    };
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(0));
    assert_same(&output.stdout, &content);
    // What is wrong is known when it has been written, and told by the code.
    let output = run(&["--sha256", &"00".repeat(32)]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), content.len()));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("its digest is another") && !stderr.contains("trying again"), "{stderr}");

    let mut command = Command::new(CLIENT);
    command.args(["get", &url, "-o", "-"]).current_dir(here.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    client.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
    assert_eq!(wait_for(&mut client).code(), Some(1));
    let mut stderr = String::new();
    client.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("cannot write to stdout") && stderr.lines().count() == 1, "{stderr}");
    assert!(names(here.path()).is_empty());
}

#[test]
fn servers_on_unix_sockets_and_on_ipv6_are_reached() {
    let place = tempfile::tempdir().unwrap();
    // Names that a URL has to encode, and one that no text has as it is.
    let listen = format!("unix:{}/a b%41\\xff", place.path().display());
    let struct_listen = format!("unix:@file-server-{}/struct", std::process::id());
    let arguments = ["--allow-upload", "--listen", "[::1]:0", "--listen", &listen, "--struct-listen", &struct_listen];
    let mut server = Server::start(&arguments);
    server.wait_for_words(&["struct+unix:"]);
    let six = format!("http://[::1]:{}", server.address_after("http://[::1]:"));
    // What is printed can be pasted.
    let http = format!("http+unix://{}", server.address_after("http+unix://"));
    let upload = format!("struct+unix://{}", server.address_after("struct+unix://"));
    File::create(place.path().join("a b")).unwrap().write_all(b"hello").unwrap();
    let done = |arguments: &[&str]| {
        let output = Command::new(CLIENT).args(arguments).current_dir(place.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    done(&["put", "a b", &format!("{http}/one/")]);
    done(&["put", "a b", &upload]);
    done(&["put", "a b", &format!("{six}/two")]);
    for name in ["one/a b", "a b", "two"] {
        assert_eq!(fs::read(server.path(name)).unwrap(), b"hello");
    }
    let listed = done(&["ls", &http]);
    assert!(String::from_utf8(listed).unwrap().contains("a b"));
}
