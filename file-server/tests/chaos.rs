//! A server that was built with chaos and started with `REACTOR_CHAOS` serves and stores every byte all the same, but those of the
//! connections that it resets.

#![cfg(feature = "chaos")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod fault_support;

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use common::{DEADLINE, PROGRAM, Server, read_some};
use fault_support::{LARGE, LISTENING, join, start_visits, tree};

/// Every fault that a transfer survives.
const ALL_BUT_RESETS: &str = "short=0.3,eagain=0.2,eintr=0.1,emfile=0.1,abort=0.2,delay=0.01,shuffle=0.3";

fn start(plan: &str) -> Server {
    let tree = tree();
    let mut command = Command::new(PROGRAM);
    command.args(LISTENING).args(["--struct-listen", "127.0.0.1:0"]).env("REACTOR_CHAOS", plan);
    command.args(["--log-level", "warn,reactor::sys::chaos=trace"]).arg(tree.path());
    Server::start_command(tree, &mut command, 2)
}

#[test]
fn transfers_survive_every_fault_but_resets() {
    for seed in 1..=5 {
        let mut server = start(&format!("{seed}:{ALL_BUT_RESETS}"));
        join(start_visits(server.address(), 4, 1));
        let (code, stderr) = server.stop();
        assert_eq!(code, Some(0));
        assert!(stderr.iter().any(|line| line.contains("bytes instead of")), "nothing was cut short");
    }
}

#[test]
fn what_comes_before_a_reset_is_right() {
    let mut server = start(&format!("7:{ALL_BUT_RESETS},reset=0.02,enospc=0.1"));
    let mut whole = 0;
    for _ in 0..60 {
        let Ok(mut client) = TcpStream::connect(server.address()) else { continue };
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        if client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nRange: bytes=0-399999\r\n\r\n").is_err() {
            continue;
        }
        let (mut answer, mut bytes) = (Vec::new(), vec![0; 64 << 10]);
        while let Ok(count @ 1..) = read_some(&mut client, &mut bytes) {
            answer.extend_from_slice(&bytes[..count]);
            let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            assert!(LARGE.starts_with(&answer[head + 4..]), "a byte is wrong");
            if answer.len() - head - 4 == 400_000 {
                whole += 1;
                break;
            }
        }
    }
    assert!((1..60).contains(&whole), "{whole} of 60 were whole");
    assert_eq!(server.stop().0, Some(0));
}
