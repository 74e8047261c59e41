//! The head of a response, and how its body is framed (RFC 9112, section 6.3).

use file_server::http::chunked::ChunkedDecoder;

use crate::failure::Failure;

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    is_http10: bool,
    fields: Vec<(String, Vec<u8>)>,
    /// Bytes of the head.
    pub(crate) length: usize,
}

/// How the end of a body is found.
#[derive(Debug)]
pub(crate) enum Framing {
    Length(u64),
    Chunked(ChunkedDecoder),
    /// It ends with the connection.
    UntilEnd,
}

impl Response {
    /// Reads a head; `None` if it is not complete yet.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, Failure> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        match head.parse(bytes) {
            Ok(httparse::Status::Partial) if bytes.len() >= MOST_HEAD => {
                Err(Failure::lasting("the head of the answer is too long"))
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Ok(httparse::Status::Complete(length)) => {
                let own = |field: &httparse::Header<'_>| (field.name.to_ascii_lowercase(), field.value.to_vec());
                Ok(Some(Self {
                    status: head.code.unwrap_or(0),
                    reason: head.reason.unwrap_or_default().to_owned(),
                    is_http10: head.version == Some(0),
                    fields: head.headers.iter().map(own).collect(),
                    length,
                }))
            }
            Err(error) => Err(Failure::lasting(format!("the answer is no HTTP: {error}"))),
        }
    }

    /// The value of a field, named in small letters.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_slice())
    }

    /// The same as text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.field(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// How the body is framed.
    pub(crate) fn framing(&self) -> Result<Framing, Failure> {
        if self.status < 200 || matches!(self.status, 204 | 304) {
            return Ok(Framing::Length(0));
        }
        if let Some(coding) = self.field("transfer-encoding") {
            return match coding.eq_ignore_ascii_case(b"chunked") {
                true => Ok(Framing::Chunked(ChunkedDecoder::new())),
                false => Err(Failure::lasting("the answer has a transfer coding that is not known")),
            };
        }
        match self.text("content-length") {
            Some(length) => match length.parse() {
                Ok(length) => Ok(Framing::Length(length)),
                Err(_) => Err(Failure::lasting("the length of the answer is no number")),
            },
            None if self.field("content-length").is_some() => {
                Err(Failure::lasting("the length of the answer is no number"))
            }
            None => Ok(Framing::UntilEnd),
        }
    }

    /// Whether the server takes another request on this connection.
    pub(crate) fn keeps_alive(&self) -> bool {
        let closes = |value: &str| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        !self.is_http10 && self.text("connection").is_none_or(|value| !closes(value))
    }

    /// What Content-Range tells: where the part begins, and the size of the whole.
    pub(crate) fn content_range(&self) -> Option<(Option<u64>, Option<u64>)> {
        let (range, whole) = self.text("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
        let first = range.split_once('-').and_then(|(first, _)| first.parse().ok());
        Some((first, whole.parse().ok()))
    }

    /// What tells this version of a file from others, if anything does: a strong tag, or else the time of its change.
    pub(crate) fn validator(&self) -> Option<&str> {
        let tag = self.text("etag").filter(|tag| tag.starts_with('"'));
        tag.or_else(|| self.text("last-modified"))
    }

    /// The failure that it tells of.
    pub(crate) fn failure(&self) -> Failure {
        let what = format!("{} {}", self.status, self.reason);
        match self.status {
            408 | 425 | 429 | 500 | 502 | 503 | 504 => Failure::passing(what),
            _ => Failure::lasting(what),
        }
        .with_status(self.status)
    }
}

/// Fields of a head that are read.
const MOST_FIELDS: usize = 128;

/// Bytes of a head that are waited for.
const MOST_HEAD: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Response {
        Response::parse(head.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn the_end_of_a_body_is_found() {
        let framing = |fields: &str| parse(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).framing();
        assert!(matches!(framing("Content-Length: 5\r\n"), Ok(Framing::Length(5))));
        assert!(matches!(framing("transfer-encoding: Chunked\r\n"), Ok(Framing::Chunked(_))));
        assert!(matches!(framing(""), Ok(Framing::UntilEnd)));
        for bad in ["Content-Length: x\r\n", "Content-Length: -1\r\n", "Transfer-Encoding: gzip\r\n"] {
            assert!(framing(bad).is_err(), "{bad}");
        }
        let no_content = parse("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
        assert!(matches!(no_content.framing(), Ok(Framing::Length(0))));
    }

    #[test]
    fn a_connection_is_kept_unless_the_server_says_otherwise() {
        assert!(parse("HTTP/1.1 200 OK\r\n\r\n").keeps_alive());
        for head in ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n"] {
            assert!(!parse(head).keeps_alive(), "{head}");
        }
    }

    #[test]
    fn a_part_tells_where_it_belongs() {
        let range = |value: &str| parse(&format!("HTTP/1.1 206 P\r\nContent-Range: {value}\r\n\r\n")).content_range();
        assert_eq!(range("bytes 5-9/10"), Some((Some(5), Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((Some(5), None)));
        assert_eq!(range("bytes */10"), Some((None, Some(10))));
        assert_eq!(range("lines 1-2/3"), None);
    }

    #[test]
    fn only_what_tells_versions_apart_is_a_validator() {
        let validator =
            |fields: &str| parse(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).validator().map(str::to_owned);
        assert_eq!(validator("ETag: \"a\"\r\nLast-Modified: b\r\n").as_deref(), Some("\"a\""));
        assert_eq!(validator("ETag: W/\"a\"\r\nLast-Modified: b\r\n").as_deref(), Some("b"));
        assert_eq!(validator("ETag: W/\"a\"\r\n"), None);
    }
}
