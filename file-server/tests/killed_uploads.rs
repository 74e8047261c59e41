//! `kill -9` in the midst of uploads by both protocols, at many moments: each name stands for a whole file, and what was
//! confirmed is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod upload_support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use upload_support::{DEADLINE, Server, eventually, header, names, pattern, put, put_chunked};

/// How a file is sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    Length,
    Chunked,
    Struct,
}

/// One who sends version after version of a file until the server is no more.
struct Uploader {
    name: String,
    thread: JoinHandle<Versions>,
}

/// The version that was confirmed last, and the one that was sent last.
#[derive(Clone, Copy, Debug)]
struct Versions {
    confirmed: Option<u64>,
    sent: u64,
}

fn content(version: u64) -> Vec<u8> {
    // Sizes around those of the pieces in which bodies go to the disk.
    let size = [1, 4096, 70_000, 1 << 20, (1 << 20) + 1, 2_500_000][usize::try_from(version % 6).unwrap()];
    pattern(version, size)
}

impl Uploader {
    fn start(way: Way, address: SocketAddr, total: &Arc<AtomicUsize>) -> Self {
        let name = format!("{way:?}");
        let (total, file) = (Arc::clone(total), name.clone());
        let thread = thread::spawn(move || {
            let mut versions = Versions { confirmed: None, sent: 0 };
            while upload(way, address, &file, &content(versions.sent)).is_some() {
                total.fetch_add(1, Ordering::Relaxed);
                versions.confirmed = Some(versions.sent);
                versions.sent += 1;
            }
            versions
        });
        Self { name, thread }
    }

    /// What is there is whole, and not older than what was confirmed.
    fn check(self, directory: &Path) {
        let versions = self.thread.join().unwrap();
        let stored = fs::read(directory.join(&self.name)).ok();
        let allowed = versions.confirmed.unwrap_or(versions.sent)..=versions.sent;
        let is_one = |stored: &Vec<u8>| allowed.clone().any(|version| *stored == content(version));
        match &stored {
            None => assert_eq!(versions.confirmed, None, "{} is gone", self.name),
            Some(stored) => assert!(is_one(stored), "{}: {} bytes after {versions:?}", self.name, stored.len()),
        }
    }
}

/// Sends a file; `None` if that was not confirmed.
fn upload(way: Way, address: SocketAddr, name: &str, content: &[u8]) -> Option<()> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    let path = format!("/{name}");
    let (request, wanted) = match way {
        Way::Length => (put(&path, "", content), "HTTP/1.1 20"),
        Way::Chunked => (put_chunked(&path, "", content, 70_001), "HTTP/1.1 20"),
        Way::Struct => {
            let size = i32::try_from(content.len()).unwrap();
            ([header(name.as_bytes(), size), content.to_vec()].concat(), "okok")
        }
    };
    stream.write_all(&request).ok()?;
    let mut answer = vec![0; wanted.len()];
    stream.read_exact(&mut answer).ok()?;
    (answer == wanted.as_bytes()).then_some(())
}

#[test]
fn a_kill_at_any_moment_leaves_whole_files_and_all_that_was_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..12 {
        let mut server = Server::start_in(directory.path(), &["--allow-upload"]);
        assert!(names(directory.path()).iter().all(|name| !name.starts_with('.')), "the last round left something");
        let total = Arc::new(AtomicUsize::new(0));
        let uploaders = [Way::Length, Way::Chunked, Way::Struct].map(|way| {
            let address = if let Way::Struct = way { server.struct_address() } else { server.http_address() };
            Uploader::start(way, address, &total)
        });
        eventually("so many are confirmed", || total.load(Ordering::Relaxed) >= round % 7);
        // A little later, each time in the middle of something else.
        (0..round * 60).for_each(|_| thread::yield_now());
        server.kill();
        for uploader in uploaders {
            let file = directory.path().join(&uploader.name);
            uploader.check(directory.path());
            // None is there at the start of a round.
            let _ = fs::remove_file(file);
        }
    }
}
