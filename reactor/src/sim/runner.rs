//! Running a test under many seeds, and one of them again.

use std::any::Any;
use std::env;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sim::faults::Faults;
use crate::sim::sim::Sim;

/// The seeds under which a test runs.
///
/// Two variables of the environment rule over what the test says: `REACTOR_SEED=n` runs the one seed `n`, `REACTOR_SEEDS=n` runs
/// `n` seeds from the first on. A third, `REACTOR_TRACE=n`, says how many of the last things that happened a failure tells; 100
/// by default.
#[derive(Clone, Debug)]
pub struct Seeds {
    first: u64,
    count: u64,
}

impl Seeds {
    /// The first `count` seeds.
    #[must_use]
    pub fn first(count: u64) -> Self {
        Self { first: 0, count }
    }

    /// The seeds from `first` on, so that several tests need not run the same ones.
    #[must_use]
    pub fn from(mut self, first: u64) -> Self {
        self.first = first;
        self
    }

    /// Runs `test` once a seed, each time on a machine of its own.
    ///
    /// # Panics
    /// `test` has failed under a seed. The message names the seed.
    pub fn check(&self, faults: &Faults, mut test: impl FnMut(&mut Sim) -> io::Result<()>) {
        self.for_each(|seed| {
            let mut sim = Sim::with_faults(seed, faults.clone());
            test(&mut sim)
        });
    }

    /// Calls `run` once a seed, for tests that make their own machine of it.
    ///
    /// # Panics
    /// As [`check`](Self::check).
    pub fn for_each(&self, mut run: impl FnMut(u64) -> io::Result<()>) {
        let (first, count) = match (number("REACTOR_SEED"), number("REACTOR_SEEDS")) {
            (Some(seed), _) => (seed, 1),
            (None, Some(count)) => (self.first, count),
            (None, None) => (self.first, self.count),
        };
        for seed in first..first.saturating_add(count) {
            let failure = match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(payload) => text_of(&*payload),
            };
            panic!("failed under seed {seed}: {failure}\nrun it again: REACTOR_SEED={seed} cargo test ...");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.trim().parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number")))
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
