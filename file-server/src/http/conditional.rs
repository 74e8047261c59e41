//! Conditional requests: whether a method is carried out, by the precedence of RFC 9110, section 13.2.2.

use super::date;
use super::etag::{Comparison, ListMatch, Tag, list_matches};
use super::field::Field;
use super::request::Request;

/// What a conditional request compares with: the state of the file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validators<'a> {
    /// Its strong entity tag, quotes included.
    pub etag: &'a [u8],
    /// When it was modified, in seconds since 1970, as Last-Modified tells it.
    pub modified: i64,
}

/// What is to be done with a conditional request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The method is carried out.
    Proceed,
    /// The answer is 304 Not Modified.
    NotModified,
    /// The answer is 412 Precondition Failed, and nothing is changed.
    PreconditionFailed,
}

/// Evaluates If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since. `current` is `None` if there is no file.
///
/// They are only evaluated when the answer without them would be a success (RFC 9110, section 13.2.1). A list of tags
/// that is malformed matches no file: GET and HEAD are answered in full, and other methods are not carried out. A date
/// that is malformed is ignored.
///
/// ```
/// use file_server::http::conditional::{Outcome, Validators, evaluate};
/// use file_server::http::request::{RequestLimits, parse};
///
/// let request = parse(b"GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: W/\"1\"\r\n\r\n", &RequestLimits::default());
/// let current = Validators { etag: b"\"1\"", modified: 0 };
/// assert_eq!(evaluate(&request.unwrap().unwrap(), Some(current)), Outcome::NotModified);
/// ```
#[must_use]
pub fn evaluate(request: &Request<'_>, current: Option<Validators<'_>>) -> Outcome {
    if !request.is_conditional() {
        return Outcome::Proceed;
    }
    if !may_act(request, current) {
        return Outcome::PreconditionFailed;
    }
    match has_news(request, current) {
        true => Outcome::Proceed,
        false if request.method.is_retrieval() => Outcome::NotModified,
        false => Outcome::PreconditionFailed,
    }
}

/// If-Match, and without it If-Unmodified-Since: is it still the file that the client knows?
fn may_act(request: &Request<'_>, current: Option<Validators<'_>>) -> bool {
    if let Some(tags) = request.field(Field::IfMatch) {
        return current.is_some_and(|file| list_matches(tags, file.etag, Comparison::Strong) == ListMatch::Matches);
    }
    match (request.field(Field::IfUnmodifiedSince).and_then(date::parse), current) {
        (Some(time), Some(file)) => file.modified <= time,
        // What is not there has no date, so the field is ignored.
        _ => true,
    }
}

/// If-None-Match, and without it If-Modified-Since: is it another file than the client has?
fn has_news(request: &Request<'_>, current: Option<Validators<'_>>) -> bool {
    if let Some(tags) = request.field(Field::IfNoneMatch) {
        let Some(file) = current else { return true };
        return match list_matches(tags, file.etag, Comparison::Weak) {
            ListMatch::Matches => false,
            ListMatch::Differs => true,
            ListMatch::Malformed => request.method.is_retrieval(),
        };
    }
    if !request.method.is_retrieval() {
        return true;
    }
    match (request.field(Field::IfModifiedSince).and_then(date::parse), current) {
        (Some(time), Some(file)) => file.modified > time,
        _ => true,
    }
}

/// Whether Range counts: If-Range is absent, or names this very state of the file. `now` is in seconds since 1970.
///
/// A date is only as good as a strong tag when the second it names is over (RFC 9110, sections 8.8.2.2 and 13.1.5).
///
/// ```
/// use file_server::http::conditional::{Validators, range_counts};
///
/// let current = Validators { etag: b"\"1\"", modified: 784_111_777 };
/// assert!(range_counts(None, current, 784_111_777));
/// assert!(range_counts(Some(b"\"1\""), current, 784_111_777));
/// assert!(!range_counts(Some(b"W/\"1\""), current, 784_111_777));
/// assert!(range_counts(Some(b"Sun, 06 Nov 1994 08:49:37 GMT"), current, 784_111_779));
/// assert!(!range_counts(Some(b"Sun, 06 Nov 1994 08:49:37 GMT"), current, 784_111_777));
/// ```
#[must_use]
pub fn range_counts(if_range: Option<&[u8]>, current: Validators<'_>, now: i64) -> bool {
    let Some(value) = if_range else { return true };
    match Tag::split(value) {
        Some((tag, rest)) => rest.is_empty() && tag.matches(current.etag, Comparison::Strong),
        None => date::parse(value) == Some(current.modified) && current.modified < now.saturating_sub(1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

    use super::*;
    use crate::http::request::{RequestLimits, parse};

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const CURRENT: Validators<'_> = Validators { etag: b"\"1\"", modified: 784_111_777 };

    fn outcome(method: &str, fields: &str, current: Option<Validators<'_>>) -> Outcome {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", fields.replace('|', "\r\n"));
        evaluate(&parse(head.as_bytes(), &RequestLimits::default()).unwrap().unwrap(), current)
    }

    #[test]
    fn each_field_by_itself() {
        for (fields, get, put, absent) in [
            ("If-Match: \"1\"", 200, 200, 412),
            ("If-Match: *", 200, 200, 412),
            ("If-Match: W/\"1\"", 412, 412, 412),
            ("If-Match: \"2\"", 412, 412, 412),
            ("If-Match: 1", 412, 412, 412),
            ("If-None-Match: \"1\"", 304, 412, 200),
            ("If-None-Match: W/\"1\"", 304, 412, 200),
            ("If-None-Match: *", 304, 412, 200),
            ("If-None-Match: \"2\"", 200, 200, 200),
            ("If-None-Match: 1", 200, 412, 200),
            (&format!("If-Modified-Since: {AT}"), 304, 200, 200),
            (&format!("If-Modified-Since: {BEFORE}"), 200, 200, 200),
            ("If-Modified-Since: never", 200, 200, 200),
            (&format!("If-Unmodified-Since: {AT}"), 200, 200, 200),
            (&format!("If-Unmodified-Since: {BEFORE}"), 412, 412, 200),
            ("If-Unmodified-Since: never", 200, 200, 200),
        ] {
            let told = |method, current| match outcome(method, fields, current) {
                Outcome::Proceed => 200,
                Outcome::NotModified => 304,
                Outcome::PreconditionFailed => 412,
            };
            assert_eq!((told("GET", Some(CURRENT)), told("PUT", Some(CURRENT))), (get, put), "{fields}");
            assert_eq!(told("HEAD", Some(CURRENT)), get, "{fields}");
            assert_eq!((told("GET", None), told("PUT", None)), (absent, absent), "{fields}");
        }
    }

    #[test]
    fn tags_come_before_dates() {
        let both = format!("If-Match: \"1\"|If-Unmodified-Since: {BEFORE}");
        assert_eq!(outcome("GET", &both, Some(CURRENT)), Outcome::Proceed);
        let both = format!("If-None-Match: \"2\"|If-Modified-Since: {AT}");
        assert_eq!(outcome("GET", &both, Some(CURRENT)), Outcome::Proceed);
        let both = format!("If-None-Match: \"1\"|If-Modified-Since: {BEFORE}");
        assert_eq!(outcome("GET", &both, Some(CURRENT)), Outcome::NotModified);
    }

    #[test]
    fn whether_to_act_comes_before_whether_there_is_news() {
        let both = "If-None-Match: \"1\"|If-Match: \"2\"";
        assert_eq!(outcome("GET", both, Some(CURRENT)), Outcome::PreconditionFailed);
        let both = "If-None-Match: \"1\"|If-Match: \"1\"";
        assert_eq!(outcome("GET", both, Some(CURRENT)), Outcome::NotModified);
    }

    #[test]
    fn a_list_may_be_several_fields() {
        assert_eq!(outcome("GET", "If-None-Match: \"2\"|If-None-Match: \"1\"", Some(CURRENT)), Outcome::NotModified);
        assert_eq!(outcome("PUT", "If-Match: \"2\"|If-Match: \"1\"", Some(CURRENT)), Outcome::Proceed);
    }

    #[test]
    fn a_range_counts_for_the_very_same_file_only() {
        let counts = |value: &str| range_counts(Some(value.as_bytes()), CURRENT, CURRENT.modified + 2);
        assert!(counts("\"1\"") && counts(AT));
        for value in ["\"2\"", "W/\"1\"", "\"1\", \"1\"", "*", "1", "", BEFORE, "Sun, 06 Nov 1994 08:49:38 GMT"] {
            assert!(!counts(value), "{value}");
        }
        assert!(!range_counts(Some(AT.as_bytes()), CURRENT, CURRENT.modified + 1));
    }
}
