//! Streams whose every byte is known, so that a lost, doubled or moved one shows.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};

use crate::common::{connect, expect_end, read_some};

/// `length` bytes of the stream `seed`, from `position` on. No two places of a stream look alike.
pub(crate) fn pattern(seed: u64, position: u64, length: usize) -> Vec<u8> {
    let skipped = (position % 8) as usize;
    let mut bytes = Vec::with_capacity(length + 16);
    for word in position / 8..(position + length as u64).div_ceil(8) {
        bytes.extend_from_slice(&mix(seed ^ mix(word)).to_le_bytes());
    }
    bytes.drain(..skipped);
    bytes.truncate(length);
    bytes
}

/// Checks bytes of the stream `seed` that came at `position`.
#[track_caller]
pub(crate) fn assert_pattern(seed: u64, position: u64, bytes: &[u8]) {
    let expected = pattern(seed, position, bytes.len());
    if expected == bytes {
        return;
    }
    let wrong = expected.iter().zip(bytes).position(|(sent, got)| sent != got);
    panic!("byte {:?} of stream {seed} is wrong", wrong.map(|index| position + index as u64));
}

/// The last step of the SplitMix64 generator.
pub(crate) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// Sends so many bytes, ends the sending, and wants them back and then the end.
pub(crate) fn assert_streams(stream: TcpStream, seed: u64, length: u64) {
    let mut sending = stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        send(&mut sending, seed, 0..length);
        sending.shutdown(Shutdown::Write).unwrap();
    });
    let mut receiving = stream;
    receive(&mut receiving, seed, 0..length);
    expect_end(&mut receiving);
    sender.join().unwrap();
}

/// [`assert_streams`] on `count` connections at once.
pub(crate) fn assert_many_stream(address: SocketAddr, count: u64, length: u64) {
    join(start_streams(address, count, length));
}

/// Starts `count` streams; [`join`] waits for them.
pub(crate) fn start_streams(address: SocketAddr, count: u64, length: u64) -> Vec<JoinHandle<()>> {
    let start = |seed| {
        let stream = connect(address);
        thread::spawn(move || assert_streams(stream, seed, length))
    };
    (0..count).map(start).collect()
}

pub(crate) fn join(threads: Vec<JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Sends this part of the stream `seed`.
pub(crate) fn send(stream: &mut impl Write, seed: u64, part: std::ops::Range<u64>) {
    for position in part.clone().step_by(CHUNK) {
        let length = CHUNK.min((part.end - position) as usize);
        stream.write_all(&pattern(seed, position, length)).unwrap();
    }
}

/// Receives this part of the stream `seed`.
pub(crate) fn receive(stream: &mut impl Read, seed: u64, part: std::ops::Range<u64>) {
    let (mut position, mut bytes) = (part.start, vec![0; CHUNK]);
    while position < part.end {
        let wanted = CHUNK.min((part.end - position) as usize);
        let count = read_some(stream, &mut bytes[..wanted]).unwrap();
        assert!(count > 0, "the stream ended at byte {position} of {part:?}");
        assert_pattern(seed, position, &bytes[..count]);
        position += count as u64;
    }
}

const CHUNK: usize = 16 << 10;
