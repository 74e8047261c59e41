//! However a stream of requests is cut into pieces, it is read as the same requests with the same bodies.

use file_server::http::chunked::{ChunkedDecoder, Piece};
use file_server::http::framing::Body;
use file_server::http::request::{Request, RequestLimits, parse};
use proptest::prelude::*;

/// What a connection reads: each request as it is shown, and its body; and what ended it.
#[derive(Debug, Default, PartialEq)]
struct Reading {
    requests: Vec<(String, Vec<u8>)>,
    refused: Option<String>,
}

/// Reads as a server does: bytes come in pieces, and what is not used yet waits.
#[derive(Default)]
struct Reader {
    waiting: Vec<u8>,
    body: Option<Remaining>,
    reading: Reading,
}

enum Remaining {
    Length(u64),
    Chunks(ChunkedDecoder),
}

impl Reader {
    fn receive(&mut self, piece: &[u8]) {
        self.waiting.extend_from_slice(piece);
        while self.reading.refused.is_none() && self.advance() {}
    }

    /// Whether there may be more to read.
    fn advance(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.waiting);
        let (used, more) = match self.body.take() {
            None => self.read_head(&bytes),
            Some(Remaining::Length(length)) => self.read_counted(&bytes, length),
            Some(Remaining::Chunks(decoder)) => self.read_chunks(&bytes, decoder),
        };
        self.waiting = bytes[used..].to_vec();
        more
    }

    fn read_head(&mut self, bytes: &[u8]) -> (usize, bool) {
        match parse(bytes, &LIMITS) {
            Ok(None) => (0, false),
            Ok(Some(request)) => {
                self.body = match request.body {
                    Body::None => None,
                    Body::Length(length) => Some(Remaining::Length(length)),
                    Body::Chunked => Some(Remaining::Chunks(ChunkedDecoder::new())),
                };
                self.reading.requests.push((shown(&request), Vec::new()));
                (request.head_len, true)
            }
            Err(status) => {
                self.reading.refused = Some(status.to_string());
                (0, false)
            }
        }
    }

    fn read_counted(&mut self, bytes: &[u8], length: u64) -> (usize, bool) {
        let there = bytes.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        self.take(&bytes[..there]);
        let left = length - there as u64;
        if left > 0 {
            self.body = Some(Remaining::Length(left));
        }
        (there, left == 0)
    }

    fn read_chunks(&mut self, bytes: &[u8], mut decoder: ChunkedDecoder) -> (usize, bool) {
        let mut rest = bytes;
        loop {
            match decoder.next(&mut rest) {
                Ok(Piece::Data(data)) => self.take(data),
                Ok(Piece::More) => {
                    self.body = Some(Remaining::Chunks(decoder));
                    return (bytes.len(), false);
                }
                Ok(Piece::End) => return (bytes.len() - rest.len(), true),
                Err(error) => {
                    self.reading.refused = Some(error.to_string());
                    return (bytes.len(), false);
                }
            }
        }
    }

    fn take(&mut self, data: &[u8]) {
        self.reading.requests.last_mut().expect("a body follows a head").1.extend_from_slice(data);
    }
}

/// All of it, but for where it lies in memory.
fn shown(request: &Request<'_>) -> String {
    format!("{request:?}")
}

const LIMITS: RequestLimits = RequestLimits { line: 60, head: 240, fields: 6 };

/// Lines that make up heads, right and wrong ones.
fn line() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "Host: a\r\n",
            "Host: a\r\n",
            "Host: a\r\n",
            "Host: b\r\nHost: c\r\n",
            "Connection: close\r\n",
            "X: y\r\n",
            "Accept: a\r\n",
            "Accept:\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: 12\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Range: bytes=0-1\r\n",
            "Transfer-Encoding: gzip\r\n",
            "X: a\rb\r\n",
            " folded\r\n",
            "X : y\r\n",
            "Expect: 100-continue\r\n",
            "X: y\n",
            "Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        ][..],
    )
}

fn request_line() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "GET / HTTP/1.1\r\n",
            "GET /a%20b?c HTTP/1.1\r\n",
            "PUT /a HTTP/1.1\r\n",
            "PUT /a HTTP/1.1\r\n",
            "GET / HTTP/1.0\r\n",
            "\r\n\r\nHEAD /a HTTP/1.1\r\n",
            "OPTIONS * HTTP/1.1\r\n",
            "GET http://a/b HTTP/1.1\r\n",
            "PUT /a HTTP/1.2\r\n",
            "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.3\r\n",
            "GET / HTTP/1.20\r\n",
            "GET / HTTP/2.0\r\n",
            "GET /\r\n",
            "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n",
        ][..],
    )
}

fn body() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "",
            "",
            "hello",
            "5\r\nhello\r\n0\r\n\r\n",
            "3;a\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n",
            "0\r\n\r\n",
            "x\r\n",
        ][..],
    )
}

/// A stream of requests of which most are right, so that what follows is read too.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let request = prop_oneof![
        4 => prop::sample::select(&[
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n5\r\nhello\r\n06;x=y\r\n world\r\n0\r\nA: b\r\n\r\n",
            "\r\nHEAD /c?d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ][..]).prop_map(str::to_owned),
        1 => (request_line(), prop::collection::vec(line(), 0..6), body())
            .prop_map(|(first, lines, body)| format!("{first}{}\r\n{body}", lines.concat())),
    ];
    prop::collection::vec(request, 1..6).prop_map(|requests| requests.concat().into_bytes())
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let mut reader = Reader::default();
    pieces.into_iter().for_each(|piece| reader.receive(piece));
    reader.reading
}

proptest! {
    #[test]
    fn any_split_is_read_as_the_same_requests(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = read([&stream[..]]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        prop_assert_eq!(&read(pieces), &whole);
        prop_assert_eq!(&read(stream.chunks(1)), &whole);
    }

    #[test]
    fn a_body_that_was_put_into_chunks_is_the_same_again(
        chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), "(;[a-z]{1,9}(=\"[ -!#-~]{0,9}\")?)?"), 0..8),
        trailers in "([A-Z-]{1,9}: [ -~]{0,9}\r\n){0,3}",
        piece in 1..50usize,
    ) {
        let body: Vec<u8> = chunks.iter().flat_map(|(data, _)| data.clone()).collect();
        let mut stream = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for (data, extension) in &chunks {
            stream.extend(format!("{:x}{extension}\r\n", data.len()).into_bytes());
            stream.extend(data);
            stream.extend(b"\r\n");
        }
        stream.extend(format!("0\r\n{trailers}\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes());
        let reading = read(stream.chunks(piece));
        prop_assert_eq!(reading.refused, None);
        prop_assert_eq!(reading.requests.len(), 2);
        prop_assert_eq!(&reading.requests[0].1, &body);
    }
}
