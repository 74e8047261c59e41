//! One line of the access log: what the request was, written when it is answered, and how it ended, added when that is known.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::Serialize;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Common Log Format: `host - user [time] "request" status bytes`.
    Common,
    /// The same, with Referer and User-Agent behind it.
    Combined,
    /// A JSON object a line.
    Json,
}

/// What a line tells of a request.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When it came.
    pub time: SystemTime,
    /// The client's address, without its port.
    pub client: &'a str,
    /// The service that it asked: `http` or `struct`.
    pub protocol: &'a str,
    /// Who the client has shown to be.
    pub user: Option<&'a [u8]>,
    /// The method as sent; `None` if what came is no request.
    pub method: Option<&'a str>,
    /// The target as sent, or the first line of what is no request.
    pub target: &'a [u8],
    /// The version of the protocol.
    pub version: &'a str,
    /// The status of the answer; 499 if there is none.
    pub status: u16,
    /// Where the client says that it comes from.
    pub referer: Option<&'a [u8]>,
    /// What the client says that it is.
    pub user_agent: Option<&'a [u8]>,
    /// What went wrong, if no answer tells the client.
    pub error: Option<&'a str>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Bytes of content that the kernel has taken.
    pub bytes: u64,
    /// From the whole head of the request to the last byte of the answer.
    pub took: Duration,
    /// Whether all of the answer was sent.
    pub complete: bool,
}

/// The status of a request whose client was gone before there was an answer, or before it had all of it.
pub(crate) const UNANSWERED: u16 = 499;

/// A line that has yet to tell how it ended.
#[derive(Debug)]
pub struct Line {
    format: Format,
    status: u16,
    text: Vec<u8>,
    /// Where in the text its end goes.
    end_at: usize,
}

/// The order of an object's members, but for those of its end.
#[derive(Serialize)]
struct Members<'a> {
    time: &'a str,
    client: &'a str,
    protocol: &'a str,
    user: Option<Cow<'a, str>>,
    method: Option<&'a str>,
    target: Cow<'a, str>,
    version: &'a str,
    referer: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    status: u16,
}

impl Default for Record<'_> {
    fn default() -> Self {
        Self {
            time: SystemTime::UNIX_EPOCH,
            client: "-",
            protocol: "http",
            user: None,
            method: None,
            target: b"-",
            version: "-",
            status: UNANSWERED,
            referer: None,
            user_agent: None,
            error: None,
        }
    }
}

impl Line {
    pub(super) fn new(format: Format, zone: &TimeZone, record: &Record<'_>) -> Self {
        let mut text = Vec::with_capacity(USUAL);
        if format == Format::Json {
            write_members(&mut text, zone, record);
            let end_at = text.len();
            return Self { format, status: record.status, text, end_at };
        }
        write_common(&mut text, zone, record);
        let end_at = text.len();
        if format == Format::Combined {
            for field in [record.referer, record.user_agent] {
                text.extend_from_slice(b" \"");
                write_escaped(&mut text, field.unwrap_or(b"-"));
                text.push(b'"');
            }
        }
        Self { format, status: record.status, text, end_at }
    }

    /// How many bytes it holds.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, end: End) {
        let (before, behind) = self.text.split_at(self.end_at);
        out.extend_from_slice(before);
        let End { bytes, took, complete } = end;
        // Memory takes all that is written to it.
        let _ = match self.format {
            Format::Json => {
                let seconds = took.as_secs_f64();
                write!(out, ",\"bytes\":{bytes},\"seconds\":{seconds:.6},\"complete\":{complete}}}")
            }
            _ if !complete => write!(out, "{UNANSWERED} {}", OrDash(bytes)),
            _ => write!(out, "{} {}", self.status, OrDash(bytes)),
        };
        out.extend_from_slice(behind);
        out.push(b'\n');
    }
}

/// No bytes are a dash, as Apache writes `%b`.
struct OrDash(u64);

impl std::fmt::Display for OrDash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 { f.write_str("-") } else { self.0.fmt(f) }
    }
}

fn write_members(text: &mut Vec<u8>, zone: &TimeZone, record: &Record<'_>) {
    let time = STAMP.with_borrow_mut(|stamp| stamp.at(record.time, zone).rfc3339());
    let members = Members {
        time: &time,
        client: record.client,
        protocol: record.protocol,
        user: record.user.map(String::from_utf8_lossy),
        method: record.method,
        target: String::from_utf8_lossy(record.target),
        version: record.version,
        referer: record.referer.map(String::from_utf8_lossy),
        user_agent: record.user_agent.map(String::from_utf8_lossy),
        error: record.error,
        status: record.status,
    };
    // Memory takes all that is written to it, and these are all text and numbers.
    let _ = serde_json::to_writer(&mut *text, &members);
    // The object is still open: its end follows.
    text.pop();
}

fn write_common(text: &mut Vec<u8>, zone: &TimeZone, record: &Record<'_>) {
    text.extend_from_slice(record.client.as_bytes());
    text.extend_from_slice(b" - ");
    match record.user {
        None => text.push(b'-'),
        Some(b"") => text.extend_from_slice(b"\"\""),
        Some(user) => write_escaped(text, user),
    }
    text.extend_from_slice(b" [");
    STAMP.with_borrow_mut(|stamp| text.extend_from_slice(stamp.at(record.time, zone).common.as_bytes()));
    text.extend_from_slice(b"] \"");
    if let Some(method) = record.method {
        write_escaped(text, method.as_bytes());
        text.push(b' ');
    }
    write_escaped(text, record.target);
    if record.method.is_some() {
        text.push(b' ');
        text.extend_from_slice(record.version.as_bytes());
    }
    text.extend_from_slice(b"\" ");
}

/// Writes what a client has sent as Apache does: nothing of it ends the field or the line, and no terminal obeys it.
fn write_escaped(text: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => text.push(byte),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            // Memory takes all that is written to it.
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
}

thread_local! {
    static STAMP: RefCell<Stamp> = RefCell::default();
}

/// The texts of one second, for there are many requests in it.
#[derive(Default)]
struct Stamp {
    second: Option<i64>,
    /// `10/Oct/2000:13:55:36 -0700`
    common: String,
    /// `2000-10-10T13:55:36` and `-07:00`, with room for milliseconds between them.
    iso: (String, String),
    millis: u32,
}

impl Stamp {
    fn at(&mut self, time: SystemTime, zone: &TimeZone) -> &Self {
        let time = Timestamp::try_from(time).unwrap_or_default();
        self.millis = time.subsec_nanosecond().unsigned_abs() / 1_000_000;
        if self.second != Some(time.as_second()) {
            self.second = Some(time.as_second());
            let time: Zoned = time.to_zoned(zone.clone());
            self.common = time.strftime("%d/%b/%Y:%H:%M:%S %z").to_string();
            self.iso = (time.strftime("%Y-%m-%dT%H:%M:%S").to_string(), time.strftime("%:z").to_string());
        }
        self
    }

    fn rfc3339(&self) -> String {
        format!("{}.{:03}{}", self.iso.0, self.millis, self.iso.1)
    }
}

/// Bytes of a line of the usual kind.
const USUAL: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> Record<'static> {
        Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(971_211_336_042),
            client: "127.0.0.1",
            method: Some("GET"),
            target: b"/a\"b\x1b\n\xff",
            version: "HTTP/1.1",
            status: 200,
            user_agent: Some(b"curl/8"),
            ..Record::default()
        }
    }

    fn written(format: Format, record: &Record<'_>, end: End) -> String {
        let zone = TimeZone::fixed(jiff::tz::offset(-7));
        let mut out = Vec::new();
        Line::new(format, &zone, record).write(&mut out, end);
        String::from_utf8(out).unwrap()
    }

    const WHOLE: End = End { bytes: 5, took: Duration::from_millis(2), complete: true };
    const BROKEN: End = End { bytes: 0, took: Duration::from_millis(2), complete: false };

    #[test]
    fn lines_are_those_of_apache() {
        let common = r#"127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a\"b\x1b\n\xff HTTP/1.1" 200 5"#;
        assert_eq!(written(Format::Common, &record(), WHOLE), format!("{common}\n"));
        assert_eq!(written(Format::Combined, &record(), WHOLE), format!("{common} \"-\" \"curl/8\"\n"));
        let of_user = Record { user: Some(b"ann"), target: b"/", ..record() };
        let line = "127.0.0.1 - ann [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.1\" 499 -\n";
        assert_eq!(written(Format::Common, &of_user, BROKEN), line);
        let no_request = Record { method: None, target: b"\x16\x03\x01", status: 400, ..record() };
        let line = written(Format::Common, &no_request, WHOLE);
        assert!(line.ends_with("] \"\\x16\\x03\\x01\" 400 5\n"), "{line}");
    }

    #[test]
    fn objects_tell_the_same_and_more() {
        let line: serde_json::Value = serde_json::from_str(&written(Format::Json, &record(), BROKEN)).unwrap();
        assert_eq!(line["time"], "2000-10-10T13:55:36.042-07:00");
        assert_eq!((&line["target"], &line["user"]), (&"/a\"b\x1b\n\u{fffd}".into(), &serde_json::Value::Null));
        assert_eq!((line["status"].as_u64(), line["bytes"].as_u64()), (Some(200), Some(0)));
        assert_eq!((line["seconds"].as_f64(), line["complete"].as_bool()), (Some(0.002), Some(false)));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_there_is_one_line_that_can_be_read(
            target: Vec<u8>, user in proptest::option::of(any::<Vec<u8>>()), agent: Vec<u8>, method in ".{0,8}",
        ) {
            let record = Record {
                target: &target,
                user: user.as_deref(),
                user_agent: Some(&agent),
                referer: Some(&target),
                method: Some(&method),
                ..record()
            };
            let json = written(Format::Json, &record, WHOLE);
            prop_assert_eq!(json.matches('\n').count(), 1);
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(json["user_agent"].as_str().unwrap(), String::from_utf8_lossy(&agent));
            let line = written(Format::Combined, &record, WHOLE);
            let text = line.strip_suffix('\n').unwrap();
            prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{}", text);
            // Request, Referer and User-Agent have two quotes each; all others are escaped.
            let bare = text.replace("\\\\", "").replace("\\\"", "");
            let empty_user = usize::from(user.as_deref() == Some(b""));
            prop_assert_eq!(bare.matches('"').count(), 6 + 2 * empty_user);
        }
    }
}
