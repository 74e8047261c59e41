//! Directories as a server lists them in JSON.

use serde::{Deserialize, Serialize};

use crate::location::{Location, file_name};
use crate::report::{plain, print, print_line};

/// A directory of a server.
#[derive(Deserialize)]
pub(crate) struct Listing {
    entries: Vec<Entry>,
    #[serde(default)]
    pub(crate) truncated: bool,
}

/// What is in it.
#[derive(Deserialize, Serialize)]
struct Entry {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    /// The name, encoded byte for byte.
    href: String,
    #[serde(default)]
    modified: Option<String>,
    #[serde(default)]
    size: Option<u64>,
}

/// The line of an entry for programs.
#[derive(Serialize)]
struct Line<'a> {
    action: &'static str,
    directory: &'a str,
    #[serde(flatten)]
    entry: &'a Entry,
}

/// A name below a directory, as it is fetched.
pub(crate) struct Found {
    pub(crate) from: Location,
    pub(crate) name: std::ffi::OsString,
    pub(crate) is_directory: bool,
    /// What the server says of it; it may be another when it is fetched.
    pub(crate) size: u64,
}

impl Listing {
    /// Reads the answer of a server.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| format!("the server lists no directory in JSON there: {error}"))
    }

    /// What is there to be fetched. A name that would lead out of the directory is an error.
    pub(crate) fn found(&self, directory: &Location) -> Result<Vec<Found>, String> {
        let found = |entry: &Entry| {
            let encoded = entry.href.trim_end_matches('/');
            let name = file_name(encoded).ok_or_else(|| format!("{:?} is not the name of a file", entry.href))?;
            let is_directory = entry.kind == "directory";
            let slash = if is_directory { "/" } else { "" };
            let from = directory.below(&format!("{encoded}{slash}"));
            let size = entry.size.filter(|_| !is_directory).unwrap_or(0);
            Ok(Found { from, name, is_directory, size })
        };
        self.entries.iter().map(found).collect()
    }

    /// Shows it on stdout.
    pub(crate) fn show(&self, directory: &str, json: bool) {
        for entry in &self.entries {
            if json {
                print(&Line { action: "ls", directory, entry });
                continue;
            }
            let size = entry.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
            let slash = if entry.kind == "directory" { "/" } else { "" };
            let modified = entry.modified.as_deref().unwrap_or("-");
            print_line(&plain(&format!("{size:>14}  {modified:20}  {}{slash}", entry.name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(href: &str) -> Result<Vec<Found>, String> {
        let entry = format!(r#"{{"name":"a","type":"file","href":"{href}","size":5,"unknown":1}}"#);
        let listing = Listing::parse(format!(r#"{{"path":"/","entries":[{entry}]}}"#).as_bytes())?;
        listing.found(&Location::parse("http://h/d/").unwrap())
    }

    #[test]
    fn names_are_taken_from_their_links() {
        let found = found("c%20d%FF").unwrap();
        assert_eq!(found[0].from.to_string(), "http://h/d/c%20d%FF");
        assert_eq!((found[0].name.len(), found[0].is_directory), (4, false));
    }

    #[test]
    fn no_name_leads_out_of_its_directory() {
        for bad in ["..", "../", "/etc/passwd", "a/b", "%2e%2e/", "", "a%2Fb", "."] {
            assert!(found(bad).is_err(), "{bad}");
        }
        assert!(Listing::parse(b"<html>").is_err());
    }
}
