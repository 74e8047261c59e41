//! Cross-origin requests of scripts in browsers: which pages may read the answers (the CORS protocol of the Fetch standard).

use super::field::Field;
use super::head::ResponseHead;
use super::method::Method;
use super::request::Request;

/// The origins whose pages may read what is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// All of them.
    Any,
    /// These, each such as `https://example.org`.
    Listed(Vec<String>),
}

/// What scripts may see of an answer beside what they always may.
const EXPOSED: &[u8] = b"Accept-Ranges, Content-Encoding, Content-Length, Content-Range, ETag, Location";

/// Seconds for which a browser remembers the answer to a preflight: as long as any of them does.
const PREFLIGHT_AGE: u64 = 86_400;

/// Whether a browser asks beforehand if it may send a request.
#[must_use]
pub fn is_preflight(request: &Request<'_>) -> bool {
    request.method == Method::Options
        && request.field(Field::Origin).is_some()
        && request.field(Field::AccessControlRequestMethod).is_some()
}

impl AllowedOrigins {
    /// Appends what an answer to any request has to say.
    ///
    /// ```
    /// use file_server::http::cors::AllowedOrigins;
    /// use file_server::http::head::ResponseHead;
    /// use file_server::http::request::{RequestLimits, parse};
    /// use file_server::http::status::Status;
    ///
    /// let request = parse(b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\n\r\n", &RequestLimits::default());
    /// let mut out = Vec::new();
    /// let mut head = ResponseHead::begin(&mut out, Status::OK);
    /// AllowedOrigins::Any.write(&request.unwrap().unwrap(), &mut head);
    /// head.end();
    /// assert!(String::from_utf8_lossy(&out).contains("\r\nAccess-Control-Allow-Origin: *\r\n"));
    /// ```
    pub fn write(&self, request: &Request<'_>, head: &mut ResponseHead<'_>) {
        if self.write_origin(request, head) {
            head.field("Access-Control-Expose-Headers", EXPOSED);
        }
    }

    /// Appends what the answer to a preflight has to say; `methods` is the list of those allowed, as in Allow.
    pub fn write_preflight(&self, request: &Request<'_>, methods: &str, head: &mut ResponseHead<'_>) {
        if !self.write_origin(request, head) {
            return;
        }
        head.field("Access-Control-Allow-Methods", methods.as_bytes());
        // Which of them are sent is no concern of a server that looks at a few: it allows what is asked for.
        if let Some(wanted) = request.field(Field::AccessControlRequestHeaders) {
            head.field("Access-Control-Allow-Headers", wanted);
            head.field("Vary", b"Access-Control-Request-Headers");
        }
        head.number("Access-Control-Max-Age", PREFLIGHT_AGE);
    }

    /// Whether the origin is allowed, and if so, tells it.
    fn write_origin(&self, request: &Request<'_>, head: &mut ResponseHead<'_>) -> bool {
        let Self::Listed(origins) = self else {
            head.field("Access-Control-Allow-Origin", b"*");
            return true;
        };
        // The answer to another origin is another one, also for caches.
        head.field("Vary", b"Origin");
        let origin = request.field(Field::Origin).unwrap_or_default();
        let allowed = origins.iter().find(|allowed| allowed.as_bytes() == origin);
        if let Some(allowed) = allowed {
            head.field("Access-Control-Allow-Origin", allowed.as_bytes());
        }
        allowed.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

    use super::*;
    use crate::http::request::{RequestLimits, parse};
    use crate::http::status::Status;

    fn answer(origins: &AllowedOrigins, head: &str, preflight: bool) -> String {
        let request = parse(head.as_bytes(), &RequestLimits::default()).unwrap().unwrap();
        assert_eq!(is_preflight(&request), preflight);
        let mut out = Vec::new();
        let mut head = ResponseHead::begin(&mut out, Status::OK);
        match preflight {
            true => origins.write_preflight(&request, "GET, PUT", &mut head),
            false => origins.write(&request, &mut head),
        }
        head.end();
        String::from_utf8(out).unwrap()
    }

    fn listed() -> AllowedOrigins {
        AllowedOrigins::Listed(vec!["https://a".into(), "https://b".into()])
    }

    #[test]
    fn only_listed_origins_are_told_that_they_are_allowed() {
        let head = |origin| format!("GET / HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\n\r\n");
        let text = answer(&listed(), &head("https://b"), false);
        assert!(text.contains("Allow-Origin: https://b\r\n") && text.contains("Vary: Origin\r\n"), "{text}");
        for other in ["https://c", "https://b.org", "null", "", "*"] {
            let text = answer(&listed(), &head(other), false);
            assert!(!text.contains("Access-Control") && text.contains("Vary: Origin\r\n"), "{text}");
        }
        let text = answer(&AllowedOrigins::Any, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", false);
        assert!(text.contains("Allow-Origin: *\r\n") && !text.contains("Vary"), "{text}");
    }

    #[test]
    fn a_preflight_is_told_methods_and_fields() {
        let head = "OPTIONS /a HTTP/1.1\r\nHost: h\r\nOrigin: https://a\r\nAccess-Control-Request-Method: PUT\r\n\
                    Access-Control-Request-Headers: x-a, range\r\n\r\n";
        let text = answer(&listed(), head, true);
        for line in
            ["Allow-Origin: https://a", "Allow-Methods: GET, PUT", "Allow-Headers: x-a, range", "Max-Age: 86400"]
        {
            assert!(text.contains(&format!("\r\nAccess-Control-{line}\r\n")), "{text}");
        }
        assert!(!answer(&listed(), &head.replace("//a", "//c"), true).contains("Access-Control"));
    }
}
