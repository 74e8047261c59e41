//! Byte ranges: which parts of a file are asked for, and how several of them are sent (RFC 9110, section 14).

use std::io::Write;

use super::list::{digits, elements};

/// How many ranges a request may ask for; more are answered by the whole file, which a server may always send.
///
/// A client that resumes in several places needs a few. Each costs a head in the answer and a piece of a file to send.
pub const MOST_RANGES: usize = 32;

/// A part of a file: its first byte and its last, which is not before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The offset of its first byte.
    pub first: u64,
    /// The offset of its last byte.
    pub last: u64,
}

impl ByteRange {
    /// How many bytes it has.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u64 {
        self.last - self.first + 1
    }

    /// The value of Content-Range for this part of a file.
    #[must_use]
    pub fn content_range(self, length: u64) -> String {
        format!("bytes {}-{}/{length}", self.first, self.last)
    }
}

/// The value of Content-Range that goes with 416.
#[must_use]
pub fn unsatisfied_range(length: u64) -> String {
    format!("bytes */{length}")
}

/// What of a file is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it: 200.
    Whole,
    /// One part: 206 with Content-Range.
    One(ByteRange),
    /// Several parts in the order asked for, at least two: 206 as multipart/byteranges.
    Several(Vec<ByteRange>),
    /// None of the ranges is in the file: 416.
    Unsatisfiable,
}

/// The parts of a file of this length that the value of Range asks for.
///
/// A value that is malformed, of another unit, or asks for more than `most` ranges is ignored. Ranges that overlap or touch
/// are merged, so that no byte is sent twice.
///
/// ```
/// use file_server::http::range::{ByteRange, MOST_RANGES, Selection, select};
///
/// let select = |value: &str| select(value.as_bytes(), 1000, MOST_RANGES);
/// assert_eq!(select("bytes=-100"), Selection::One(ByteRange { first: 900, last: 999 }));
/// assert_eq!(select("bytes=0-9,5-19"), Selection::One(ByteRange { first: 0, last: 19 }));
/// assert_eq!(select("bytes=1000-"), Selection::Unsatisfiable);
/// assert_eq!(select("bytes=9-0"), Selection::Whole);
/// ```
#[must_use]
pub fn select(value: &[u8], length: u64, most: usize) -> Selection {
    let Some((unit, set)) = value.split_at_checked(b"bytes=".len()) else { return Selection::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return Selection::Whole;
    }
    let (mut count, mut whole) = (0, false);
    let mut ranges = Vec::new();
    for element in elements(set) {
        count += 1;
        let Some(spec) = Spec::parse(element) else { return Selection::Whole };
        if count > most {
            return Selection::Whole;
        }
        // The end of an empty file is all of it, and no range can say so.
        whole |= length == 0 && matches!(spec, Spec::Suffix(1..));
        if let Some(range) = spec.within(length) {
            merge(&mut ranges, range);
        }
    }
    match ranges[..] {
        _ if count == 0 || whole => Selection::Whole,
        [] => Selection::Unsatisfiable,
        [range] => Selection::One(range),
        _ => Selection::Several(ranges),
    }
}

/// Adds a range; those that it overlaps or touches become one, in the place of the first of them.
fn merge(ranges: &mut Vec<ByteRange>, mut range: ByteRange) {
    let touches = |other: &ByteRange, range: &ByteRange| {
        other.first <= range.last.saturating_add(1) && range.first <= other.last.saturating_add(1)
    };
    let mut place = ranges.len();
    while let Some(index) = ranges.iter().position(|other| touches(other, &range)) {
        let other = ranges.remove(index);
        range = ByteRange { first: range.first.min(other.first), last: range.last.max(other.last) };
        place = place.min(index);
    }
    ranges.insert(place.min(ranges.len()), range);
}

/// One range as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// From one offset to another one.
    Closed(u64, u64),
    /// From an offset to the end.
    Open(u64),
    /// The last bytes.
    Suffix(u64),
}

impl Spec {
    fn parse(element: &[u8]) -> Option<Self> {
        let dash = element.iter().position(|&byte| byte == b'-')?;
        match (&element[..dash], &element[dash + 1..]) {
            (b"", count) => digits(count).map(Self::Suffix),
            (first, b"") => digits(first).map(Self::Open),
            (first, last) => {
                let (first, last) = (digits(first)?, digits(last)?);
                (first <= last).then_some(Self::Closed(first, last))
            }
        }
    }

    /// What of it is in a file of this length.
    fn within(self, length: u64) -> Option<ByteRange> {
        let end = length.checked_sub(1)?;
        let (first, last) = match self {
            Self::Closed(first, last) => (first, last.min(end)),
            Self::Open(first) => (first, end),
            Self::Suffix(0) => return None,
            Self::Suffix(count) => (length.saturating_sub(count), end),
        };
        (first <= end).then_some(ByteRange { first, last })
    }
}

/// An answer of several parts (RFC 9110, section 14.6): for each range [`write_part`](Self::write_part) and its bytes, and
/// then [`write_end`](Self::write_end).
///
/// ```
/// use file_server::http::range::{ByteRange, Multipart};
///
/// let ranges = [ByteRange { first: 0, last: 1 }, ByteRange { first: 4, last: 4 }];
/// let multipart = Multipart { boundary: "B", part_type: "text/plain", length: 5 };
/// let mut body = Vec::new();
/// for range in ranges {
///     multipart.write_part(&mut body, range);
///     body.extend(&b"hello"[range.first as usize..=range.last as usize]);
/// }
/// multipart.write_end(&mut body);
/// assert_eq!(body.len() as u64, multipart.content_length(&ranges));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Multipart<'a> {
    /// What separates the parts: letters and digits, at most 70, that do not occur in the file.
    pub boundary: &'a str,
    /// The type of the file.
    pub part_type: &'a str,
    /// The length of the file.
    pub length: u64,
}

impl Multipart<'_> {
    /// The value of Content-Type.
    #[must_use]
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// How many bytes the answer has, heads of the parts and the end included.
    #[must_use]
    pub fn content_length(&self, ranges: &[ByteRange]) -> u64 {
        let mut framing = Vec::new();
        ranges.iter().for_each(|&range| self.write_part(&mut framing, range));
        self.write_end(&mut framing);
        ranges.iter().map(|range| range.len()).sum::<u64>() + framing.len() as u64
    }

    /// Appends what comes before a part's bytes.
    pub fn write_part(&self, out: &mut Vec<u8>, range: ByteRange) {
        let Self { boundary, part_type, length } = self;
        let ByteRange { first, last } = range;
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "\r\n--{boundary}\r\nContent-Type: {part_type}\r\nContent-Range: bytes {first}-{last}/{length}\r\n\r\n"
        );
    }

    /// Appends what comes after the last part's bytes.
    pub fn write_end(&self, out: &mut Vec<u8>) {
        // Writing to memory does not fail.
        let _ = write!(out, "\r\n--{}--\r\n", self.boundary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(value: &str, length: u64) -> Selection {
        select(value.as_bytes(), length, MOST_RANGES)
    }

    fn one(first: u64, last: u64) -> Selection {
        Selection::One(ByteRange { first, last })
    }

    fn several(ranges: &[(u64, u64)]) -> Selection {
        Selection::Several(ranges.iter().map(|&(first, last)| ByteRange { first, last }).collect())
    }

    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(selected("bytes=0-499", 10_000), one(0, 499));
        assert_eq!(selected("bytes=500-999", 10_000), one(500, 999));
        assert_eq!(selected("bytes=-500", 10_000), one(9500, 9999));
        assert_eq!(selected("bytes=9500-", 10_000), one(9500, 9999));
        assert_eq!(selected("bytes=0-0,-1", 10_000), several(&[(0, 0), (9999, 9999)]));
        let three = several(&[(0, 999), (4500, 5499), (9000, 9999)]);
        assert_eq!(selected("bytes= 0-999, 4500-5499, -1000", 10_000), three);
        assert_eq!(selected("bytes=500-600,601-999", 10_000), one(500, 999));
        assert_eq!(selected("bytes=500-700,601-999", 10_000), one(500, 999));
    }

    #[test]
    fn ranges_end_with_the_file() {
        assert_eq!(selected("bytes=0-", 1), one(0, 0));
        assert_eq!(selected("bytes=5-99999999999999999999999", 10), one(5, 9));
        assert_eq!(selected("bytes=-99999999999999999999999", 10), one(0, 9));
        assert_eq!(selected("BYTES=9-9", 10), one(9, 9));
        assert_eq!(selected("bytes=4294967296-4294967297", 1 << 33), one(1 << 32, (1 << 32) + 1));
        assert_eq!(selected("bytes=-1", u64::MAX), one(u64::MAX - 1, u64::MAX - 1));
        assert_eq!(selected("bytes=10-,2-3", 10), one(2, 3));
    }

    #[test]
    fn what_is_not_in_the_file_is_unsatisfiable() {
        for value in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=10-,-0", "bytes=99999999999999999999-"] {
            assert_eq!(selected(value, 10), Selection::Unsatisfiable, "{value}");
        }
        assert_eq!(selected("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(selected("bytes=-0", 0), Selection::Unsatisfiable);
        assert_eq!(selected("bytes=-5", 0), Selection::Whole);
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=2-1",
            "bytes=0-1-2",
            "bytes=0 -1",
            "bytes=0-1,x",
            "bytes=0-1,5-4",
            "bytes=--1",
            "bytes=+1-2",
            "bytes =0-1",
            "lines=0-1",
            "byte=0-1x",
            "bytes=0-1, bytes=2-3",
            "bytes:0-1",
            "bytes=\u{661}-",
        ] {
            assert_eq!(selected(value, 10), Selection::Whole, "{value}");
        }
    }

    #[test]
    fn overlapping_ranges_take_the_place_of_the_first() {
        assert_eq!(selected("bytes=50-59,0-9,55-69,20-29", 100), several(&[(50, 69), (0, 9), (20, 29)]));
        assert_eq!(selected("bytes=0-9,20-29,10-19", 100), one(0, 29));
        assert_eq!(selected("bytes=80-89,0-9,20-29,5-25", 100), several(&[(80, 89), (0, 29)]));
        assert_eq!(selected("bytes=0-9,40-49,20-29,5-25", 100), several(&[(0, 29), (40, 49)]));
    }

    #[test]
    fn too_many_ranges_are_ignored() {
        let value = |count: u64| {
            let ranges: Vec<_> = (0..count).map(|index| format!("{0}-{0}", index * 2)).collect();
            format!("bytes={}", ranges.join(","))
        };
        assert!(matches!(selected(&value(32), 1000), Selection::Several(ranges) if ranges.len() == 32));
        assert_eq!(selected(&value(33), 1000), Selection::Whole);
        assert_eq!(select(b"bytes=0-1", 10, 0), Selection::Whole);
    }

    #[test]
    fn parts_are_framed() {
        let ranges = [ByteRange { first: 500, last: 999 }, ByteRange { first: 7000, last: 7999 }];
        let multipart = Multipart { boundary: "SEP", part_type: "application/pdf", length: 8000 };
        let mut body = Vec::new();
        multipart.write_part(&mut body, ranges[0]);
        assert_eq!(
            String::from_utf8_lossy(&body),
            "\r\n--SEP\r\nContent-Type: application/pdf\r\nContent-Range: bytes 500-999/8000\r\n\r\n"
        );
        multipart.write_part(&mut body, ranges[1]);
        multipart.write_end(&mut body);
        assert!(body.ends_with(b"Content-Range: bytes 7000-7999/8000\r\n\r\n\r\n--SEP--\r\n"));
        assert_eq!(multipart.content_length(&ranges), body.len() as u64 + 1500);
        assert_eq!(multipart.content_type(), "multipart/byteranges; boundary=SEP");
        assert_eq!(ranges[0].content_range(8000), "bytes 500-999/8000");
        assert_eq!(unsatisfied_range(8000), "bytes */8000");
    }
}
