//! Versions of HTTP.

/// The minor version of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    /// Its name, such as `HTTP/1.1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// What follows the version of a line that names a minor version of HTTP/1 which does not exist yet. It is to be read as the
/// latest one that does (RFC 9110, section 2.5), and httparse ends before it: `head` has what it found.
pub(super) fn behind_later_minor<'a>(head: &httparse::Request<'_, '_>, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (method, target) = (head.method?, head.path?);
    let version = bytes.trim_ascii_start().get(method.len() + target.len() + "  ".len()..)?;
    let (minor, rest) = version.strip_prefix(b"HTTP/1.")?.split_first()?;
    matches!(minor, b'2'..=b'9').then_some(rest)
}

/// Reads the end of such a line and the fields behind it: how many bytes they have, and how many fields there are.
pub(super) fn fields_behind<'a>(
    rest: &'a [u8],
    slots: &mut [httparse::Header<'a>],
) -> httparse::Result<(usize, usize)> {
    let end = b"\r\n";
    if end.starts_with(rest) {
        return Ok(httparse::Status::Partial);
    }
    let fields = rest.strip_prefix(end).ok_or(httparse::Error::NewLine)?;
    let parsed = httparse::parse_headers(fields, slots)?;
    Ok(match parsed {
        httparse::Status::Complete((length, found)) => httparse::Status::Complete((end.len() + length, found.len())),
        httparse::Status::Partial => httparse::Status::Partial,
    })
}
