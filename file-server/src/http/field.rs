//! The fields of a request that a file server reads.

use std::borrow::Cow;

use super::status::Status;

/// A field of a request; those that are not here are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Accept
    Accept,
    /// Accept-Encoding
    AcceptEncoding,
    /// Access-Control-Request-Headers
    AccessControlRequestHeaders,
    /// Access-Control-Request-Method
    AccessControlRequestMethod,
    /// Authorization
    Authorization,
    /// Connection
    Connection,
    /// Content-Digest
    ContentDigest,
    /// Content-Encoding
    ContentEncoding,
    /// Content-Length
    ContentLength,
    /// Content-Range
    ContentRange,
    /// Expect
    Expect,
    /// Host
    Host,
    /// If-Match
    IfMatch,
    /// If-Modified-Since
    IfModifiedSince,
    /// If-None-Match
    IfNoneMatch,
    /// If-Range
    IfRange,
    /// If-Unmodified-Since
    IfUnmodifiedSince,
    /// Origin
    Origin,
    /// Range
    Range,
    /// Referer
    Referer,
    /// Transfer-Encoding
    TransferEncoding,
    /// User-Agent
    UserAgent,
    /// X-Forwarded-For
    XForwardedFor,
}

impl Field {
    /// How many there are.
    pub const COUNT: usize = Self::XForwardedFor as usize + 1;

    /// The field of this name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let candidates: &[(&str, Self)] = match name.len() {
            4 => &[("host", Self::Host)],
            5 => &[("range", Self::Range)],
            6 => &[("accept", Self::Accept), ("expect", Self::Expect), ("origin", Self::Origin)],
            7 => &[("referer", Self::Referer)],
            8 => &[("if-match", Self::IfMatch), ("if-range", Self::IfRange)],
            10 => &[("user-agent", Self::UserAgent), ("connection", Self::Connection)],
            13 => &[
                ("if-none-match", Self::IfNoneMatch),
                ("authorization", Self::Authorization),
                ("content-range", Self::ContentRange),
            ],
            14 => &[("content-length", Self::ContentLength), ("content-digest", Self::ContentDigest)],
            15 => &[("accept-encoding", Self::AcceptEncoding), ("x-forwarded-for", Self::XForwardedFor)],
            16 => &[("content-encoding", Self::ContentEncoding)],
            17 => &[("if-modified-since", Self::IfModifiedSince), ("transfer-encoding", Self::TransferEncoding)],
            19 => &[("if-unmodified-since", Self::IfUnmodifiedSince)],
            29 => &[("access-control-request-method", Self::AccessControlRequestMethod)],
            30 => &[("access-control-request-headers", Self::AccessControlRequestHeaders)],
            _ => &[],
        };
        candidates.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|&(_, field)| field)
    }

    /// Its bit in a set of fields.
    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The fields that are known, found in one pass.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    values: [Option<Cow<'a, [u8]>>; Field::COUNT],
    /// A bit for each value that is there.
    pub(super) present: u32,
}

impl<'a> Fields<'a> {
    pub(super) fn of(headers: &[httparse::Header<'a>]) -> Self {
        let mut fields = Self { values: [const { None }; Field::COUNT], present: 0 };
        for header in headers {
            if let Some(field) = Field::from_name(header.name) {
                fields.add(field, header.value);
            }
        }
        fields
    }

    #[inline]
    fn add(&mut self, field: Field, value: &'a [u8]) {
        self.present |= field.bit();
        match &mut self.values[field as usize] {
            slot @ None => *slot = Some(Cow::Borrowed(value)),
            // One that is no list is not valid any more, which is what two of them are.
            Some(list) => list.to_mut().extend([b", ", value].concat()),
        }
    }

    #[inline]
    pub(super) fn value(&self, field: Field) -> Option<&[u8]> {
        self.values[field as usize].as_deref()
    }

    /// The value of a field that came once.
    pub(super) fn single(&self, field: Field) -> Result<Option<&'a [u8]>, Status> {
        match &self.values[field as usize] {
            None => Ok(None),
            Some(Cow::Borrowed(value)) => Ok(Some(value)),
            Some(Cow::Owned(_)) => Err(Status::BAD_REQUEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        for (name, field) in [
            ("Accept", Field::Accept),
            ("ACCEPT-ENCODING", Field::AcceptEncoding),
            ("Access-Control-Request-Headers", Field::AccessControlRequestHeaders),
            ("Access-Control-Request-Method", Field::AccessControlRequestMethod),
            ("authorization", Field::Authorization),
            ("Connection", Field::Connection),
            ("Content-Digest", Field::ContentDigest),
            ("Content-Encoding", Field::ContentEncoding),
            ("Content-Length", Field::ContentLength),
            ("Content-Range", Field::ContentRange),
            ("Expect", Field::Expect),
            ("hOST", Field::Host),
            ("If-Match", Field::IfMatch),
            ("If-Modified-Since", Field::IfModifiedSince),
            ("If-None-Match", Field::IfNoneMatch),
            ("If-Range", Field::IfRange),
            ("If-Unmodified-Since", Field::IfUnmodifiedSince),
            ("Origin", Field::Origin),
            ("Range", Field::Range),
            ("Referer", Field::Referer),
            ("Transfer-Encoding", Field::TransferEncoding),
            ("User-Agent", Field::UserAgent),
            ("X-Forwarded-For", Field::XForwardedFor),
        ] {
            assert_eq!(Field::from_name(name), Some(field), "{name}");
        }
        assert_eq!(Field::from_name("Hos\u{1}"), None);
        assert_eq!(Field::from_name("Hosts"), None);
        assert_eq!(Field::from_name(""), None);
    }

    #[test]
    fn each_has_a_bit_of_its_own() {
        const { assert!(Field::COUNT <= u32::BITS as usize) };
        assert_eq!(Field::XForwardedFor.bit(), 1 << (Field::COUNT - 1));
    }
}
