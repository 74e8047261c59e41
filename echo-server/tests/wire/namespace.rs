//! A network namespace: a thread lives in it, and what that thread starts does too; see network_namespaces(7).

use std::sync::mpsc::{self, Sender};
use std::thread;

use nix::sched::{CloneFlags, unshare};

use crate::common::has_tool;

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with a thread in it. It is gone when nobody uses it any more.
pub(crate) struct Namespace {
    jobs: Sender<Job>,
}

impl Namespace {
    /// Makes one. `None`, and said why: this machine does not let us.
    pub(crate) fn new() -> Option<Self> {
        if !has_tool("ip") {
            return None;
        }
        let (jobs, queue) = mpsc::channel::<Job>();
        let (made, is_made) = mpsc::channel();
        thread::spawn(move || {
            made.send(unshare(CloneFlags::CLONE_NEWNET)).unwrap();
            queue.into_iter().for_each(|job| job());
        });
        match is_made.recv().unwrap() {
            Ok(()) => Some(Self { jobs }),
            Err(error) => {
                println!("skipped: no network namespace can be made here: {error}");
                None
            }
        }
    }

    /// Runs this in the namespace: the sockets that it makes and the processes that it starts belong there.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, is_done) = mpsc::channel();
        self.jobs.send(Box::new(move || drop(done.send(job())))).unwrap();
        is_done.recv().expect("the job in the namespace panicked")
    }
}
