//! Why something was not done, and whether it is worth another try.

use std::fmt;
use std::io;

/// Why something was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    /// The same may go well a little later.
    pub(crate) passes: bool,
    /// What the server answered, if that is the reason.
    pub(crate) status: Option<u16>,
}

impl Failure {
    /// It will not go better next time.
    pub(crate) fn lasting(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), passes: false, status: None }
    }

    /// It may go better next time.
    pub(crate) fn passing(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), passes: true, status: None }
    }

    /// The same, with the status of the answer that tells of it.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
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
