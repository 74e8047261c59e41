//! Whatever the kernel does with answers and uploads on their way, no byte is lost, and a disk that fails costs one answer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod fault_support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::{Answer, DEADLINE, pattern, read_answer, read_some};
use fault_support::{Faults, Faulty, LARGE, SMALL, ask, assert_content, join, put, start_visits, tree, visit};
use program_testing::process::is_readable;
use rustix::net::{self, AddressFamily, SocketType};

#[test]
fn every_second_call_is_interrupted() {
    let calls = ["recvfrom", "sendto", "sendmsg", "sendfile", "epoll_wait", "epoll_pwait2", "openat2", "write"];
    let faults = calls.map(|call| format!("{call}:error=EINTR:when=1+2"));
    let faults: Vec<_> = faults.iter().map(String::as_str).collect();
    let Some(faulty) = Faulty::start(&faults, &[]) else { return };
    join(start_visits(faulty.server.address(), 4, 2));
    faulty.stop(&["recvfrom", "sendto", "sendfile", "epoll_pwait2", "openat2", "write"]);
}

/// A client whose kernel holds little for it. The buffer has to be small before the connection is made.
fn narrow(server: SocketAddr) -> TcpStream {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    net::sockopt::set_socket_recv_buffer_size(&socket, 16 << 10).unwrap();
    net::connect(&socket, &server).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Whether sendfile(2) moved some bytes, and fewer than it was asked to: `sendfile(12, 13, [0] => [65536], 12566528) = 65536`.
fn is_short(line: &str) -> bool {
    let asked = line.rsplit_once("], ").and_then(|(_, rest)| rest.split_once(')')?.0.parse::<u64>().ok());
    let moved = line.rsplit_once(" = ").and_then(|(_, result)| result.parse::<u64>().ok());
    asked.zip(moved).is_some_and(|(asked, moved)| moved > 0 && moved < asked)
}

#[test]
fn short_sends_and_full_sockets_lose_nothing() {
    let faults = Faults { trace: "sendfile,sendto,sendmsg", ..Faults::default() };
    let Some(faulty) = Faulty::start_with(faults, tree(), &[]) else { return };
    let mut late = [narrow(faulty.server.address()), narrow(faulty.server.address())];
    for stream in &mut late {
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    faulty.log.wait_for_error("sendfile", "EAGAIN");
    visit(faulty.server.address(), "put", 2);
    for stream in &mut late {
        assert_content(&read_answer(stream, false), 200, &LARGE);
    }
    let short = faulty.log.of("sendfile").iter().filter(|line| is_short(line)).count();
    assert!(short > 0, "no send was short");
    faulty.stop(&[]);
}

/// Longer than an answer pauses as a rule. Who waits for too short a time only sends a byte more.
const PATIENCE: Duration = Duration::from_millis(10);

/// Asks for one answer after another, and sends another byte of the next request whenever nothing comes: strace denies what
/// could be done, after which the kernel owes no edge, but input makes one.
fn assert_nudged_answers(mut stream: TcpStream, name: &str, content: &[u8], requests: usize) {
    let request = format!("GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let (mut sent, mut answered, mut received) = (0, 0, Vec::new());
    let end = Instant::now() + DEADLINE;
    while answered < requests || (answered + 1) * request.len() <= sent {
        let whole = ((answered + 1) * request.len()).max(sent);
        let is_due = sent == whole && !is_readable(&stream, PATIENCE);
        let more: Vec<_> = (sent..whole + usize::from(is_due)).map(|at| request[at % request.len()]).collect();
        stream.write_all(&more).unwrap();
        sent += more.len();
        if is_readable(&stream, Duration::ZERO) {
            let mut bytes = vec![0; 256 << 10];
            let count = read_some(&mut stream, &mut bytes).unwrap();
            assert!(count > 0, "the server closed after {answered} answers");
            received.extend_from_slice(&bytes[..count]);
        }
        while let Some((answer, length)) = whole_answer(&received) {
            assert_content(&answer, 200, content);
            received.drain(..length);
            answered += 1;
        }
        assert!(Instant::now() < end, "{answered} answers came for {sent} bytes");
    }
}

/// The first answer, and how many bytes it has, if all of it is there.
fn whole_answer(mut bytes: &[u8]) -> Option<(Answer, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let answer = read_answer(&mut &bytes[..head], true);
    let length = head + answer.field("Content-Length").unwrap().parse::<usize>().unwrap();
    (bytes.len() >= length).then(|| (read_answer(&mut bytes, false), length))
}

#[test]
fn answers_that_the_kernel_refuses_leave_with_the_next_edge() {
    let faults = [
        "sendto:error=EAGAIN:when=2+5",
        "sendmsg:error=EAGAIN:when=2+3",
        "sendfile:error=EAGAIN:when=2+3",
        "recvfrom:error=EAGAIN:when=3+5",
    ];
    let Some(faulty) = Faulty::start(&faults, &[]) else { return };
    for _ in 0..3 {
        assert_nudged_answers(faulty.server.connect(), "small", &SMALL, 20);
        assert_nudged_answers(faulty.server.connect(), "large", &LARGE, 2);
    }
    faulty.stop(&["sendto", "sendfile", "recvfrom"]);
}

#[test]
fn pages_that_the_kernel_does_not_take_are_copied_or_lent_again() {
    let all_fail = ["vmsplice:error=ENOMEM"].as_slice();
    let some_fail = ["vmsplice:error=ENOMEM:when=4+4", "splice:error=EAGAIN:when=3+5"].as_slice();
    let without_pipes = ["pipe2:error=EMFILE"].as_slice();
    let content = pattern(400_000);
    for (faults, calls) in
        [(all_fail, vec!["vmsplice"]), (some_fail, vec!["vmsplice", "splice"]), (without_pipes, vec!["pipe2"])]
    {
        let Some(faulty) = Faulty::start(faults, &[]) else { return };
        faulty.server.write("medium", &content);
        // Often enough for it to be kept in pages, and then some.
        assert_nudged_answers(faulty.server.connect(), "medium", &content, 100);
        faulty.stop(&calls);
    }
}

/// The body of an answer as far as it came, and whether that is all of it.
fn body_of(mut stream: TcpStream) -> (Vec<u8>, bool) {
    let head = read_answer(&mut stream, true);
    let length = head.field("Content-Length").unwrap().parse::<usize>().unwrap();
    let (mut body, mut bytes) = (Vec::new(), vec![0; 256 << 10]);
    while body.len() < length {
        match read_some(&mut stream, &mut bytes) {
            Ok(count @ 1..) => body.extend_from_slice(&bytes[..count]),
            Ok(_) => break,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                break;
            }
        }
    }
    let is_whole = body.len() == length;
    (body, is_whole)
}

#[test]
fn a_disk_that_fails_under_an_answer_ends_that_answer_alone() {
    let Some(faulty) = Faulty::start(&["sendfile:error=EIO:when=4"], &[]) else { return };
    let mut streams: Vec<_> = (0..4).map(|_| faulty.server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    let readers = streams.into_iter().map(|stream| thread::spawn(move || body_of(stream)));
    let bodies: Vec<_> = readers.collect::<Vec<_>>().into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(bodies.iter().all(|(body, _)| LARGE.starts_with(body)), "a byte is wrong");
    assert_eq!(bodies.iter().filter(|(_, is_whole)| *is_whole).count(), 3);
    visit(faulty.server.address(), "put", 1);
    faulty.stop(&["sendfile"]);
}

#[test]
fn a_client_that_is_gone_ends_its_own_connection_alone() {
    for fault in ["sendto:error=EPIPE:when=3", "recvfrom:error=ECONNRESET:when=3", "recvfrom:error=ETIMEDOUT:when=3"] {
        let call = fault.split(':').next().unwrap();
        let Some(faulty) = Faulty::start(&[fault], &[]) else { return };
        let mut clients: Vec<_> = (0..4).map(|_| faulty.server.connect()).collect();
        let mut ended = 0;
        for client in &mut clients {
            client.write_all(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            match client.read(&mut [0; 1]).map_err(|error| error.kind()) {
                Ok(1) => {}
                outcome => {
                    assert!(matches!(outcome, Ok(0) | Err(ErrorKind::ConnectionReset)), "{outcome:?}");
                    ended += 1;
                }
            }
        }
        assert_eq!(ended, 1, "{fault}");
        assert_content(&ask(&mut faulty.server.connect(), "GET /small", ""), 200, &SMALL);
        drop(clients);
        faulty.stop(&[call]);
    }
}

#[test]
fn an_upload_whose_connection_fails_leaves_nothing_and_others_are_stored() {
    let Some(faulty) = Faulty::start(&["recvfrom:error=ECONNRESET:when=5"], &[]) else { return };
    let content = pattern(1 << 20);
    let head = format!("PUT /broken HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len());
    let mut broken = faulty.server.connect();
    broken.write_all(head.as_bytes()).unwrap();
    // One byte a read, until it is this connection's turn to fail.
    let mut sent = 0;
    while !is_readable(&broken, PATIENCE) && sent < 1000 {
        if broken.write_all(&content[sent..=sent]).is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 1000, "nothing has failed");
    assert!(put(&mut faulty.server.connect(), "whole", &content).status < 300);
    let (_, tree) = faulty.stop(&["recvfrom"]);
    let mut names: Vec<_> = tree.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["large", "small", "whole"]);
    assert!(std::fs::read(tree.path().join("whole")).unwrap() == content);
}
