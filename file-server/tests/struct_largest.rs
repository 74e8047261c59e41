//! The largest file of the struct protocol, 2 GiB less one byte, arrives whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod upload_support;

use std::fs::File;
use std::io::{Read, Write};

use upload_support::{Server, assert_same, expect_ok, header, pattern};

/// No divisor of the pieces in which files are written.
const BLOCK: usize = (1 << 20) - 9;

#[test]
fn two_gigabytes_less_one_byte() {
    let server = Server::start(&[]);
    let disk = rustix::fs::statvfs(server.root()).unwrap();
    if disk.f_bavail * disk.f_frsize < 6 << 30 {
        println!("skipped: less than 6 GiB are free on the disk of the tests");
        return;
    }
    let block = pattern(1, BLOCK);
    let mut stream = server.connect();
    stream.write_all(&header(b"largest", i32::MAX)).unwrap();
    expect_ok(&mut stream);
    in_blocks(|count| stream.write_all(&block[..count]).unwrap());
    expect_ok(&mut stream);
    let mut stored = File::open(server.path("largest")).unwrap();
    assert_eq!(stored.metadata().unwrap().len(), i32::MAX as u64);
    let mut read = vec![0; BLOCK];
    in_blocks(|count| {
        stored.read_exact(&mut read[..count]).unwrap();
        assert_same(&read[..count], &block[..count]);
    });
}

/// The whole size in blocks.
fn in_blocks(mut block: impl FnMut(usize)) {
    let mut left = usize::try_from(i32::MAX).unwrap();
    while left > 0 {
        let count = left.min(BLOCK);
        block(count);
        left -= count;
    }
}
