//! Entity tags: made of what tells one state of a file from another, and read from lists (RFC 9110, section 8.8.3).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::list::trim;
use super::negotiation::Coding;

/// What tells one state of a file from another, as `statx(2)` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileState {
    /// The file system's device.
    pub device: u64,
    /// The number of the inode.
    pub inode: u64,
    /// The size in bytes.
    pub size: u64,
    /// The time of the last change of content: seconds since 1970 and nanoseconds.
    pub modified: (i64, u32),
    /// The time of the last change of the inode: it cannot be set, as that of the content can.
    pub changed: (i64, u32),
}

/// A strong entity tag, quotes included.
///
/// It is a hash, so that it tells nothing of the inode. The same state has the same tag in every process, so a server
/// that is started again, or another one on the same files, does not void what is cached.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag([u8; LENGTH]);

/// 128 bits in base64, and two quotes.
const LENGTH: usize = 24;

impl ETag {
    /// The tag of a file in this state, which holds some content in this coding.
    ///
    /// Two forms of one content have two tags though they may be one file by two names.
    ///
    /// # Panics
    ///
    /// Never.
    #[must_use]
    pub fn of(state: &FileState, coding: Coding) -> Self {
        let mut hash = Sha256::new();
        for number in [state.device, state.inode, state.size] {
            hash.update(number.to_le_bytes());
        }
        for (seconds, nanoseconds) in [state.modified, state.changed] {
            hash.update(seconds.to_le_bytes());
            hash.update(nanoseconds.to_le_bytes());
        }
        hash.update(coding.name().unwrap_or_default());
        let mut text = [b'"'; LENGTH];
        let written = URL_SAFE_NO_PAD.encode_slice(&hash.finalize()[..16], &mut text[1..LENGTH - 1]);
        assert_eq!(written, Ok(LENGTH - 2), "16 bytes are 22 digits");
        Self(text)
    }

    /// Its text, quotes included.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text, quotes included.
    ///
    /// # Panics
    ///
    /// Never.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a tag is ASCII")
    }
}

impl std::fmt::Debug for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How two tags are compared (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Neither is weak and their texts are the same.
    Strong,
    /// Their texts are the same.
    Weak,
}

/// A tag as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    weak: bool,
    /// Quotes included.
    text: &'a [u8],
}

impl<'a> Tag<'a> {
    /// The tag at the start, and what follows it; `None` if there is none.
    ///
    /// ```
    /// use file_server::http::etag::Tag;
    ///
    /// let (_, rest) = Tag::split(b"W/\"1\", \"2\"").unwrap();
    /// assert_eq!(rest, b", \"2\"");
    /// assert_eq!(Tag::split(b"1"), None);
    /// ```
    #[must_use]
    pub fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let opaque = bytes.strip_prefix(b"W/");
        let weak = opaque.is_some();
        let opaque = opaque.unwrap_or(bytes);
        let inner = opaque.strip_prefix(b"\"")?;
        let length = inner.iter().position(|&byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
        let (text, rest) = opaque.split_at_checked(length + 2).filter(|_| inner[length] == b'"')?;
        Some((Self { weak, text }, rest))
    }

    /// Whether it is the same as a strong tag, of which this is the text.
    #[must_use]
    pub fn matches(self, strong: &[u8], comparison: Comparison) -> bool {
        (comparison == Comparison::Weak || !self.weak) && self.text == strong
    }
}

/// Whether a list of tags, or `*`, is one that matches a file's strong tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListMatch {
    /// `*`, or one of the tags is that of the file.
    Matches,
    /// None of them is.
    Differs,
    /// It is no list of tags.
    Malformed,
}

/// Compares the value of If-Match or If-None-Match with a file's strong tag.
///
/// ```
/// use file_server::http::etag::{Comparison, ListMatch, list_matches};
///
/// let value = b"\"1\", W/\"2\"";
/// assert_eq!(list_matches(value, b"\"2\"", Comparison::Weak), ListMatch::Matches);
/// assert_eq!(list_matches(value, b"\"2\"", Comparison::Strong), ListMatch::Differs);
/// assert_eq!(list_matches(b"1", b"\"1\"", Comparison::Weak), ListMatch::Malformed);
/// ```
#[must_use]
pub fn list_matches(value: &[u8], strong: &[u8], comparison: Comparison) -> ListMatch {
    let mut rest = trim(value);
    if rest == b"*" {
        return ListMatch::Matches;
    }
    let (mut found, mut count) = (false, 0);
    loop {
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        if rest.is_empty() {
            break;
        }
        let Some((tag, after)) = Tag::split(rest) else { return ListMatch::Malformed };
        found |= tag.matches(strong, comparison);
        count += 1;
        rest = trim(after);
        if !matches!(rest, [] | [b',', ..]) {
            return ListMatch::Malformed;
        }
    }
    match (count, found) {
        (0, _) => ListMatch::Malformed,
        (_, true) => ListMatch::Matches,
        (_, false) => ListMatch::Differs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: FileState = FileState { device: 1, inode: 2, size: 3, modified: (4, 5), changed: (6, 7) };

    #[test]
    fn a_tag_changes_with_each_part_of_the_state() {
        let states = [
            STATE,
            FileState { device: 9, ..STATE },
            FileState { inode: 9, ..STATE },
            FileState { size: 9, ..STATE },
            FileState { modified: (9, 5), ..STATE },
            FileState { modified: (4, 9), ..STATE },
            FileState { changed: (9, 7), ..STATE },
            FileState { changed: (6, 9), ..STATE },
            FileState { modified: (6, 7), changed: (4, 5), ..STATE },
            FileState { modified: (-4, 5), ..STATE },
        ];
        for (index, state) in states.iter().enumerate() {
            assert!(
                states[..index]
                    .iter()
                    .all(|other| ETag::of(other, Coding::Identity) != ETag::of(state, Coding::Identity)),
                "{state:?}"
            );
        }
    }

    #[test]
    fn a_tag_is_the_same_in_every_process() {
        assert_eq!(ETag::of(&STATE, Coding::Identity).as_str(), "\"1MYyDk7GWp8DvC0i7o_W4Q\"");
    }

    #[test]
    fn a_tag_is_one_that_can_be_read() {
        let tag = ETag::of(&STATE, Coding::Identity);
        let (read, rest) = Tag::split(tag.as_bytes()).expect("it is a tag");
        assert!(rest.is_empty());
        assert!(read.matches(tag.as_bytes(), Comparison::Strong));
    }

    #[test]
    fn tags_compare_as_in_the_table_of_the_rfc() {
        for (first, strong, weak) in
            [("W/\"1\"", false, true), ("W/\"2\"", false, false), ("\"1\"", true, true), ("\"2\"", false, false)]
        {
            let (tag, _) = Tag::split(first.as_bytes()).expect("it is a tag");
            assert_eq!(tag.matches(b"\"1\"", Comparison::Strong), strong, "{first}");
            assert_eq!(tag.matches(b"\"1\"", Comparison::Weak), weak, "{first}");
        }
    }

    #[test]
    fn lists_are_read_to_their_end() {
        let matched = |value: &str| list_matches(value.as_bytes(), b"\"a,b\"", Comparison::Weak);
        for value in ["*", " * ", "\"a,b\"", "\"x\",\"a,b\"", ", ,\"x\" ,\tW/\"a,b\",", "\"\", \"a,b\""] {
            assert_eq!(matched(value), ListMatch::Matches, "{value}");
        }
        for value in ["\"\"", "\"a\", \"b\"", "\"\u{fc}\"", "\"a\\\""] {
            assert_eq!(matched(value), ListMatch::Differs, "{value}");
        }
        let bad =
            ["", ",", "a", "\"a", "\"a,b\" \"x\"", "\"a,b\"x", "w/\"a,b\"", "*, \"a,b\"", "\"a b\"", "\"a,b\", x"];
        for value in bad {
            assert_eq!(matched(value), ListMatch::Malformed, "{value}");
        }
    }
}
