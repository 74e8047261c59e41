//! What another thread reads from a connection and what the loop reads are together what was sent, in its order.

mod common;

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::thread;

use common::{TestLoop, Transport, assert_pattern, eventually, pattern};
use reactor::{Context, Handler, Input, Limits, Result, SocketReader};

/// Lets a job read whenever something has come, and answers with a byte when all has.
struct Alternating {
    come: usize,
    expected: usize,
    read: fn(&mut SocketReader) -> Vec<u8>,
}

impl Alternating {
    fn take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result {
        assert_pattern(self.come, bytes);
        self.come += bytes.len();
        if !bytes.is_empty() && self.come == self.expected { cx.send("!") } else { Ok(()) }
    }
}

/// Reads what there is, up to a bound that leaves something to the loop.
fn read_some(reader: &mut SocketReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < 100_000 {
        match reader.append_to(&mut bytes, 30_000) {
            Ok(0) => break,
            Ok(count) => assert!(count <= 30_000),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    bytes
}

/// The same by way of a pipe.
fn splice_some(reader: &mut SocketReader) -> Vec<u8> {
    let neither_is_a_pipe = reader.splice_to(File::create("/dev/null").expect("it is there"), 1).expect_err("no pipe");
    assert_eq!(neither_is_a_pipe.kind(), ErrorKind::InvalidInput);
    let (mut from, to) = io::pipe().expect("there is a descriptor");
    let mut bytes = Vec::new();
    while bytes.len() < 100_000 {
        match reader.splice_to(&to, 30_000) {
            Ok(0) => break,
            Ok(count) => {
                assert!(count <= 30_000);
                let length = bytes.len();
                bytes.resize(length + count, 0);
                from.read_exact(&mut bytes[length..]).expect("as many are in the pipe");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    bytes
}

impl Handler for Alternating {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        self.take(cx, input.take())?;
        let mut reader = cx.lend_input()?;
        let read = self.read;
        let job = move || (read(&mut reader), reader);
        cx.spawn_blocking(job, |cx, outcome| {
            let (bytes, reader) = outcome?;
            let id = cx.id();
            cx.with(id, |this: &mut Self, cx| this.take(cx, &bytes)).unwrap_or(Ok(()))?;
            cx.take_back_input(reader)
        })
    }
}

#[test]
fn two_threads_in_turn_read_the_whole_stream() {
    take_turns(read_some);
}

#[test]
fn what_passes_through_a_pipe_is_read_in_its_turn() {
    take_turns(splice_some);
}

#[track_caller]
fn take_turns(read: fn(&mut SocketReader) -> Vec<u8>) {
    for transport in Transport::ALL {
        let expected = 20_000_000;
        let server =
            TestLoop::serve_with(Limits::default(), transport, move || Alternating { come: 0, expected, read });
        let mut client = server.client();
        let mut sending = client.twin();
        let sender = thread::spawn(move || sending.write_all(&pattern(0, expected)));
        client.read_exact(&mut [0]).expect("all has come");
        sender.join().expect("it does not panic").expect("all is sent");
        eventually("all is counted", || server.metrics().bytes_in == expected as u64);
        drop(client);
        eventually("the end is found", || server.metrics().closed.eof == 1);
    }
}
