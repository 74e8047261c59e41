//! How the body of a request is framed (RFC 9112, section 6).

use super::list::{digits, trim};
use super::status::Status;
use super::version::Version;

/// How the body that follows a head is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none, and no field speaks of one.
    None,
    /// So many bytes, perhaps none.
    Length(u64),
    /// Chunks (RFC 9112, section 7.1).
    Chunked,
}

impl Body {
    /// Whether the next request follows the head at once.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// How the body is framed (RFC 9112, section 6.3).
pub(super) fn framing(
    transfer_encoding: Option<&[u8]>,
    content_length: Option<&[u8]>,
    version: Version,
) -> Result<Body, Status> {
    match (transfer_encoding, content_length) {
        (None, None) => Ok(Body::None),
        (None, Some(lengths)) => one_length(lengths).map(Body::Length),
        (Some(_), Some(_)) => Err(Status::BAD_REQUEST),
        // The proxy before may not have known what it passed on.
        (Some(_), None) if version == Version::Http10 => Err(Status::BAD_REQUEST),
        (Some(codings), None) => transfer_coding(codings),
    }
}

/// A length, or a list of the same one. More than 64 bits is too large, not malformed.
fn one_length(value: &[u8]) -> Result<u64, Status> {
    let mut lengths = value.split(|&byte| byte == b',').map(|length| digits(trim(length)));
    let first = lengths.next().flatten().ok_or(Status::BAD_REQUEST)?;
    if !lengths.all(|length| length == Some(first)) {
        return Err(Status::BAD_REQUEST);
    }
    if first == u64::MAX { Err(Status::CONTENT_TOO_LARGE) } else { Ok(first) }
}

/// Chunked alone: it has to be the last, and no other is known.
///
/// Empty elements, which a recipient is to pass over in other lists, are refused: a proxy that looks at the first of several
/// fields and finds it empty sees another body.
fn transfer_coding(value: &[u8]) -> Result<Body, Status> {
    let mut unknown = false;
    let mut chunked = false;
    for coding in value.split(|&byte| byte == b',').map(trim) {
        if chunked || coding.is_empty() {
            return Err(Status::BAD_REQUEST);
        }
        chunked = coding.eq_ignore_ascii_case(b"chunked");
        unknown |= !chunked;
    }
    if unknown { Err(Status::NOT_IMPLEMENTED) } else { Ok(Body::Chunked) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(transfer_encoding: Option<&str>, content_length: Option<&str>) -> Result<Body, Status> {
        framing(transfer_encoding.map(str::as_bytes), content_length.map(str::as_bytes), Version::Http11)
    }

    #[test]
    fn a_length_is_one_number() {
        assert_eq!(framed(None, None), Ok(Body::None));
        for (value, length) in [("0", 0), ("18446744073709551614", u64::MAX - 1), ("5", 5), ("5, 5", 5), ("05,5", 5)] {
            assert_eq!(framed(None, Some(value)), Ok(Body::Length(length)), "{value}");
        }
        for value in ["5, 6", "5,", ",5", "", "-5", "+5", "5 5", "0x5", "5a", "5.0", "\u{661}"] {
            assert_eq!(framed(None, Some(value)), Err(Status::BAD_REQUEST), "{value}");
        }
        assert_eq!(framed(None, Some("18446744073709551616")), Err(Status::CONTENT_TOO_LARGE));
    }

    #[test]
    fn chunked_is_the_only_coding() {
        for value in ["chunked", "Chunked", " chunked\t"] {
            assert_eq!(framed(Some(value), None), Ok(Body::Chunked), "{value}");
        }
        for value in ["", ",", "chunked,", ", chunked", "chunked, chunked", "chunked, gzip"] {
            assert_eq!(framed(Some(value), None), Err(Status::BAD_REQUEST), "{value}");
        }
        for value in ["gzip", "gzip, chunked", "identity", "chunked;a=b", "xchunked", "\"chunked\""] {
            assert_eq!(framed(Some(value), None), Err(Status::NOT_IMPLEMENTED), "{value}");
        }
    }

    #[test]
    fn a_coding_goes_with_no_length_and_with_no_old_version() {
        assert_eq!(framed(Some("chunked"), Some("5")), Err(Status::BAD_REQUEST));
        assert_eq!(framing(Some(b"chunked"), None, Version::Http10), Err(Status::BAD_REQUEST));
        assert_eq!(framing(None, Some(b"5"), Version::Http10), Ok(Body::Length(5)));
    }
}
