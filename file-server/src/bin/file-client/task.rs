//! One thing to be done: a file to be sent or fetched, a directory to be listed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::location::{Location, StructServer};
use crate::report::plain;
use crate::server::Server;

/// One thing to be done, and how often it was tried.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) what: What,
    /// Tries that have failed.
    pub(crate) tries: u32,
    pub(crate) redirects: u32,
    /// A part that is here already is of no use.
    pub(crate) afresh: bool,
    /// Bytes that the bar expects of it.
    pub(crate) announced: u64,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Send a file by PUT.
    Put { file: PathBuf, to: Location },
    /// Send a file by the struct protocol.
    PutStruct { file: PathBuf, name: String, to: StructServer },
    /// Fetch a file.
    Get { from: Location, to: PathBuf },
    /// Fetch a directory and all below it.
    Mirror { from: Location, to: PathBuf },
    /// Show a directory.
    List { from: Location },
}

impl Task {
    pub(crate) fn new(what: What) -> Self {
        Self { what, tries: 0, redirects: 0, afresh: false, announced: 0 }
    }

    /// What it does, in one word.
    pub(crate) fn action(&self) -> &'static str {
        match self.what {
            What::Put { .. } | What::PutStruct { .. } => "put",
            What::Get { .. } | What::Mirror { .. } => "get",
            What::List { .. } => "ls",
        }
    }

    /// What it is called, in short.
    pub(crate) fn name(&self) -> String {
        let name = match &self.what {
            What::Put { file, .. } | What::PutStruct { file, .. } => file.file_name().map(ToOwned::to_owned),
            What::Get { from, .. } | What::Mirror { from, .. } | What::List { from } => from.file_name(),
        };
        plain(&name.unwrap_or_default().to_string_lossy())
    }

    /// The server that is asked over HTTP.
    pub(crate) fn server(&self) -> Option<&Server> {
        match &self.what {
            What::Put { to: place, .. } | What::Get { from: place, .. } => Some(&place.server),
            What::Mirror { from, .. } | What::List { from } => Some(&from.server),
            What::PutStruct { .. } => None,
        }
    }

    /// Where it takes from.
    pub(crate) fn source(&self) -> String {
        match &self.what {
            What::Put { file, .. } | What::PutStruct { file, .. } => file.display().to_string(),
            What::Get { from, .. } | What::Mirror { from, .. } | What::List { from } => from.to_string(),
        }
    }

    /// Where it brings to, if it brings anything.
    pub(crate) fn destination(&self) -> Option<String> {
        match &self.what {
            What::Put { to, .. } => Some(to.to_string()),
            What::PutStruct { to, name, .. } => Some(format!("{to}/{name}")),
            What::Get { to, .. } | What::Mirror { to, .. } => Some(to.display().to_string()),
            What::List { .. } => None,
        }
    }
}

/// Opens a file that is to be sent, and tells its size. A FIFO would be waited for, so nothing else is opened.
pub(crate) fn open(file: &Path) -> Result<(File, u64), Failure> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    if !metadata.is_file() {
        return Err(Failure::lasting("it is no file"));
    }
    let file = File::open(file)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}
