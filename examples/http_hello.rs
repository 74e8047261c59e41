//! A small HTTP server on `httparse`: keep-alive, pipelining, and bounds.
//!
//! The trap: a request is not what one `recv` brings. Browsers send the head in pieces, load generators send ten requests in one, and a
//! server that answers once a read leaves nine clients waiting, or sends ten answers in ten packets. A head that never ends grows a
//! buffer for ever. Here whole requests are taken off the front of the input, for as long as there are any; the rest stays and is
//! shown again; the answers of one callback leave in one call; and a head of more than 8 KiB is refused.
//!
//! The reactor has no HTTP in it, which is the point: any parser of bytes will do.
//!
//! Try:
//!
//!     cargo run -p examples --example http_hello
//!     curl -v http://127.0.0.1:7777/ http://127.0.0.1:7777/again
//!
//! `curl` shows `hello` twice, and says that it uses the connection again. A browser shows it too.

#![forbid(unsafe_code)]

use std::time::Duration;

use clap::Parser;
use httparse::{EMPTY_HEADER, Header, Request, Status};
use reactor::{Context, Handler, Input, ListenOptions, Result, Server, Sharing};

/// Says hello by HTTP.
#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(default_value = "127.0.0.1:7777")]
    address: String,
}

struct Http;

impl Handler for Http {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        while !input.is_empty() {
            let mut headers = [EMPTY_HEADER; MOST_HEADERS];
            let mut request = Request::new(&mut headers);
            let answer = match request.parse(input.as_slice()) {
                Ok(Status::Complete(length)) => {
                    input.consume(length);
                    answer_to(&request)
                }
                Ok(Status::Partial) if input.len() <= LONGEST_HEAD => return Ok(()),
                Ok(Status::Partial) => Answer::refusing("431 Request Header Fields Too Large"),
                Err(_) => Answer::refusing("400 Bad Request"),
            };
            cx.send(answer.text())?;
            if !answer.keep_alive {
                return cx.close_after_flush();
            }
        }
        Ok(())
    }
}

struct Answer {
    status: &'static str,
    body: &'static str,
    /// `HEAD` is answered with everything but the body.
    head_only: bool,
    keep_alive: bool,
}

impl Answer {
    fn refusing(status: &'static str) -> Self {
        Self { status, body: "", head_only: false, keep_alive: false }
    }

    fn text(&self) -> String {
        let Self { status, body, head_only, keep_alive } = self;
        let connection = if *keep_alive { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: text/plain\r\nConnection: {connection}\r\n\r\n",
            body.len()
        );
        if *head_only { head } else { head + body }
    }
}

fn answer_to(request: &Request<'_, '_>) -> Answer {
    let version = request.version.unwrap_or_default();
    if version == 1 && header(request, "host").is_none() {
        return Answer::refusing("400 Bad Request");
    }
    // What follows a head with one of these is a body; taking it for the next request is how requests are smuggled.
    let tells_of_body = |header: &Header<'_>| match header.name.to_ascii_lowercase().as_str() {
        "transfer-encoding" => true,
        "content-length" => header.value != b"0",
        _ => false,
    };
    if request.headers.iter().any(tells_of_body) {
        return Answer::refusing("501 Not Implemented");
    }
    let wish = header(request, "connection").unwrap_or_default().to_ascii_lowercase();
    let wishes = |word: &str| wish.split(|byte| *byte == b',').any(|part| part.trim_ascii() == word.as_bytes());
    let keep_alive = if version == 1 { !wishes("close") } else { wishes("keep-alive") };
    match request.method {
        Some("GET") => Answer { status: "200 OK", body: "hello\n", head_only: false, keep_alive },
        Some("HEAD") => Answer { status: "200 OK", body: "hello\n", head_only: true, keep_alive },
        _ => Answer { status: "501 Not Implemented", body: "", head_only: false, keep_alive },
    }
}

fn header<'a>(request: &Request<'_, 'a>, name: &str) -> Option<&'a [u8]> {
    request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn main() -> Result {
    let options = Options::parse();
    // Who opens a connection and says nothing, or half a head, has half a minute.
    let listen_options = ListenOptions::default().idle_timeout(Duration::from_secs(30));
    examples::serve(Server::builder().listen_with(options.address, &listen_options, Sharing::default(), |_peer| Http)?)
}

/// Bytes of a head.
const LONGEST_HEAD: usize = 8 << 10;

/// Header fields of a request; one with more is refused.
const MOST_HEADERS: usize = 64;
