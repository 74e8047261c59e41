//! Directories as people see them: a page without scripts, or JSON.
//!
//! Names may hold any bytes but a backslash, which no path may hold. Links are encoded byte for byte, so they always lead to the
//! file; the text that is shown, and the `name` of JSON, has replacement characters where the name is no UTF-8.

use std::ffi::OsString;

use crate::http::negotiation::prefers_json;
use crate::http::target::{RelativePath, query_value};

mod civil_time;
mod json;
mod page;
pub mod sorting;

use sorting::Sorting;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, of any bytes but a slash and NUL.
    pub name: OsString,
    /// Whether it is a directory, and not a file.
    pub is_directory: bool,
    /// Its size in bytes, for a file.
    pub size: u64,
    /// When it was modified, in seconds since 1970.
    pub modified: i64,
}

/// What a listing is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A page for people.
    Html,
    /// JSON for programs.
    Json,
}

impl Format {
    /// What the query says (`format=json` or `format=html`), and else what Accept says. The answer varies with Accept.
    ///
    /// ```
    /// use file_server::listing::Format;
    ///
    /// assert_eq!(Format::of(None, Some(b"application/json")), Format::Json);
    /// assert_eq!(Format::of(Some(b"format=html"), Some(b"application/json")), Format::Html);
    /// ```
    #[must_use]
    pub fn of(query: Option<&[u8]>, accept: Option<&[u8]>) -> Self {
        match query.and_then(|query| query_value(query, "format")).as_deref() {
            Some(b"json") => Self::Json,
            Some(b"html") => Self::Html,
            _ if prefers_json(accept) => Self::Json,
            _ => Self::Html,
        }
    }

    /// The value of Content-Type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

/// What a page may load and do, as Content-Security-Policy: nothing but its own style and the icon it brings along.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A directory and what is in it. Sorting and writing take time for a large one: it is work for a thread that may block.
///
/// ```
/// use file_server::http::target::RelativePath;
/// use file_server::listing::sorting::Sorting;
/// use file_server::listing::{Entry, Format, Listing};
///
/// let entries = vec![Entry { name: "a b".into(), is_directory: false, size: 5, modified: 0 }];
/// let path = RelativePath::decode(b"/").unwrap();
/// let listing = Listing::new(&path, entries, Sorting::default());
/// let page = String::from_utf8(listing.to_bytes(Format::Html)).unwrap();
/// assert!(page.contains("<a href=\"a%20b\">"));
/// ```
#[derive(Clone, Debug)]
pub struct Listing<'a> {
    path: &'a RelativePath<'a>,
    entries: Vec<Entry>,
    sorting: Sorting,
    /// Whether there are more names in the directory than these: the listing says so.
    pub is_truncated: bool,
}

impl<'a> Listing<'a> {
    /// The listing of a directory, sorted.
    #[must_use]
    pub fn new(path: &'a RelativePath<'a>, mut entries: Vec<Entry>, sorting: Sorting) -> Self {
        sorting.sort(&mut entries);
        Self { path, entries, sorting, is_truncated: false }
    }

    /// Writes it.
    #[must_use]
    pub fn to_bytes(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Html => self.to_page().into_bytes(),
            Format::Json => self.to_json(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_comes_before_accept() {
        const JSON: Option<&[u8]> = Some(b"application/json");
        assert_eq!(Format::of(None, None), Format::Html);
        assert_eq!(Format::of(Some(b"sort=size&format=json"), None), Format::Json);
        assert_eq!(Format::of(Some(b"format=html"), JSON), Format::Html);
        assert_eq!(Format::of(Some(b"format=xml"), JSON), Format::Json);
        assert_eq!(Format::of(Some(b"sort=size"), Some(b"text/html")), Format::Html);
    }
}
