//! Clients that behave in every way there is, as a seed says.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::common::{connect, expect_end};
use crate::streams::{assert_streams, mix, receive, send};

/// A client that comes again and again, each time in another way.
pub(crate) struct Wild {
    server: SocketAddr,
    random: u64,
}

impl Wild {
    pub(crate) fn new(server: SocketAddr, seed: u64) -> Self {
        Self { server, random: mix(seed) }
    }

    /// Comes, does something, and goes. Whatever comes back is checked.
    pub(crate) fn visit(&mut self) {
        let mut stream = connect(self.server);
        match self.below(9) {
            // Comes and goes.
            0 => {}
            1 => reset(&stream),
            2 => self.chat(&mut stream),
            // Half-closes, and takes all that comes back.
            3 => {
                let length = self.below(300_000);
                assert_streams(stream, self.random, length);
            }
            // Goes without taking its answer.
            4 => send(&mut stream, self.random, 0..2000),
            5 => {
                send(&mut stream, self.random, 0..2000);
                reset(&stream);
            }
            6 => self.stall(stream),
            7 => self.speak_slowly(&mut stream),
            _ => self.idle(&mut stream),
        }
    }

    /// A few messages of any size, one after the other.
    fn chat(&mut self, stream: &mut TcpStream) {
        let (seed, mut position) = (self.random, 0);
        for _ in 0..self.below(30) {
            let end = position + 1 + self.below(3000);
            send(stream, seed, position..end);
            receive(stream, seed, position..end);
            position = end;
        }
    }

    /// Bytes one by one, and what comes back in small pieces.
    fn speak_slowly(&mut self, stream: &mut TcpStream) {
        for position in 0..1 + self.below(100) {
            send(stream, 1, position..position + 1);
            receive(stream, 1, position..position + 1);
        }
        stream.shutdown(Shutdown::Write).unwrap();
        expect_end(stream);
    }

    /// Sends and does not read until nothing moves any more; then it goes, in one of two ways.
    fn stall(&mut self, mut stream: TcpStream) {
        stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let block = [7; 1 << 16];
        loop {
            match stream.write(&block) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        if self.below(2) == 0 {
            reset(&stream);
        }
    }

    /// Says nothing for a while, now and then until the server has had enough.
    fn idle(&mut self, stream: &mut TcpStream) {
        if self.below(16) == 0 {
            expect_end(stream);
        } else {
            thread::sleep(Duration::from_millis(self.below(300)));
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random = mix(self.random);
        (self.random >> 16) % bound
    }
}

/// The close of this stream will be a reset.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}
