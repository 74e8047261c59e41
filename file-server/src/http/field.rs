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
    #[inline]
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.as_bytes();
        Some(match name.len() {
            4 if is(name, b"host") => Self::Host,
            5 if is(name, b"range") => Self::Range,
            6 if is(name, b"accept") => Self::Accept,
            6 if is(name, b"expect") => Self::Expect,
            6 if is(name, b"origin") => Self::Origin,
            7 if is(name, b"referer") => Self::Referer,
            8 if is(name, b"if-match") => Self::IfMatch,
            8 if is(name, b"if-range") => Self::IfRange,
            10 if is(name, b"connection") => Self::Connection,
            10 if is(name, b"user-agent") => Self::UserAgent,
            13 if is(name, b"authorization") => Self::Authorization,
            13 if is(name, b"content-range") => Self::ContentRange,
            13 if is(name, b"if-none-match") => Self::IfNoneMatch,
            14 if is(name, b"content-digest") => Self::ContentDigest,
            14 if is(name, b"content-length") => Self::ContentLength,
            15 if is(name, b"accept-encoding") => Self::AcceptEncoding,
            15 if is(name, b"x-forwarded-for") => Self::XForwardedFor,
            16 if is(name, b"content-encoding") => Self::ContentEncoding,
            17 if is(name, b"if-modified-since") => Self::IfModifiedSince,
            17 if is(name, b"transfer-encoding") => Self::TransferEncoding,
            19 if is(name, b"if-unmodified-since") => Self::IfUnmodifiedSince,
            29 if is(name, b"access-control-request-method") => Self::AccessControlRequestMethod,
            30 if is(name, b"access-control-request-headers") => Self::AccessControlRequestHeaders,
            _ => return None,
        })
    }

    /// Its bit in a set of fields.
    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Whether a name is this one, which is of letters in lower case and hyphens; a bit tells a letter from its capital. All of it is
/// known when this is compiled, so many bytes are compared together.
#[inline(always)]
fn is<const LENGTH: usize>(name: &[u8], lower: &[u8; LENGTH]) -> bool {
    let differs = |(&byte, &wanted): (&u8, &u8)| (byte ^ wanted) & if wanted == b'-' { 0xff } else { !0x20 };
    <&[u8; LENGTH]>::try_from(name)
        .is_ok_and(|name| name.iter().zip(lower).map(differs).fold(0, |all, each| all | each) == 0)
}

/// The longest head that can be allowed: places in it are numbers of 16 bits.
pub(super) const MOST_HEAD: usize = u16::MAX as usize;

/// The values of the fields that are known, found in one pass. It is small, for it is made for each request.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    head: &'a [u8],
    /// Where in the head each value is: its start and its length.
    places: [(u16, u16); Field::COUNT],
    /// A bit for each value that is there.
    pub(super) present: u32,
    /// A bit for each that came more than once.
    repeated: u32,
    /// The lists made of those. Boxed, for it is hardly ever there.
    #[allow(clippy::box_collection, reason = "a request without it is moved at less cost")]
    lists: Option<Box<Lists>>,
}

type Lists = Vec<(Field, Vec<u8>)>;

impl<'a> Fields<'a> {
    /// The fields of a head, of which `headers` are the parts. A head has at most [`MOST_HEAD`] bytes.
    #[inline]
    pub(super) fn of(head: &'a [u8], headers: &[httparse::Header<'a>]) -> Self {
        debug_assert!(head.len() <= MOST_HEAD);
        let mut fields = Self { head, places: [(0, 0); Field::COUNT], present: 0, repeated: 0, lists: None };
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
            self.places[field as usize] = (start as u16, value.len() as u16);
        }
    }

    /// Several fields of one name are a list. One that should be no list is not valid then, which is what two are.
    #[cold]
    fn add_again(&mut self, field: Field, value: &'a [u8]) {
        let first = self.first(field);
        let lists = self.lists.get_or_insert_default();
        if self.repeated & field.bit() == 0 {
            lists.push((field, first.to_vec()));
            self.repeated |= field.bit();
        }
        let list = lists.iter_mut().find(|(of, _)| *of == field);
        let (_, list) = list.expect("a field that is repeated has a list");
        list.extend_from_slice(b", ");
        list.extend_from_slice(value);
    }

    fn first(&self, field: Field) -> &'a [u8] {
        let (start, length) = self.places[field as usize];
        &self.head[usize::from(start)..][..usize::from(length)]
    }

    #[inline]
    pub(super) fn value(&self, field: Field) -> Option<&[u8]> {
        if self.present & field.bit() == 0 {
            return None;
        }
        if self.repeated & field.bit() == 0 {
            return Some(self.first(field));
        }
        self.lists.iter().flat_map(|lists| lists.iter()).find(|(of, _)| *of == field).map(|(_, list)| &list[..])
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
        assert_eq!(Field::from_name("if\rmatch"), None);
        assert_eq!(Field::from_name("if-mat\u{43}\u{8}"), None);
        assert_eq!(Field::from_name("Hosts"), None);
        assert_eq!(Field::from_name(""), None);
    }

    #[test]
    fn each_has_a_bit_of_its_own() {
        const { assert!(Field::COUNT <= u32::BITS as usize) };
        assert_eq!(Field::XForwardedFor.bit(), 1 << (Field::COUNT - 1));
    }
}
