//! A thread of a simulation that the test starts.

use std::thread::{self, JoinHandle};

use crate::sim::world;

/// A thread that [`Sim::spawn`](crate::sim::Sim::spawn) has started.
#[derive(Debug)]
pub struct SimThread<T> {
    number: usize,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> SimThread<T> {
    /// Starts a thread under the simulation of the calling one.
    pub(crate) fn try_start(name: &str, run: impl FnOnce() -> T + Send + 'static) -> std::io::Result<Self> {
        let newcomer = world::enter_thread(name).expect("the calling thread is part of a simulation");
        let number = newcomer.number();
        let body = move || {
            let _life = newcomer.begin();
            run()
        };
        match thread::Builder::new().name(name.to_owned()).spawn(body) {
            Ok(thread) => Ok(Self { number, thread }),
            Err(error) => {
                world::abandon_thread(number);
                Err(error)
            }
        }
    }

    pub(super) fn start(name: &str, run: impl FnOnce() -> T + Send + 'static) -> Self {
        Self::try_start(name, run).expect("a simulation has few threads")
    }

    /// Waits for its end, while other threads of the simulation run, and answers what it answered.
    ///
    /// # Errors
    /// What it panicked with.
    pub fn join(self) -> thread::Result<T> {
        world::await_end(self.number);
        self.thread.join()
    }
}
