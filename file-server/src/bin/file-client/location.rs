//! Where something is: `http://HOST[:PORT]/PATH` or `http+unix://SOCKET/PATH`, as it was written or as a server told.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use reactor::net::Target;

use crate::server::{Server, strip_scheme};

/// A place on an HTTP server. It displays without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) server: Server,
    /// Encoded; begins with a slash.
    pub(crate) path: String,
    query: Option<String>,
    /// The value of Authorization.
    pub(crate) credentials: Option<String>,
}

/// A server of the struct protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StructServer {
    server: Server,
}

impl Location {
    /// Reads a URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (rest, is_unix) = strip_scheme(text, "http").ok_or_else(|| match strip_scheme(text, "https") {
            Some(_) => format!("{text}: there is no TLS here; write http://"),
            None => format!("{text:?} is no URL; write http://HOST/PATH"),
        })?;
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, authority),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        if let Some(bad) = rest.chars().find(|char| char.is_control() || char.is_whitespace() || !char.is_ascii()) {
            return Err(format!("{text:?} has a {bad:?} that is not encoded"));
        }
        let credentials = user.map(|user| {
            let user: Vec<u8> = percent_decode_str(user).collect();
            format!("Basic {}", STANDARD.encode(user))
        });
        let server = Server::parse(authority, is_unix, PORT).map_err(|error| format!("{text}: {error}"))?;
        Ok(Self { server, path: path.to_owned(), query, credentials })
    }

    /// What to connect to.
    pub(crate) fn target(&self) -> Result<Target, String> {
        self.server.target(PORT)
    }

    /// What stands in the first line of a request.
    pub(crate) fn request_target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Whether it is that of a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.path.ends_with('/')
    }

    /// The place of an encoded name below this directory.
    pub(crate) fn below(&self, encoded: &str) -> Self {
        let slash = if self.is_directory() { "" } else { "/" };
        Self { path: format!("{}{slash}{encoded}", self.path), query: None, ..self.clone() }
    }

    /// The same with another query.
    pub(crate) fn with_query(&self, query: &str) -> Self {
        Self { query: Some(query.to_owned()), ..self.clone() }
    }

    /// Where a redirect leads to. Credentials stay with their server.
    pub(crate) fn redirected(&self, to: &str) -> Result<Self, String> {
        if to.contains("://") {
            let mut next = Self::parse(to)?;
            if next.server == self.server && next.credentials.is_none() {
                next.credentials.clone_from(&self.credentials);
            }
            return Ok(next);
        }
        if let Some(elsewhere) = to.strip_prefix("//") {
            return self.redirected(&format!("http://{elsewhere}"));
        }
        let directory = self.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let path = if to.starts_with('/') { to.to_owned() } else { format!("{directory}/{to}") };
        // The name of the server is of no matter to how a path is read.
        let next = Self::parse(&format!("http://server{path}"))?;
        Ok(Self { server: self.server.clone(), credentials: self.credentials.clone(), ..next })
    }

    /// The name of the file, decoded; `None` if it has none that is safe here.
    pub(crate) fn file_name(&self) -> Option<OsString> {
        file_name(self.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}{}", self.server.scheme_suffix(), self.server, self.request_target())
    }
}

impl StructServer {
    /// Reads `struct://HOST:PORT` or `struct+unix://SOCKET`; `None` if it is something else.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        let (authority, is_unix) = strip_scheme(text, "struct")?;
        let server = Server::parse(authority.trim_end_matches('/'), is_unix, None);
        Some(server.map(|server| Self { server }))
    }

    /// What to connect to.
    pub(crate) fn target(&self) -> Result<Target, String> {
        self.server.target(None)
    }
}

impl fmt::Display for StructServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "struct{}://{}", self.server.scheme_suffix(), self.server)
    }
}

/// A name that a server told, decoded: one that stays in its directory.
pub(crate) fn file_name(encoded: &str) -> Option<OsString> {
    let name: Vec<u8> = percent_decode_str(encoded).collect();
    let is_safe = !matches!(&*name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0);
    is_safe.then(|| OsString::from_vec(name))
}

/// The port of a URL that names none.
const PORT: Option<u16> = Some(80);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_they_are_written() {
        for (text, authority, target) in [
            ("http://a", "a", "/"),
            ("HTTP://a:8080/b%20c?d=e#f", "a:8080", "/b%20c?d=e"),
            ("http://user:p@a/b/", "a", "/b/"),
            ("http://[::1]:80/", "[::1]:80", "/"),
            ("http://[::1]/", "[::1]", "/"),
            ("http://a?b", "a", "/?b"),
            ("http+unix://%2Frun%2Fa%20b/c", "localhost", "/c"),
            ("http+unix://user:p@%40name/c", "localhost", "/c"),
        ] {
            let location = Location::parse(text).unwrap();
            assert_eq!((location.server.host(), &*location.request_target()), (authority, target), "{text}");
        }
        assert_eq!(Location::parse("http+unix://%2Fa/c").unwrap().to_string(), "http+unix://%2Fa/c");
        for bad in [
            "http+unix:///b",
            "http+tcp://a/",
            "a",
            "ftp://a/",
            "https://a/",
            "http://",
            "http:///a",
            "http://a/b c",
            "http://a:b/",
            "http://a/ü",
        ] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
        assert!(!Location::parse("http://user:secret@a/").unwrap().to_string().contains("secret"));
        assert!(StructServer::parse("struct://a:9090").unwrap().is_ok());
        assert!(StructServer::parse("struct://a").unwrap().is_err());
        assert!(StructServer::parse("struct+unix://%2Fa").unwrap().is_ok());
        assert!(StructServer::parse("http://a").is_none());
    }

    #[test]
    fn redirects_lead_where_they_should_and_keep_secrets() {
        let from = Location::parse("http://u:p@a:80/b/c?d").unwrap();
        for (to, path, keeps) in [
            ("/x?y", "http://a:80/x?y", true),
            ("x", "http://a:80/b/x", true),
            ("http://a:80/x", "http://a:80/x", true),
            ("http://other/x", "http://other/x", false),
            ("//other/x", "http://other/x", false),
        ] {
            let to = from.redirected(to).unwrap();
            assert_eq!((to.to_string(), to.credentials.is_some()), (path.to_owned(), keeps));
        }
        assert!(from.redirected("https://a/").is_err());
        let local = Location::parse("http+unix://%2Fs/b/c").unwrap();
        assert_eq!(local.redirected("/x/").unwrap().to_string(), "http+unix://%2Fs/x/");
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_none() {
        for bad in ["", ".", "..", "%2e%2e", "a%2fb", "%2Fetc", "a%00"] {
            assert_eq!(file_name(bad), None, "{bad}");
        }
        assert_eq!(file_name("a%20b").unwrap(), "a b");
    }
}
