//! Two network namespaces and a bad wire between them: what one end sends is dropped, delayed, swapped, doubled, and has
//! bits flipped, as a seed says.
//!
//! ```text
//!   namespace "server"                                    namespace "client"
//!   10.77.0.1  TUN device ◀── Link (fates, a queue) ◀──── TUN device  10.77.0.2
//!                         ────▶ Link (fates, a queue) ───▶
//! ```

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a test that skips says so")]

mod fate;
mod forwarder;
mod link;
mod namespace;

use std::env;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

pub(crate) use fate::Rates;
pub(crate) use link::Tally;
pub(crate) use namespace::Namespace;
use nix::unistd::Uid;
use tun_rs::SyncDevice;

use forwarder::Shared;

/// The address of the server's end.
pub(crate) const SERVER: &str = "10.77.0.1";

/// The address of the client's end.
pub(crate) const CLIENT: &str = "10.77.0.2";

/// The two namespaces and the thread that carries packets between them, for as long as this lives.
pub(crate) struct Wire {
    pub(crate) server: Namespace,
    pub(crate) client: Namespace,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    seed: u64,
}

impl Wire {
    /// Lays a wire with these rates. `None`, and said why: this machine does not let us.
    pub(crate) fn lay(rates: Rates) -> Option<Self> {
        if !Uid::effective().is_root() {
            run_as_root_of_a_user_namespace();
            return None;
        }
        let seed = seed();
        println!("the wire's fates come from REACTOR_SEED={seed}");
        let (server, client) = (Namespace::new()?, Namespace::new()?);
        let ends = [end_in(&server, SERVER, CLIENT)?, end_in(&client, CLIENT, SERVER)?];
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || forwarder::carry(&ends, rates, seed, &theirs));
        Some(Self { server, client, shared, thread: Some(thread), seed })
    }

    /// Whether nothing passes at all, in either direction.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.shared.cut.store(is_cut, Ordering::Relaxed);
    }

    /// What has happened so far, of both directions.
    pub(crate) fn tally(&self) -> Tally {
        *self.shared.tally.lock().unwrap()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        let carried = self.thread.take().map(JoinHandle::join);
        if thread::panicking() {
            println!("replay with REACTOR_SEED={}: {:?}", self.seed, self.tally());
        } else {
            carried.unwrap().unwrap();
        }
    }
}

/// Runs this test once more where its user is root, in a user namespace; see user_namespaces(7).
fn run_as_root_of_a_user_namespace() {
    let become_root = ["--user", "--map-root-user"];
    if !Command::new("unshare").args(become_root).arg("true").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: this takes root, or a user namespace, and unshare(1) cannot make one here");
        return;
    }
    let test = thread::current().name().unwrap().to_owned();
    let mut command = Command::new("unshare");
    command.args(become_root).arg(env::current_exe().unwrap()).args([&test, "--exact", "--nocapture"]);
    assert!(command.status().unwrap().success(), "{test} failed in a user namespace");
}

/// A TUN device in the namespace, up and with its address.
fn end_in(namespace: &Namespace, address: &'static str, peer: &'static str) -> Option<SyncDevice> {
    namespace.run(move || {
        let device = match tun_rs::DeviceBuilder::new().name(DEVICE).build_sync() {
            Ok(device) => device,
            Err(error) => {
                println!("skipped: no TUN device can be made here: {error}");
                return None;
            }
        };
        device.set_nonblocking(true).unwrap();
        ip(&["link", "set", "lo", "up"]);
        ip(&["address", "add", address, "peer", peer, "dev", DEVICE]);
        ip(&["link", "set", DEVICE, "mtu", "1500", "up"]);
        Some(device)
    })
}

/// Runs ip(8) in the namespace of the calling thread.
fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The seed of this run: `REACTOR_SEED`, or one that is always the same.
fn seed() -> u64 {
    env::var("REACTOR_SEED").ok().map_or(20_260_101, |seed| seed.parse().unwrap())
}

const DEVICE: &str = "wire";
