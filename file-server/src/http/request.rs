//! The head of a request: parsed, checked to the letter, and what it says of its body and of the connection.
//!
//! What could be read in two ways is refused, so that nothing is smuggled past a proxy: a line end that is not CR LF,
//! a folded line, white space before a colon, two lengths, a length beside a transfer coding, no Host or two.
//!
//! A head gets the same answer however it is cut into pieces.

use std::mem::MaybeUninit;

use super::field::{Field, Fields, MOST_HEAD};
use super::framing::{Body, framing};
use super::line_ends::has_bare_line_feed;
use super::list::elements;
use super::method::Method;
use super::request_target::{RequestTarget, is_host};
use super::status::Status;
use super::version::{Version, behind_later_minor, fields_behind};

/// How much of a request's head is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Bytes of the first line without its end; more is 414. As much as the RFC asks of all (8000), and what others take.
    pub line: usize,
    /// Bytes of the whole head, with empty lines before it; more is 431. It bounds what an idle connection may hold. At most
    /// 64 KiB count.
    pub head: usize,
    /// Header fields; more is 431. At most [`MOST_FIELDS`] count.
    pub fields: usize,
}

/// The most header fields that can be allowed.
pub const MOST_FIELDS: usize = 128;

impl Default for RequestLimits {
    fn default() -> Self {
        Self { line: 8 << 10, head: 32 << 10, fields: 100 }
    }
}

/// A request's head. All of it borrows from the bytes received.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// How many bytes the head has; the body follows it.
    pub head_len: usize,
    /// The method.
    pub method: Method,
    /// The method's name as sent.
    pub method_name: &'a str,
    /// The request's target as sent, for logs.
    pub target: &'a str,
    /// The path of the target without the query, still encoded. It begins with `/`, but for OPTIONS, where it may be
    /// `*`, and for CONNECT, where it is the whole target.
    pub path: &'a [u8],
    /// What follows the first `?` of the target, still encoded.
    pub query: Option<&'a [u8]>,
    /// The host and the port asked for, of the target or else of Host. Empty if there is none.
    pub host: &'a [u8],
    /// The version of the protocol.
    pub version: Version,
    /// Whether the connection goes on after the answer, as far as the client is concerned.
    pub keep_alive: bool,
    /// Whether the client waits for 100 Continue before it sends the body.
    pub expects_continue: bool,
    /// How the body is framed.
    pub body: Body,
    fields: Fields<'a>,
}

/// Parses the head at the start of `bytes`: `None` if it is not complete yet.
///
/// # Errors
///
/// The status of the answer, after which the connection has to be closed: where the next request begins is not known.
///
/// ```
/// use file_server::http::method::Method;
/// use file_server::http::request::{RequestLimits, parse};
/// use file_server::http::status::Status;
///
/// let limits = RequestLimits::default();
/// let bytes = b"GET /a?b HTTP/1.1\r\nHost: c\r\n\r\nGET";
/// let request = parse(bytes, &limits).unwrap().unwrap();
/// assert_eq!((request.method, request.path, request.query), (Method::Get, &b"/a"[..], Some(&b"b"[..])));
/// assert_eq!(&bytes[request.head_len..], b"GET");
///
/// assert!(parse(&bytes[..20], &limits).unwrap().is_none());
/// assert_eq!(parse(b"GET / HTTP/1.1\r\n\r\n", &limits).unwrap_err(), Status::BAD_REQUEST);
/// ```
pub fn parse<'a>(bytes: &'a [u8], limits: &RequestLimits) -> Result<Option<Request<'a>>, Status> {
    // What is beyond the bound is not looked at, so that it makes no difference whether it has come already.
    let most = limits.head.min(MOST_HEAD);
    let window = &bytes[..bytes.len().min(most)];
    let mut slots = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let slots = &mut slots[..limits.fields.min(MOST_FIELDS)];
    let mut head = httparse::Request::new(&mut []);
    match head.parse_with_uninit_headers(window, slots) {
        Err(httparse::Error::Version) => parse_later(&head, window, limits),
        outcome => conclude(outcome, &head, window, limits),
    }
}

/// The request, if httparse has found one.
#[inline]
fn conclude<'a>(
    outcome: httparse::Result<usize>,
    head: &httparse::Request<'_, 'a>,
    window: &'a [u8],
    limits: &RequestLimits,
) -> Result<Option<Request<'a>>, Status> {
    match outcome {
        Ok(httparse::Status::Complete(length)) => {
            if length > limits.line && line_excess(window, limits).is_some() {
                return Err(Status::URI_TOO_LONG);
            }
            Request::checked(head, &window[..length]).map(Some)
        }
        Ok(httparse::Status::Partial) if line_excess(window, limits).is_some() => Err(Status::URI_TOO_LONG),
        Ok(httparse::Status::Partial) if window.len() == limits.head.min(MOST_HEAD) => {
            Err(Status::HEADER_FIELDS_TOO_LARGE)
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(refusal(error, window, limits)),
    }
}

/// Parses a head whose version is neither HTTP/1.0 nor HTTP/1.1, of which `head` has what is before it.
#[cold]
fn parse_later<'a>(
    head: &httparse::Request<'_, 'a>,
    window: &'a [u8],
    limits: &RequestLimits,
) -> Result<Option<Request<'a>>, Status> {
    let Some(rest) = behind_later_minor(head, window) else {
        return Err(refusal(httparse::Error::Version, window, limits));
    };
    let mut slots = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let slots = &mut slots[..limits.fields.min(MOST_FIELDS)];
    let mut later = httparse::Request::new(&mut []);
    (later.method, later.path, later.version) = (head.method, head.path, Some(1));
    let outcome = fields_behind(rest, slots).map(|status| match status {
        httparse::Status::Complete((length, count)) => {
            later.headers = &mut slots[..count];
            httparse::Status::Complete(window.len() - rest.len() + length)
        }
        httparse::Status::Partial => httparse::Status::Partial,
    });
    conclude(outcome, &later, window, limits)
}

/// Where the first line is found to be too long, if it is.
fn line_excess(window: &[u8], limits: &RequestLimits) -> Option<usize> {
    let start = window.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let most = limits.line + b"\r\n".len();
    let line = window[start..].get(..most)?;
    (!line.contains(&b'\n')).then_some(start + most)
}

/// The status for what is no head.
#[cold]
fn refusal(error: httparse::Error, window: &[u8], limits: &RequestLimits) -> Status {
    // A line that is too long is found before what is wrong in the rest of it.
    if let Some(end) = line_excess(window, limits).filter(|&end| end < window.len()) {
        let window = &window[..end];
        let mut head = httparse::Request::new(&mut []);
        let outcome = head.parse_with_uninit_headers(window, &mut []).map(drop);
        let outcome = match behind_later_minor(&head, window) {
            Some(rest) => fields_behind(rest, &mut []).map(drop),
            None => outcome,
        };
        return outcome.map_or_else(|error| refusal(error, window, limits), |()| Status::URI_TOO_LONG);
    }
    match error {
        httparse::Error::TooManyHeaders => Status::HEADER_FIELDS_TOO_LARGE,
        httparse::Error::Version => version_refusal(window),
        _ => Status::BAD_REQUEST,
    }
}

/// 505 for another major version of HTTP, and 400 for what is no version.
///
/// It is told by the first digit, for the line may be cut after it.
fn version_refusal(window: &[u8]) -> Status {
    let mut words = window.trim_ascii_start().split(|&byte| byte == b' ').skip(2);
    let version = words.next().unwrap_or_default();
    match version.strip_prefix(b"HTTP/") {
        Some([b'0' | b'2'..=b'9', ..]) => Status::VERSION_NOT_SUPPORTED,
        _ => Status::BAD_REQUEST,
    }
}

impl<'a> Request<'a> {
    /// The value of a field: that of several of one name is their list.
    #[inline]
    #[must_use]
    pub fn field(&self, field: Field) -> Option<&[u8]> {
        self.fields.value(field)
    }

    /// Whether any of the fields is there that [`conditional::evaluate`](super::conditional::evaluate) looks at.
    #[inline]
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        const CONDITIONS: u32 = Field::IfMatch.bit()
            | Field::IfNoneMatch.bit()
            | Field::IfModifiedSince.bit()
            | Field::IfUnmodifiedSince.bit();
        self.fields.present & CONDITIONS != 0
    }

    /// Whether the client speaks of nothing that could make the answer to its GET or HEAD another one than the file's
    /// whole content as it is: no condition, no range, no coding, no credentials, no origin, no body, no query.
    ///
    /// Such an answer can be taken from a cache by the path alone.
    #[inline]
    #[must_use]
    pub fn is_plain(&self) -> bool {
        const PASSED_OVER: u32 = Field::Accept.bit()
            | Field::Connection.bit()
            | Field::Host.bit()
            | Field::Referer.bit()
            | Field::UserAgent.bit()
            | Field::XForwardedFor.bit();
        self.fields.present & !PASSED_OVER == 0 && self.query.is_none() && self.method.is_retrieval()
    }

    #[inline]
    fn checked(head: &httparse::Request<'_, 'a>, bytes: &'a [u8]) -> Result<Self, Status> {
        if has_bare_line_feed(bytes) {
            return Err(Status::BAD_REQUEST);
        }
        let fields = Fields::of(bytes, head.headers);
        let method_name = head.method.unwrap_or_default();
        let target = head.path.unwrap_or_default();
        let version = if head.version == Some(1) { Version::Http11 } else { Version::Http10 };
        let method = Method::from_name(method_name);
        let named = checked_host(&fields, version)?;
        let RequestTarget { host, path, query } = RequestTarget::of(target.as_bytes(), method)?;
        let body = framing(fields.value(Field::TransferEncoding), fields.value(Field::ContentLength), version)?;
        let expects_continue = expects_continue(&fields, version, body)?;
        Ok(Self {
            head_len: bytes.len(),
            method,
            method_name,
            target,
            path,
            query,
            host: host.unwrap_or(named),
            version,
            // What follows CONNECT is not for us: it may be what somebody else wants sent through the tunnel.
            keep_alive: keeps_alive(&fields, version) && method != Method::Connect,
            expects_continue,
            body,
            fields,
        })
    }
}

/// The value of Host: one in HTTP/1.1, and at most one in HTTP/1.0.
fn checked_host<'a>(fields: &Fields<'a>, version: Version) -> Result<&'a [u8], Status> {
    match fields.single(Field::Host)? {
        Some(host) if is_host(host) => Ok(host),
        None if version == Version::Http10 => Ok(b""),
        _ => Err(Status::BAD_REQUEST),
    }
}

/// Whether 100 Continue is waited for; another expectation cannot be met.
fn expects_continue(fields: &Fields<'_>, version: Version, body: Body) -> Result<bool, Status> {
    let Some(value) = fields.value(Field::Expect).filter(|_| version == Version::Http11) else { return Ok(false) };
    let mut expected = elements(value).peekable();
    let waits = expected.peek().is_some() && !matches!(body, Body::None | Body::Length(0));
    match expected.all(|expectation| expectation.eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(waits),
        false => Err(Status::EXPECTATION_FAILED),
    }
}

fn keeps_alive(fields: &Fields<'_>, version: Version) -> bool {
    let Some(options) = fields.value(Field::Connection) else { return version == Version::Http11 };
    let has = |wanted: &[u8]| elements(options).any(|option| option.eq_ignore_ascii_case(wanted));
    !has(b"close") && (version == Version::Http11 || has(b"keep-alive"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

    use super::*;

    fn parsed(head: &str) -> Result<Option<Request<'_>>, Status> {
        parse(head.as_bytes(), &RequestLimits::default())
    }

    fn complete(head: &str) -> Request<'_> {
        parsed(head).unwrap().unwrap()
    }

    /// The status for a head of HTTP/1.1 with Host and these lines.
    fn status_with(lines: &str) -> Status {
        parsed(&format!("PUT / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")).unwrap_err()
    }

    #[test]
    fn a_common_request() {
        let request = complete("GET /a%20b?c=d?e HTTP/1.1\r\nHost: x.org:80\r\nUser-Agent:  y z \t\r\nA: b\r\n\r\n");
        assert_eq!((request.method, request.method_name, request.version), (Method::Get, "GET", Version::Http11));
        assert_eq!((request.target, request.path), ("/a%20b?c=d?e", &b"/a%20b"[..]));
        assert_eq!((request.query, request.host), (Some(&b"c=d?e"[..]), &b"x.org:80"[..]));
        assert_eq!(request.field(Field::UserAgent), Some(&b"y z"[..]));
        assert_eq!((request.body, request.keep_alive, request.expects_continue), (Body::None, true, false));
    }

    #[test]
    fn a_head_ends_where_the_next_begins() {
        let bytes = "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n";
        let first = complete(bytes);
        let second = complete(&bytes[first.head_len..]);
        assert_eq!((first.host, second.host), (&b"a"[..], &b"b"[..]));
        assert_eq!(first.head_len + second.head_len, bytes.len());
        assert!(parsed("\r\n").unwrap().is_none() && parsed("").unwrap().is_none());
    }

    #[test]
    fn malformed_heads_are_refused() {
        for head in [
            "GET\r\n\r\n",
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / b HTTP/1.1\r\nHost: a\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nB: c\rd\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nB: c\0d\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nB\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\rHost: a\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
            "GET / HTTP/x.1\r\nHost: a\r\n\r\n",
            "GET / FTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{1}a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(parsed(head).unwrap_err(), Status::BAD_REQUEST, "{head:?}");
        }
    }

    #[test]
    fn other_versions_are_told_from_no_version() {
        for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/3", "HTTP/2"] {
            let head = format!("GET / {version}\r\nHost: a\r\n\r\n");
            assert_eq!(parsed(&head).unwrap_err(), Status::VERSION_NOT_SUPPORTED, "{version}");
        }
    }

    #[test]
    fn a_later_minor_version_is_read_as_the_latest() {
        for version in ["HTTP/1.2", "HTTP/1.9"] {
            let head =
                format!("\r\nPUT /a?b {version}\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
            let known = head.replace(version, "HTTP/1.1");
            let [later, latest] = [&head, &known].map(|head| complete(head));
            assert_eq!((later.head_len, later.version, later.body), (head.len(), Version::Http11, latest.body));
            assert_eq!((later.method, later.target, later.path), (latest.method, latest.target, latest.path));
            assert_eq!((later.query, later.host), (latest.query, latest.host));
            assert_eq!((later.keep_alive, later.expects_continue), (true, true));
            assert_eq!(later.field(Field::ContentLength), Some(&b"5"[..]));
            for (wrong, right) in [("\r\nHost: a", "\r\nHost a"), ("\r\nHost", "0\r\nHost"), ("\r\nHost", "\nHost")] {
                assert_eq!(parsed(&head.replace(wrong, right)).unwrap_err(), Status::BAD_REQUEST, "{right:?}");
            }
            assert!(parsed(&format!("GET / {version}")).unwrap().is_none());
            assert!(parsed(&format!("GET / {version}\r")).unwrap().is_none());
        }
    }

    #[test]
    fn there_is_one_host() {
        for lines in ["Host: a\r\nHost: a", "Host: a\r\nHOST: b", "Host: a, b", "Host: a b", "Host: a/b", "Host: u@a"] {
            let head = |version| format!("GET / HTTP/{version}\r\n{lines}\r\n\r\n");
            assert_eq!(parsed(&head("1.1")).unwrap_err(), Status::BAD_REQUEST, "{lines}");
            assert_eq!(parsed(&head("1.0")).unwrap_err(), Status::BAD_REQUEST, "{lines}");
        }
        assert_eq!(parsed("GET / HTTP/1.1\r\n\r\n").unwrap_err(), Status::BAD_REQUEST);
        assert_eq!(complete("GET / HTTP/1.0\r\n\r\n").host, b"");
    }

    #[test]
    fn several_fields_of_one_name_are_their_list() {
        let lengths = "Content-Length: 5\r\nContent-Length: ";
        assert_eq!(status_with(&format!("{lengths}6")), Status::BAD_REQUEST);
        assert_eq!(complete(&format!("PUT / HTTP/1.1\r\nHost: a\r\n{lengths}5\r\n\r\n")).body, Body::Length(5));
        assert_eq!(status_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Status::BAD_REQUEST);
        assert_eq!(status_with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"), Status::NOT_IMPLEMENTED);
        assert_eq!(status_with("Content-Length: 5\r\nTransfer-Encoding: chunked"), Status::BAD_REQUEST);
        assert_eq!(status_with("Transfer-Encoding: \u{b}chunked"), Status::BAD_REQUEST);
        let accepted = complete("GET / HTTP/1.1\r\nHost: a\r\nAccept: a\r\nAccept: b\r\naccept:\r\n\r\n");
        assert_eq!(accepted.field(Field::Accept), Some(&b"a, b, "[..]));
    }

    #[test]
    fn connections_are_kept_as_the_version_says() {
        for (version, options, kept) in [
            ("1.1", "", true),
            ("1.1", "Connection: keep-alive\r\n", true),
            ("1.1", "Connection: Close\r\n", false),
            ("1.1", "Connection: upgrade, close\r\n", false),
            ("1.1", "Connection: upgrade\r\nConnection: close\r\n", false),
            ("1.1", "Connection: closed\r\n", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{options}\r\n");
            assert_eq!(complete(&head).keep_alive, kept, "{head:?}");
        }
    }

    #[test]
    fn an_expectation_is_of_a_body() {
        let expects = |head: &str| complete(head).expects_continue;
        assert!(expects("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n"));
        assert!(expects("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"));
        assert!(!expects("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"));
        assert!(!expects("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"));
        assert!(!expects("PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"));
        assert_eq!(status_with("Expect: tea"), Status::EXPECTATION_FAILED);
    }

    #[test]
    fn a_plain_request_depends_on_its_path_alone() {
        let plain = |lines: &str| complete(&format!("GET /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).is_plain();
        assert!(plain("") && plain("User-Agent: a\r\nAccept: */*\r\nConnection: keep-alive\r\nX-Y: z\r\n"));
        for line in
            ["Range: a", "If-Match: *", "Accept-Encoding: br", "Authorization: a", "Origin: a", "Content-Length: 1"]
        {
            assert!(!plain(&format!("{line}\r\n")), "{line}");
        }
        assert!(!complete("GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n").is_plain());
        assert!(!complete("DELETE /a HTTP/1.1\r\nHost: a\r\n\r\n").is_plain());
    }

    const SMALL: RequestLimits = RequestLimits { line: 20, head: 60, fields: 2 };

    #[test]
    fn the_first_line_is_bounded() {
        let line = |path: usize| format!("GET /{} HTTP/1.1", "a".repeat(path));
        let status = |head: &str| parse(head.as_bytes(), &SMALL).map(|request| request.is_some());
        assert_eq!(line(6).len(), 20);
        assert_eq!(status(&format!("{}\r\nHost: a\r\n\r\n", line(6))), Ok(true));
        assert_eq!(status(&format!("{}\r\nHost: a\r\n\r\n", line(7))), Err(Status::URI_TOO_LONG));
        assert_eq!(status(&format!("\r\n\r\n{}\r\n", line(6))), Ok(false));
        // Before its end has come, and before what is wrong after it.
        assert_eq!(status(&line(8)[..22]), Err(Status::URI_TOO_LONG));
        assert_eq!(status(&line(8)[..21]), Ok(false));
        assert_eq!(status(&format!("{}\r\n:\r\n\r\n", line(30))), Err(Status::URI_TOO_LONG));
        assert_eq!(status(&format!("GET /\u{1} {}", line(30))), Err(Status::BAD_REQUEST));
    }

    #[test]
    fn the_head_is_bounded() {
        let head = |value: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nB: {}\r\n\r\n", "a".repeat(value));
        let status = |head: &str| parse(head.as_bytes(), &SMALL).map(|request| request.is_some());
        assert_eq!(head(28).len(), 60);
        assert_eq!(status(&head(28)), Ok(true));
        assert_eq!(status(&head(29)), Err(Status::HEADER_FIELDS_TOO_LARGE));
        assert_eq!(status(&head(29)[..60]), Err(Status::HEADER_FIELDS_TOO_LARGE));
        assert_eq!(status(&head(29)[..59]), Ok(false));
        assert_eq!(status(&"\r\n".repeat(30)), Err(Status::HEADER_FIELDS_TOO_LARGE));
        let fields = "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\nD: e\r\n\r\n";
        assert_eq!(status(fields), Err(Status::HEADER_FIELDS_TOO_LARGE));
        let many = RequestLimits { head: 1 << 20, fields: 1 << 20, ..SMALL };
        let head = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "B: c\r\n".repeat(fields - 1));
        assert!(parse(head(MOST_FIELDS).as_bytes(), &many).unwrap().is_some());
        assert_eq!(parse(head(MOST_FIELDS + 1).as_bytes(), &many).unwrap_err(), Status::HEADER_FIELDS_TOO_LARGE);
    }
}
