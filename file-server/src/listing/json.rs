//! A listing for programs.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;

use serde::Serialize;

use crate::http::target::encode_name;
use crate::listing::civil_time::CivilTime;
use crate::listing::{Entry, Listing};

/// ```json
/// {"path": "/a/", "truncated": false, "entries": [
///   {"name": "b", "type": "directory", "href": "b/", "modified": "2024-01-02T03:04:05Z"},
///   {"name": "c d", "type": "file", "href": "c%20d", "modified": "2024-01-02T03:04:05Z", "size": 6}]}
/// ```
///
/// `href` is relative to the listing, and exact; `name` has replacement characters for bytes that are no UTF-8.
#[derive(Serialize)]
struct Document<'a> {
    path: String,
    truncated: bool,
    entries: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    name: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    href: String,
    modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl Listing<'_> {
    pub(super) fn to_json(&self) -> Vec<u8> {
        let document = Document {
            path: self.path.to_location(true),
            truncated: self.is_truncated,
            entries: self.entries.iter().map(item).collect(),
        };
        serde_json::to_vec(&document).expect("texts and numbers can be written")
    }
}

fn item(entry: &Entry) -> Item<'_> {
    Item {
        name: entry.name.to_string_lossy(),
        kind: if entry.is_directory { "directory" } else { "file" },
        href: href(entry),
        modified: CivilTime::at(entry.modified).to_rfc3339(),
        size: (!entry.is_directory).then_some(entry.size),
    }
}

/// The link to an entry from the page of its directory.
pub(super) fn href(entry: &Entry) -> String {
    let mut href = String::new();
    encode_name(&mut href, entry.name.as_bytes());
    if entry.is_directory {
        href.push('/');
    }
    href
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::http::target::RelativePath;
    use crate::listing::sorting::Sorting;

    #[test]
    fn names_of_any_bytes_have_exact_links() {
        let path = RelativePath::decode(b"/a%20b/").expect("it is valid");
        let entries = vec![
            Entry { name: OsString::from_vec(b"c\xff\"\n".to_vec()), is_directory: false, size: u64::MAX, modified: 1 },
            Entry { name: "d".into(), is_directory: true, size: 4096, modified: -1 },
        ];
        let mut listing = Listing::new(&path, entries, Sorting::default());
        listing.is_truncated = true;
        let text = String::from_utf8(listing.to_json()).expect("it is text");
        assert_eq!(
            text,
            "{\"path\":\"/a%20b/\",\"truncated\":true,\"entries\":[\
             {\"name\":\"d\",\"type\":\"directory\",\"href\":\"d/\",\"modified\":\"1969-12-31T23:59:59Z\"},\
             {\"name\":\"c\u{fffd}\\\"\\n\",\"type\":\"file\",\"href\":\"c%FF%22%0A\",\
             \"modified\":\"1970-01-01T00:00:01Z\",\"size\":18446744073709551615}]}"
        );
    }
}
