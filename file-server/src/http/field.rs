//! The fields of a request that a file server reads.

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

/// The values of the fields that are known, found in one pass. It is small, for it is made for each request.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    head: &'a [u8],
    /// Where in the head each value is: its start and its length.
    places: [(u32, u32); Field::COUNT],
    /// A bit for each value that is there.
    pub(super) present: u32,
    /// A bit for each that came more than once.
    repeated: u32,
    /// The lists made of those.
    lists: Vec<(Field, Vec<u8>)>,
}

impl<'a> Fields<'a> {
    /// The fields of a head, of which `headers` are the parts. A head has less than 4 GiB.
    pub(super) fn of(head: &'a [u8], headers: &[httparse::Header<'a>]) -> Self {
        let mut fields = Self { head, places: [(0, 0); Field::COUNT], present: 0, repeated: 0, lists: Vec::new() };
        for header in headers {
            if let Some(field) = Field::from_name(header.name) {
                fields.add(field, header.value);
            }
        }
        fields
    }

    #[inline]
    fn add(&mut self, field: Field, value: &'a [u8]) {
        if self.present & field.bit() != 0 {
            return self.add_again(field, value);
        }
        self.present |= field.bit();
        // An empty value may be anywhere.
        if !value.is_empty() {
            let start = value.as_ptr().addr() - self.head.as_ptr().addr();
            self.places[field as usize] = (start as u32, value.len() as u32);
        }
    }

    /// Several fields of one name are a list. One that should be no list is not valid then, which is what two are.
    #[cold]
    fn add_again(&mut self, field: Field, value: &'a [u8]) {
        if self.repeated & field.bit() == 0 {
            self.lists.push((field, self.first(field).to_vec()));
            self.repeated |= field.bit();
        }
        let list = self.lists.iter_mut().find(|(of, _)| *of == field);
        let (_, list) = list.expect("a field that is repeated has a list");
        list.extend_from_slice(b", ");
        list.extend_from_slice(value);
    }

    fn first(&self, field: Field) -> &'a [u8] {
        let (start, length) = self.places[field as usize];
        &self.head[start as usize..][..length as usize]
    }

    #[inline]
    pub(super) fn value(&self, field: Field) -> Option<&[u8]> {
        if self.present & field.bit() == 0 {
            return None;
        }
        if self.repeated & field.bit() == 0 {
            return Some(self.first(field));
        }
        self.lists.iter().find(|(of, _)| *of == field).map(|(_, list)| &list[..])
    }

    /// The value of a field that may come once only.
    #[inline]
    pub(super) fn single(&self, field: Field) -> Result<Option<&'a [u8]>, Status> {
        match () {
            () if self.present & field.bit() == 0 => Ok(None),
            () if self.repeated & field.bit() == 0 => Ok(Some(self.first(field))),
            () => Err(Status::BAD_REQUEST),
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
