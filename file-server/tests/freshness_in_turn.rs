//! A request that was sent after a file was replaced is answered with the new one, though the server was at work meanwhile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use file_server::connection::HttpConnection;
use file_server::memory::Memory;
use file_server::root::{Access, Root};
use file_server::settings::{Answers, Caching, Settings, Timeouts, Uploads};
use file_server::storage::{Fsync, Storage, StorageOptions};
use file_server::worker::Worker;
use reactor::{Address, Context, EventLoop, Handler, Input, ListenOptions, Result, SocketAddress};

/// A client of the same turn: looks at what has changed, as every request does, and then has the file replaced and somebody
/// else ask for it again.
struct Busybody {
    directory: PathBuf,
    other: UnixStream,
}

impl Handler<Worker> for Busybody {
    fn on_data(&mut self, cx: &mut Context<'_, Worker>, input: &mut Input<'_>) -> Result {
        input.take();
        let (id, now) = (cx.id(), cx.now());
        cx.state().begin_reading(id);
        cx.state().begin_turn(now);
        put_in_place(&self.directory, "new");
        self.other.write_all(REQUEST)
    }
}

/// A loop that serves a directory, and listens for what is no request, too.
struct Scene {
    event_loop: EventLoop<Worker>,
    directory: tempfile::TempDir,
    client: UnixStream,
    busybody: UnixStream,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sockets = tempfile::tempdir().unwrap();
        let state = Worker::new(&Arc::new(settings(directory.path())), &Arc::default());
        let mut event_loop = EventLoop::new(state).unwrap();
        let [http, other] = ["http", "other"].map(|name| sockets.path().join(name));
        let options = ListenOptions::default();
        let address = |path: &Path| format!("unix:{}", path.display()).parse::<Address>().unwrap();
        event_loop.listen(address(&http), &options, HttpConnection::new).unwrap();
        let client = UnixStream::connect(http).unwrap();
        let (asks, path) = (client.try_clone().unwrap(), directory.path().to_owned());
        let make = move |_: &SocketAddress| Busybody { directory: path.clone(), other: asks.try_clone().unwrap() };
        event_loop.listen(address(&other), &options, make).unwrap();
        let busybody = UnixStream::connect(other).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut scene = Self { event_loop, directory, client, busybody };
        scene.turns_until("both are accepted", |scene| scene.event_loop.metrics().accepted == 2);
        scene
    }

    /// Turns until the condition holds.
    fn turns_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(Instant::now() < deadline, "not within a minute: {what}");
            self.event_loop.turn(Some(Duration::from_millis(10))).unwrap();
        }
    }

    /// The contents that the client is answered with, once there are so many answers.
    fn answers(&mut self, count: usize) -> Vec<String> {
        let mut received = Vec::new();
        let bodies = |received: &[u8]| {
            let text = String::from_utf8_lossy(received).into_owned();
            text.split("\r\n\r\n").skip(1).map(|body| body[..3].to_owned()).collect::<Vec<_>>()
        };
        self.turns_until("the client is answered", |scene| {
            let mut part = [0; 4096];
            match scene.client.read(&mut part) {
                Ok(length) => received.extend_from_slice(&part[..length]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            received.windows(4).filter(|window| window == b"\r\n\r\n").count() == count && received.ends_with_body()
        });
        bodies(&received)
    }
}

trait EndsWithBody {
    /// Whether the last answer is there with its three bytes.
    fn ends_with_body(&self) -> bool;
}

impl EndsWithBody for Vec<u8> {
    fn ends_with_body(&self) -> bool {
        self.ends_with(b"old") || self.ends_with(b"new")
    }
}

fn settings(directory: &Path) -> Settings {
    Settings {
        root: Arc::new(Root::open(directory, Access::default()).unwrap()),
        answers: Answers::default(),
        uploads: Uploads::default(),
        storage: Arc::new(Storage::new(StorageOptions { fsync: Fsync::Never, preallocate: false })),
        memory: Memory::new(1 << 20),
        users: None,
        timeouts: Timeouts::default(),
        caching: Caching::default(),
        connections_per_address: 0,
        bandwidth: 0,
    }
}

/// Replaces the file by a rename.
fn put_in_place(directory: &Path, contents: &str) {
    fs::write(directory.join(".fresh"), contents).unwrap();
    fs::rename(directory.join(".fresh"), directory.join("a")).unwrap();
}

/// The file is kept, and nothing happens any more.
fn warm(scene: &mut Scene) {
    put_in_place(scene.directory.path(), "old");
    for _ in 0..3 {
        scene.client.write_all(REQUEST).unwrap();
        assert_eq!(scene.answers(1), ["old"]);
    }
    // What the loop is told of the answers' way, so that the next events come in the order in which they happen.
    scene.event_loop.turn(Some(Duration::ZERO)).unwrap();
    scene.event_loop.turn(Some(Duration::ZERO)).unwrap();
}

#[test]
fn what_is_asked_behind_another_request_after_a_change_is_new() {
    let mut scene = Scene::new();
    warm(&mut scene);
    // The loop is told of both at once. The first request was there before the change, and may be answered either way.
    scene.busybody.write_all(b"x").unwrap();
    scene.client.write_all(REQUEST).unwrap();
    assert_eq!(scene.answers(2)[1], "new");
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
