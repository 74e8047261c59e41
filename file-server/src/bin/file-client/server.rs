//! Whom to connect to: a host, or a Unix socket whose name stands percent-encoded in the place of one.

use std::fmt;

use percent_encoding::percent_decode_str;
use reactor::net::Target;

/// A server, by what stands between `//` and the next slash of its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// `HOST`, `HOST:PORT`, or the encoded name of a socket.
    authority: String,
    is_unix: bool,
}

impl Server {
    /// Reads the part of a URL that names the server. Without a port it is `port`, or an error.
    pub(crate) fn parse(authority: &str, is_unix: bool, port: Option<u16>) -> Result<Self, String> {
        let server = Self { authority: authority.to_owned(), is_unix };
        server.target(port).map(|_| server)
    }

    /// What to connect to.
    pub(crate) fn target(&self, port: Option<u16>) -> Result<Target, String> {
        let authority = &self.authority;
        let has_port = authority.rsplit_once(':').is_some_and(|(host, _)| !host.contains('[') || host.ends_with(']'));
        let address = match port {
            _ if self.is_unix => {
                let name = percent_decode_str(authority).decode_utf8().map_err(|error| error.to_string())?;
                format!("unix:{name}")
            }
            Some(port) if !has_port => format!("tcp://{authority}:{port}"),
            _ => format!("tcp://{authority}"),
        };
        Target::try_from(address).map_err(|error| error.to_string())
    }

    /// What the server is told that it was called.
    pub(crate) fn host(&self) -> &str {
        if self.is_unix { "localhost" } else { &self.authority }
    }

    /// The part of a URL's scheme that tells the kinds apart.
    pub(crate) fn scheme_suffix(&self) -> &'static str {
        if self.is_unix { "+unix" } else { "" }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

/// What follows `SCHEME://` or `SCHEME+unix://`, and whether it is the latter.
pub(crate) fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<(&'a str, bool)> {
    let (found, rest) = text.split_once("://")?;
    let plain = found.get(..scheme.len())?;
    let suffix = &found[scheme.len()..];
    let is_known = suffix.is_empty() || suffix.eq_ignore_ascii_case("+unix");
    (plain.eq_ignore_ascii_case(scheme) && is_known).then_some((rest, !suffix.is_empty()))
}
