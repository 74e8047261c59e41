//! Paths of requests as names below a root, and names as links.
//!
//! What a path means is decided here alone, and once: it is decoded once, so `%252e` names a file with `%2e` in its name.
//!
//! - `..` is refused in any encoding, and so are a NUL, a backslash, and a slash that is encoded: no file has such a name, and
//!   others may read it in another way. An escape that is none is refused.
//! - `.` and empty components are dropped, as other servers do: `/a//./b` is `/a/b`.
//! - All other bytes are allowed, whatever their encoding.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// A path below the root that a request names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RelativePath<'a> {
    bytes: Cow<'a, [u8]>,
    directory: bool,
}

/// A path that no file can have, or that would be read in more than one way: the answer is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPath;

impl std::fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the path names nothing below the root")
    }
}

impl std::error::Error for InvalidPath {}

impl<'a> RelativePath<'a> {
    /// Decodes the path of a request, which begins with `/`. The common path is borrowed.
    ///
    /// # Errors
    ///
    /// If it is refused, see [the module](self).
    ///
    /// ```
    /// use file_server::http::target::RelativePath;
    ///
    /// let path = RelativePath::decode(b"/a%20b//c/").unwrap();
    /// assert_eq!((path.as_bytes(), path.is_directory()), (&b"a b/c"[..], true));
    /// assert!(RelativePath::decode(b"/a/%2E./b").is_err());
    /// ```
    pub fn decode(path: &'a [u8]) -> Result<Self, InvalidPath> {
        let rest = path.strip_prefix(b"/").ok_or(InvalidPath)?;
        if !is_plain(rest) {
            return Self::decode_components(rest);
        }
        Ok(match rest.strip_suffix(b"/") {
            Some(name) => Self { bytes: Cow::Borrowed(name), directory: true },
            None => Self { bytes: Cow::Borrowed(rest), directory: rest.is_empty() },
        })
    }

    fn decode_components(path: &[u8]) -> Result<Self, InvalidPath> {
        let mut bytes = Vec::with_capacity(path.len());
        let mut directory = true;
        for component in path.split(|&byte| byte == b'/') {
            let start = bytes.len();
            if start > 0 {
                bytes.push(b'/');
            }
            let name = bytes.len();
            decode_into(&mut bytes, component)?;
            directory = match &bytes[name..] {
                b".." => return Err(InvalidPath),
                b"" | b"." => true,
                component if component.iter().any(|byte| matches!(byte, 0 | b'/' | b'\\')) => return Err(InvalidPath),
                _ => false,
            };
            if directory {
                bytes.truncate(start);
            }
        }
        Ok(Self { bytes: Cow::Owned(bytes), directory })
    }

    /// The names, a slash between them and none at the ends. Empty for the root.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it was written with a slash at its end (or a dot): it cannot be a file.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.directory
    }

    /// Its names in order; none for the root.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.bytes.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
    }

    /// Whether a name in it begins with a dot.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.names().any(|name| name[0] == b'.')
    }

    /// The path as it is written in requests: from the root, encoded, with a slash at the end of a directory.
    ///
    /// It begins with exactly one slash, so that it never names another host in a Location.
    ///
    /// ```
    /// use file_server::http::target::RelativePath;
    ///
    /// assert_eq!(RelativePath::decode(b"//a.org/b c").unwrap().to_location(true), "/a.org/b%20c/");
    /// ```
    #[must_use]
    pub fn to_location(&self, directory: bool) -> String {
        let mut location = String::with_capacity(self.bytes.len() + 2);
        location.push('/');
        encode_path(&mut location, &self.bytes);
        if directory && !self.bytes.is_empty() {
            location.push('/');
        }
        location
    }
}

/// Whether a path without its first slash can be taken as it is.
fn is_plain(path: &[u8]) -> bool {
    let begins_plainly = |name: &[u8]| !matches!(name, [b'/' | b'.', ..]);
    let is_plain = |(index, &byte): (usize, &u8)| match byte {
        b'/' => begins_plainly(&path[index + 1..]),
        _ => !IS_SPECIAL[usize::from(byte)],
    };
    begins_plainly(path) && path.iter().enumerate().all(is_plain)
}

/// For each byte whether it means something in a path, or is none of a name.
const IS_SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    table[0] = true;
    table[b'%' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

fn decode_into(out: &mut Vec<u8>, encoded: &[u8]) -> Result<(), InvalidPath> {
    let mut rest = encoded;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let Some((&[high, low], after)) = rest.split_first_chunk() else { return Err(InvalidPath) };
        out.push(hex(high)? << 4 | hex(low)?);
        rest = after;
    }
    Ok(())
}

fn hex(digit: u8) -> Result<u8, InvalidPath> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(InvalidPath),
    }
}

/// All but the characters that need no encoding anywhere (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same, but for the slash between names.
const NOT_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// Appends a path, encoded; its slashes stay.
pub fn encode_path(out: &mut String, path: &[u8]) {
    out.extend(percent_encode(path, NOT_IN_PATH));
}

/// Appends one name, encoded: it is safe in a path, a query, and an attribute of HTML.
pub fn encode_name(out: &mut String, name: &[u8]) {
    out.extend(percent_encode(name, RESERVED));
}

/// The value of a parameter in a query, decoded as forms are; the first of that name.
///
/// ```
/// use file_server::http::target::query_value;
///
/// assert_eq!(query_value(b"sort=size&order=de%73c", "order").as_deref(), Some(&b"desc"[..]));
/// assert_eq!(query_value(b"sort", "sort").as_deref(), Some(&b""[..]));
/// assert_eq!(query_value(b"resort=1", "sort"), None);
/// ```
#[must_use]
pub fn query_value<'a>(query: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    query.split(|&byte| byte == b'&').find_map(|pair| {
        let rest = pair.strip_prefix(name.as_bytes())?;
        match rest {
            [] => Some(Cow::Borrowed(rest)),
            [b'=', value @ ..] => Some(decode_form(value)),
            _ => None,
        }
    })
}

/// Decodes a value of a form; escapes that are none are taken as they are.
fn decode_form(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'+') {
        return percent_encoding::percent_decode(value).into();
    }
    let spaced: Vec<u8> = value.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent_encoding::percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(path: &str) -> Option<(String, bool)> {
        let path = RelativePath::decode(path.as_bytes()).ok()?;
        Some((String::from_utf8_lossy(path.as_bytes()).into_owned(), path.is_directory()))
    }

    #[test]
    fn paths_are_decoded_once() {
        for (path, names, directory) in [
            ("/", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("/a/b.c", "a/b.c", false),
            ("/a%20b", "a b", false),
            ("/%C3%BC", "\u{fc}", false),
            ("/\u{fc}", "\u{fc}", false),
            ("/a%252e%252e/b", "a%2e%2e/b", false),
            ("/a+b", "a+b", false),
            ("/a%0Ab", "a\nb", false),
            ("/a%3Fb%23", "a?b#", false),
            ("/.a", ".a", false),
            ("/...", "...", false),
            ("/a..b", "a..b", false),
            ("/..a/b", "..a/b", false),
            ("//", "", true),
            ("//a//b", "a/b", false),
            ("/./a/.", "a", true),
            ("/%2e/a/%2E", "a", true),
            ("/a/./", "a", true),
            ("/./", "", true),
        ] {
            assert_eq!(decoded(path), Some((names.into(), directory)), "{path}");
        }
    }

    #[test]
    fn what_would_leave_the_root_or_is_no_name_is_refused() {
        for path in [
            "",
            "a",
            "*",
            "/..",
            "/../",
            "/a/..",
            "/a/../b",
            "/%2e%2e",
            "/.%2E/",
            "/%2e.",
            "/a/%2E%2e/b",
            "/..%2f",
            "/a%2Fb",
            "/%2f",
            "/a%2f",
            "/a\\b",
            "/a%5Cb",
            "/..\\b",
            "/a%00",
            "/%00",
            "/a\0b",
            "/%",
            "/%4",
            "/a%zz",
            "/%-1",
            "/%+1",
            "/% 1",
        ] {
            assert_eq!(decoded(path), None, "{path}");
        }
    }

    #[test]
    fn the_common_path_is_borrowed() {
        for path in ["/", "/index.html", "/a/b/c.txt", "/a/"] {
            let path = RelativePath::decode(path.as_bytes()).expect("it is valid");
            assert!(matches!(path.bytes, Cow::Borrowed(_)), "{path:?}");
        }
    }

    #[test]
    fn names_that_begin_with_a_dot_are_hidden() {
        for (path, hidden) in [("/a/.b/c", true), ("/.a", true), ("/%2ea", true), ("/a.b/", false), ("/", false)] {
            assert_eq!(RelativePath::decode(path.as_bytes()).map(|path| path.is_hidden()), Ok(hidden), "{path}");
        }
    }

    #[test]
    fn a_location_reads_as_the_same_path() {
        let all: Vec<u8> = (1..=255).filter(|byte| !matches!(byte, b'/' | b'\\')).collect();
        let mut link = "/".to_owned();
        encode_name(&mut link, &all);
        assert!(link.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>&?#;:".contains(&byte)));
        let path = RelativePath::decode(link.as_bytes()).expect("it is valid");
        assert_eq!(path.as_bytes(), all);
        assert_eq!(path.to_location(false), link);
        assert_eq!(path.to_location(true), link + "/");
    }

    #[test]
    fn a_location_begins_with_one_slash() {
        for (path, location) in [("//", "/"), ("///a.org//b", "/a.org/b/"), ("/./", "/"), ("/%0d%0a", "/%0D%0A/")] {
            let path = RelativePath::decode(path.as_bytes()).expect("it is valid");
            assert_eq!(path.to_location(true), location);
        }
    }

    #[test]
    fn queries_are_read_as_forms() {
        let value = |query: &'static str| query_value(query.as_bytes(), "q").map(Cow::into_owned);
        assert_eq!(value("a=1&q=b+c%2B&q=2"), Some(b"b c+".to_vec()));
        assert_eq!(value("q=%zz"), Some(b"%zz".to_vec()));
        assert_eq!(value("q=a=b"), Some(b"a=b".to_vec()));
        assert_eq!(value(""), None);
        assert_eq!(value("qq=1&Q=1"), None);
    }
}
