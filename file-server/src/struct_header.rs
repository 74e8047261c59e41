//! The header of the struct upload protocol: a name in a field of fixed length, and a size.

use std::ffi::OsStr;
use std::fmt;

use crate::http::status::Status;
use crate::http::target::encode_name;
use crate::root::Root;

/// Why a file is not taken.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// What a request over HTTP would be told.
    pub(crate) status: Status,
    why: String,
}

impl Rejection {
    pub(crate) fn new(status: Status, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// Takes the name and the size out of a header.
pub(crate) fn read<'a>(header: &'a [u8; HEADER], root: &Root, most: u64) -> Result<(&'a str, u64), Rejection> {
    let malformed = |why| Rejection::new(Status::BAD_REQUEST, why);
    let (name, size) = header.split_at(NAME);
    let name = name.iter().position(|byte| *byte == 0).map(|end| &name[..end]);
    let name = name.ok_or_else(|| malformed("the name has no end".to_owned()))?;
    let name = std::str::from_utf8(name)
        .map_err(|_| malformed(format!("the name {:?} is not UTF-8", name.escape_ascii().to_string())))?;
    if matches!(name, "" | "." | "..") || name.contains('/') {
        return Err(malformed(format!("{name:?} is not the name of a file")));
    }
    if !root.shows(OsStr::new(name), 0) {
        return Err(Rejection::new(Status::FORBIDDEN, format!("{name:?} is hidden")));
    }
    let size = i32::from_le_bytes(size.try_into().map_err(|_| malformed("the header is too short".to_owned()))?);
    let size = u64::try_from(size).map_err(|_| malformed(format!("{name:?} has a size of {size}")))?;
    if size > most {
        let why = format!("{name:?} has {size} bytes, and {most} are allowed");
        return Err(Rejection::new(Status::CONTENT_TOO_LARGE, why));
    }
    Ok((name, size))
}

/// The target of a request over HTTP for the file that a header names, whatever that is.
pub(crate) fn target(header: &[u8; HEADER]) -> String {
    let name = header[..NAME].split(|byte| *byte == 0).next().unwrap_or_default();
    let mut target = "/".to_owned();
    encode_name(&mut target, name);
    target
}

/// Bytes of the name, and of the header.
const NAME: usize = 256;
pub(crate) const HEADER: usize = NAME + 4;
