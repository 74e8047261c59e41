//! Why something was not done, and whether it is worth another try.

use std::fmt;
use std::io;

/// Why something was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    /// The same may go well a little later.
    pub(crate) passes: bool,
}

impl Failure {
    /// It will not go better next time.
    pub(crate) fn lasting(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), passes: false }
    }

    /// It may go better next time.
    pub(crate) fn passing(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), passes: true }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// What the disk of this machine refuses.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::lasting(error)
    }
}
