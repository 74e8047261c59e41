//! Heads of answers, appended to a buffer, and small answers that tell of an error.

use super::date::HttpDate;
use super::status::Status;

/// Writes the head of an answer field by field; [`end`](Self::end) completes it.
///
/// ```
/// use file_server::http::head::ResponseHead;
/// use file_server::http::status::Status;
///
/// let mut out = Vec::new();
/// let mut head = ResponseHead::begin(&mut out, Status::OK);
/// head.number("Content-Length", 5).field("Content-Type", b"text/plain");
/// head.end();
/// assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\n");
/// ```
#[derive(Debug)]
#[must_use = "a head without its end is none"]
pub struct ResponseHead<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> ResponseHead<'a> {
    /// Appends the status line.
    #[inline]
    pub fn begin(out: &'a mut Vec<u8>, status: Status) -> Self {
        out.extend_from_slice(status.line().as_bytes());
        Self { out }
    }

    /// Appends fields without a status line before them, to be kept and given to [`raw`](Self::raw) later.
    #[inline]
    pub fn fields_only(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends a field. Bytes that no value may have become spaces: a value never ends its line.
    #[inline]
    pub fn field(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.name(name);
        let start = self.out.len();
        self.out.extend_from_slice(value);
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
        self.raw(b"\r\n")
    }

    /// Appends a field whose value is a number.
    #[inline]
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.raw(b"\r\n")
    }

    /// Appends Date.
    #[inline]
    pub fn date(&mut self, date: &HttpDate) -> &mut Self {
        self.name("Date");
        self.raw(date.as_bytes()).raw(b"\r\n")
    }

    /// Appends lines that are complete as they are, such as those kept with a cached file.
    #[inline]
    pub fn raw(&mut self, lines: &[u8]) -> &mut Self {
        self.out.extend_from_slice(lines);
        self
    }

    /// Appends the empty line.
    #[inline]
    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
    }
}

/// A whole answer that tells a person of its status, with what else it needs.
///
/// ```
/// use file_server::http::date::HttpDate;
/// use file_server::http::head::Message;
/// use file_server::http::status::Status;
///
/// let mut out = Vec::new();
/// let date = HttpDate::at(0).unwrap();
/// Message { fields: &[("Allow", b"GET, HEAD")], ..Message::new(Status::METHOD_NOT_ALLOWED) }.write(&mut out, &date);
/// assert!(out.starts_with(b"HTTP/1.1 405 Method Not Allowed\r\n"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The status.
    pub status: Status,
    /// Fields beside those that every answer has.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// More lines, complete as they are.
    pub lines: &'a [u8],
    /// Whether the request was HEAD: the head tells the length, and no page follows.
    pub head_only: bool,
    /// Whether the connection closes after it.
    pub close: bool,
}

impl Message<'_> {
    /// A status alone, after which the connection closes.
    #[must_use]
    pub const fn new(status: Status) -> Self {
        Self { status, fields: &[], lines: b"", head_only: false, close: true }
    }

    /// Appends it; answers how many bytes of it are content.
    pub fn write(&self, out: &mut Vec<u8>, date: &HttpDate) -> usize {
        let page = page(self.status);
        let mut head = ResponseHead::begin(out, self.status);
        head.date(date);
        if !self.status.is_bodiless() {
            head.number("Content-Length", page.len() as u64);
            head.raw(b"Content-Type: text/html; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n");
        }
        for &(name, value) in self.fields {
            head.field(name, value);
        }
        head.raw(self.lines);
        if self.close {
            head.raw(b"Connection: close\r\n");
        }
        head.end();
        if self.status.is_bodiless() || self.head_only {
            return 0;
        }
        out.extend_from_slice(page.as_bytes());
        page.len()
    }
}

/// A page that tells the status, in a browser's own light or dark colours.
fn page(status: Status) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{status}</title>\
         <h1 style=\"font: 1.5rem system-ui, sans-serif; margin: 2rem\">{status}</h1></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: Message<'_>) -> String {
        let mut out = Vec::new();
        message.write(&mut out, &HttpDate::at(784_111_777).expect("it has a text"));
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn a_value_never_ends_its_line() {
        let mut out = Vec::new();
        let mut head = ResponseHead::begin(&mut out, Status::SEE_OTHER);
        head.field("Location", b"/\r\nSet-Cookie: a\0b").number("Retry-After", u64::MAX);
        head.end();
        let text = String::from_utf8_lossy(&out);
        assert_eq!(
            text,
            "HTTP/1.1 303 See Other\r\nLocation: /  Set-Cookie: a b\r\nRetry-After: 18446744073709551615\r\n\r\n"
        );
    }

    #[test]
    fn a_message_tells_its_length() {
        let text = written(Message::new(Status::NOT_FOUND));
        let (head, page) = text.split_once("\r\n\r\n").expect("it has a head");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", page.len())), "{head}");
        assert!(head.contains("\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{head}");
        assert!(head.ends_with("\r\nConnection: close"), "{head}");
        assert!(page.contains("404 Not Found"), "{page}");
    }

    #[test]
    fn an_answer_to_head_has_the_same_head() {
        let message = Message { close: false, ..Message::new(Status::NOT_FOUND) };
        let (full, head) = (written(message), written(Message { head_only: true, ..message }));
        assert!(head.ends_with("\r\n\r\n") && full.starts_with(&head) && full.len() > head.len());
        assert!(!head.contains("Connection"));
    }

    #[test]
    fn what_has_no_content_has_no_length() {
        for status in [Status::NO_CONTENT, Status::NOT_MODIFIED] {
            let text = written(Message::new(status));
            assert!(text.ends_with("\r\n\r\n") && !text.contains("Content-"), "{text}");
        }
    }
}
