//! The real handler finds its connection as if it had been there from the start: opened, told of a drain, rid of foreign timers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use program::entrance::Entrance;
use program::proxy_header::ProxyTerms;
use program::proxy_refusals::ProxyRefusals;
use program::sharing::HowToShare;
use program_testing::process::{DEADLINE, eventually, expect_end};
use program_testing::proxy_header::text;
use reactor::{
    CloseReason, Context, Handler, Input, ListenOptions, LoopContext, Result, Server, SocketAddress, TimerId,
};

const CLIENT: &str = "192.0.2.7:40000";

/// Tells all that happens to it.
struct Told {
    client: SocketAddress,
    log: Sender<String>,
    /// What becomes of it as it opens.
    fate: Fate,
    timer: Option<TimerId>,
}

#[derive(Clone, Copy)]
enum Fate {
    Stays,
    Fails,
    WaitsFor(Duration),
}

impl Told {
    fn tell(&self, what: impl Into<String>) {
        let _ = self.log.send(what.into());
    }
}

impl Handler for Told {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        self.tell(format!("open {:?}", self.client.to_string()));
        match self.fate {
            Fate::Stays => Ok(()),
            Fate::Fails => Err(io::Error::other("it fails")),
            Fate::WaitsFor(time) => {
                self.timer = Some(cx.set_timer(time)?);
                Ok(())
            }
        }
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        self.tell(format!("data {:?}", String::from_utf8_lossy(input.take())));
        Ok(())
    }

    fn on_timer(&mut self, _: &mut Context<'_>, timer: TimerId) -> Result {
        self.tell(format!("timer {}", self.timer == Some(timer)));
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>, _: Instant) -> Result {
        self.tell("shutdown");
        cx.finish()
    }

    fn on_close(&mut self, _: &mut Context<'_>, reason: &CloseReason) {
        self.tell(format!("close {reason}"));
    }
}

/// A server of one loop, and what its handlers tell.
fn serve(fate: Fate, timeout: Duration) -> (Server, Receiver<String>) {
    serve_counting(fate, timeout, &Arc::default())
}

fn serve_counting(fate: Fate, timeout: Duration, refusals: &Arc<ProxyRefusals>) -> (Server, Receiver<String>) {
    let (log, told) = mpsc::channel();
    let terms = ProxyTerms { timeout, refusals: Arc::clone(refusals) };
    let entrance =
        Entrance { options: ListenOptions::default(), sharing: HowToShare::Exclusive, proxy_header: Some(terms) };
    let make = move |client: &SocketAddress| Told { client: client.clone(), log: log.clone(), fate, timer: None };
    let builder = Server::builder().threads(1);
    let builder = entrance.listen(builder, "127.0.0.1:0".parse().unwrap(), make).unwrap();
    (builder.start().unwrap(), told)
}

fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.local_addresses()[0].as_inet().unwrap()).unwrap()
}

fn header_and(rest: &str) -> Vec<u8> {
    (text(CLIENT.parse().unwrap(), "198.51.100.1:80".parse().unwrap()) + rest).into_bytes()
}

/// Does something while the loop stands still.
fn hold_up<R>(server: &Server, meanwhile: impl FnOnce() -> R) -> R {
    let (held, is_held) = mpsc::channel();
    let (release, is_released) = mpsc::channel::<()>();
    let hold = move |_: &mut LoopContext<'_>| {
        held.send(()).unwrap();
        let _ = is_released.recv_timeout(DEADLINE);
    };
    server.handle().loops()[0].execute(hold).unwrap();
    is_held.recv_timeout(DEADLINE).unwrap();
    let result = meanwhile();
    drop(release);
    result
}

/// Wants these to be told next.
#[track_caller]
fn expect(told: &Receiver<String>, wanted: &[&str]) {
    for wanted in wanted {
        assert_eq!(told.recv_timeout(DEADLINE).unwrap(), *wanted);
    }
}

const OPEN: &str = "open \"192.0.2.7:40000\"";

#[test]
fn it_is_opened_once_and_shown_what_follows_the_header() {
    let (server, told) = serve(Fate::Stays, DEADLINE);
    let mut client = connect(&server);
    client.write_all(&header_and("rest")).unwrap();
    expect(&told, &[OPEN, "data \"rest\""]);
    client.write_all(b"more").unwrap();
    expect(&told, &["data \"more\""]);
    drop(client);
    expect(&told, &["close the peer closed"]);
}

#[test]
fn one_that_fails_as_it_opens_is_told_of_the_close() {
    let (server, told) = serve(Fate::Fails, DEADLINE);
    let mut client = connect(&server);
    client.write_all(&header_and("rest")).unwrap();
    expect(&told, &[OPEN]);
    assert!(told.recv_timeout(DEADLINE).unwrap().starts_with("close "));
    drop(server);
    assert_eq!(told.try_iter().count(), 0);
}

#[test]
fn the_time_of_the_header_is_not_held_against_it() {
    let (server, told) = serve(Fate::WaitsFor(Duration::from_millis(200)), Duration::from_millis(100));
    // The header is there when the connection is accepted.
    let _client = hold_up(&server, || {
        let mut client = connect(&server);
        client.write_all(&header_and("")).unwrap();
        client
    });
    expect(&told, &[OPEN, "timer true"]);
}

#[test]
fn a_drain_that_came_before_it_is_told_to_it() {
    let (server, told) = serve(Fate::Stays, DEADLINE);
    let mut client = connect(&server);
    client.write_all(b"PROXY").unwrap();
    let mut sender = client.try_clone().unwrap();
    hold_up(&server, || {
        // In one turn, behind its events, the bytes come and then the drain.
        let handle = server.handle();
        handle.loops()[0].execute(move |_| sender.write_all(&header_and("rest")[5..]).unwrap()).unwrap();
        handle.loops()[0].shutdown(DEADLINE).unwrap();
    });
    expect(&told, &[OPEN, "shutdown", "data \"rest\"", "close shut down"]);
    drop(client);
    assert_eq!(server.wait().unwrap().cut, 0);
}

#[test]
fn who_is_refused_is_counted_by_why() {
    let refusals = Arc::default();
    let (server, told) = serve_counting(Fate::Stays, DEADLINE, &refusals);
    let too_long = format!("PROXY UNKNOWN {}", "x".repeat(107 - 14));
    for bytes in ["hello", "hello", too_long.as_str(), "PROXY TCP4\r\n", "PROXY TCP4", ""] {
        let mut client = connect(&server);
        client.write_all(bytes.as_bytes()).unwrap();
        // It may be closed by now.
        let _ = client.shutdown(Shutdown::Write);
        expect_end(&mut client);
    }
    let named =
        |refusals: &ProxyRefusals| refusals.counts().map(|(why, count)| (why.name(), count)).collect::<Vec<_>>();
    assert_eq!(named(&refusals), [("missing", 2), ("too_long", 1), ("malformed", 1), ("ended", 2), ("late", 0)]);
    // Who is served is not one of them, and neither is who is still silent in a drain.
    let mut client = connect(&server);
    client.write_all(&header_and("rest")).unwrap();
    expect(&told, &[OPEN, "data \"rest\""]);
    let _silent = connect(&server);
    eventually("both are there", || server.handle().metrics().open == 2);
    server.handle().shutdown(DEADLINE).unwrap();
    drop(client);
    assert_eq!((server.wait().unwrap().cut, refusals.total()), (0, 6));

    let (server, _told) = serve_counting(Fate::Stays, Duration::from_millis(50), &refusals);
    expect_end(&mut connect(&server));
    assert_eq!(named(&refusals)[4], ("late", 1));
}
