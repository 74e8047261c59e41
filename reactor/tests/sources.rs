//! A descriptor of any kind can be a source: no edge is lost, it gets its turn and no more, and it is closed exactly once.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
#[path = "common/more.rs"]
mod more;

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use common::{DEADLINE, Echo, TestLoop, Transport, eventually};
use more::Script;
use reactor::{
    CloseReason, EventLoop, Interest, Limits, Progress, Readiness, Result, Source, SourceContext, SourceId, TimerId,
};

/// What a source was told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Bytes(Vec<u8>),
    Timer(TimerId),
    Shutdown,
    Close(&'static str),
    Dropped,
}

type Ready = Box<dyn FnMut(&mut SourceContext<'_>, Readiness, &Sender<Told>) -> Result<Progress> + Send>;

/// A source whose `on_ready` is a closure, and which tells the test of everything.
struct Witness {
    ready: Ready,
    told: Sender<Told>,
}

impl Source for Witness {
    fn on_ready(&mut self, cx: &mut SourceContext<'_>, readiness: Readiness) -> Result<Progress> {
        (self.ready)(cx, readiness, &self.told)
    }

    fn on_timer(&mut self, _cx: &mut SourceContext<'_>, timer: TimerId) -> Result {
        self.told.send(Told::Timer(timer)).unwrap();
        Ok(())
    }

    fn on_shutdown(&mut self, _cx: &mut SourceContext<'_>, _deadline: std::time::Instant) -> Result {
        self.told.send(Told::Shutdown).unwrap();
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut SourceContext<'_>, reason: &CloseReason) {
        let _ = self.told.send(Told::Close(reason.name()));
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.told.send(Told::Dropped);
    }
}

/// Reads a piece of at most `size` bytes; the end closes.
fn read_piece(cx: &mut SourceContext<'_>, told: &Sender<Told>, size: usize) -> Result<Progress> {
    let mut bytes = vec![0; size];
    match cx.read(&mut bytes) {
        Ok(0) => cx.close(),
        Ok(count) => {
            told.send(Told::Bytes(bytes[..count].to_vec())).unwrap();
            return Ok(Progress::More);
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(Progress::Drained)
}

fn reads(size: usize) -> Ready {
    Box::new(move |cx, _, told| read_piece(cx, told, size))
}

fn add(server: &TestLoop, ready: Ready) -> (SourceId, PipeWriter, Receiver<Told>) {
    let (reader, writer) = pipe().unwrap();
    let (id, told) = add_reader(server, reader, ready);
    (id, writer, told)
}

fn add_reader(server: &TestLoop, reader: PipeReader, ready: Ready) -> (SourceId, Receiver<Told>) {
    let (told, is_told) = mpsc::channel();
    let id = server.on_loop(move |cx| cx.add_source(reader, Interest::READ, Witness { ready, told }).unwrap());
    (id, is_told)
}

#[track_caller]
fn next(told: &Receiver<Told>) -> Told {
    told.recv_timeout(DEADLINE).expect("the source is told within the deadline")
}

/// The source is told of its close now, then dropped, and of nothing else.
#[track_caller]
fn expect_close(told: &Receiver<Told>, reason: &'static str) {
    assert_eq!([next(told), next(told)], [Told::Close(reason), Told::Dropped]);
    assert_eq!(told.recv_timeout(DEADLINE), Err(mpsc::RecvTimeoutError::Disconnected));
}

fn quiet_loop() -> TestLoop {
    TestLoop::start(Limits::default(), |_| ())
}

#[test]
fn a_source_that_stops_early_and_says_more_loses_no_byte() {
    let server = quiet_loop();
    let (_, mut writer, told) = add(&server, reads(1));
    writer.write_all(b"abcdef").unwrap();
    for byte in b"abcdef" {
        assert_eq!(next(&told), Told::Bytes(vec![*byte]));
    }
    server.assert_quiet();
    writer.write_all(b"g").unwrap();
    assert_eq!(next(&told), Told::Bytes(b"g".to_vec()));
    drop(writer);
    expect_close(&told, "closed");
}

#[test]
fn what_was_there_before_the_source_is_told_of() {
    let server = quiet_loop();
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"early").unwrap();
    let (_, told) = add_reader(&server, reader, reads(64));
    assert_eq!(next(&told), Told::Bytes(b"early".to_vec()));
}

#[test]
fn a_source_that_wanted_no_more_goes_on_when_it_is_woken() {
    let server = quiet_loop();
    let mut calls = 0;
    let (id, mut writer, told) = add(
        &server,
        Box::new(move |cx, readiness, told| {
            calls += 1;
            if calls == 1 {
                assert!(readiness.is_readable());
                told.send(Told::Bytes(b"not yet".to_vec())).unwrap();
                return Ok(Progress::Drained);
            }
            read_piece(cx, told, 64)
        }),
    );
    writer.write_all(b"hello").unwrap();
    assert_eq!(next(&told), Told::Bytes(b"not yet".to_vec()));
    server.assert_quiet();
    assert!(server.on_loop(move |cx| cx.wake_source(id)));
    assert_eq!(next(&told), Told::Bytes(b"hello".to_vec()));
}

#[test]
fn room_to_write_is_told() {
    let server = quiet_loop();
    let (mut reader, writer) = pipe().unwrap();
    let (told, is_told) = mpsc::channel();
    let mut left = 1 << 20;
    let ready: Ready = Box::new(move |cx, readiness, _| {
        assert!(readiness.is_writable());
        while left > 0 {
            match cx.write(&[7; 5000][..left.min(5000)]) {
                Ok(count) => left -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Drained),
                Err(error) => return Err(error),
            }
        }
        cx.close();
        Ok(Progress::Drained)
    });
    server.on_loop(move |cx| cx.add_source(writer, Interest::WRITE, Witness { ready, told }).map(drop).unwrap());
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, vec![7; 1 << 20]);
    expect_close(&is_told, "closed");
}

#[test]
fn a_source_may_ask_for_something_else() {
    let server = quiet_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (told, is_told) = mpsc::channel();
    let ready: Ready = Box::new(|cx, readiness, told| {
        if !readiness.is_writable() {
            cx.set_interest(Interest::BOTH)?;
            return Ok(Progress::Drained);
        }
        read_piece(cx, told, 64)
    });
    server.on_loop(move |cx| cx.add_source(ours, Interest::READ, Witness { ready, told }).map(drop).unwrap());
    // It could be written to from the start, but that was not asked for.
    server.assert_quiet();
    assert!(is_told.try_recv().is_err());
    theirs.write_all(b"both now").unwrap();
    assert_eq!(next(&is_told), Told::Bytes(b"both now".to_vec()));
}

#[test]
fn a_source_is_closed_by_its_name_and_the_name_is_stale_then() {
    let server = quiet_loop();
    let (first, writer, told) = add(&server, reads(64));
    assert_eq!(server.metrics().sources, 1);
    assert!(server.on_loop(move |cx| cx.close_source(first) && !cx.close_source(first)));
    expect_close(&told, "closed");
    server.on_loop(|_| ());
    // The pipe is closed with it.
    assert_eq!((&writer).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    let (second, _writer, told) = add(&server, reads(64));
    assert_ne!(first, second);
    assert!(!server.on_loop(move |cx| cx.close_source(first) || cx.wake_source(first)));
    assert!(!server.on_loop(move |cx| cx.with_source(first, |_: &mut Witness, _| ()).is_some()));
    assert!(server.on_loop(move |cx| cx.with_source(second, |_: &mut Witness, cx| cx.close()).is_some()));
    expect_close(&told, "closed");
    server.eventually("it has left the loop", |metrics| metrics.sources == 0);
}

#[test]
fn an_error_or_a_panic_ends_its_source_alone() {
    let server = TestLoop::serve(|| Echo);
    let (_, mut writer, failing) = add(&server, Box::new(|_, _, _| Err(std::io::Error::other("on purpose"))));
    let (_, mut other_writer, panicking) = add(&server, Box::new(|_, _, _| panic!("on purpose")));
    let (_, mut bystander_writer, bystander) = add(&server, reads(64));
    writer.write_all(b"x").unwrap();
    other_writer.write_all(b"x").unwrap();
    expect_close(&failing, "error");
    expect_close(&panicking, "panic");
    bystander_writer.write_all(b"fine").unwrap();
    assert_eq!(next(&bystander), Told::Bytes(b"fine".to_vec()));
    server.eventually("both have left the loop", |metrics| metrics.sources == 1);
    let metrics = server.metrics();
    assert_eq!((metrics.sources_failed, metrics.panics), (2, 1));
    let mut client = server.client();
    client.send("still there");
    client.expect("still there");
}

#[test]
fn a_source_that_is_always_busy_leaves_connections_and_other_sources_their_turn() {
    let server = TestLoop::serve_with(Limits::default(), Transport::Unix, || Echo);
    let (_, mut writer, _told) = add(&server, Box::new(|_, _, _| Ok(Progress::More)));
    writer.write_all(b"x").unwrap();
    let (_, mut other_writer, other) = add(&server, reads(64));
    let mut client = server.client();
    for round in 0..100_u8 {
        client.send([round]);
        client.expect([round]);
        other_writer.write_all(&[round]).unwrap();
        assert_eq!(next(&other), Told::Bytes(vec![round]));
    }
}

#[test]
fn a_regular_file_is_refused_with_a_word_on_what_to_do() {
    let mut event_loop = EventLoop::new(()).unwrap();
    let (told, is_told) = mpsc::channel();
    let source = Witness { ready: reads(64), told };
    let error = event_loop.add_source(tempfile::tempfile().unwrap(), Interest::READ, source).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("spawn_blocking"), "{error}");
    assert_eq!(event_loop.metrics().sources, 0);
    // It is dropped, and was never called.
    assert_eq!(is_told.try_iter().collect::<Vec<_>>(), [Told::Dropped]);
}

#[test]
fn a_source_whose_file_is_open_elsewhere_is_silent_once_it_is_closed() {
    let server = quiet_loop();
    let (reader, mut writer) = pipe().unwrap();
    let twin = reader.try_clone().unwrap();
    let (id, told) = add_reader(&server, reader, reads(64));
    server.on_loop(move |cx| cx.close_source(id));
    expect_close(&told, "closed");
    // The closures that a test posts may wake the loop.
    let heard = || server.on_loop(|cx| cx.handle().metrics().events - cx.handle().metrics().wakeups);
    let before = heard();
    for _ in 0..20 {
        writer.write_all(b"nobody hears it").unwrap();
        assert_eq!(heard(), before);
    }
    drop(twin);
}

#[test]
fn a_source_reaches_connections() {
    let (opened, is_opened) = mpsc::channel();
    let server = TestLoop::serve(move || {
        let opened = opened.clone();
        Script::new().open(move |cx| {
            opened.send(cx.id()).unwrap();
            Ok(())
        })
    });
    let mut client = server.client();
    let connection = is_opened.recv_timeout(DEADLINE).unwrap();
    let ready: Ready = Box::new(move |cx, _, _| {
        let mut bytes = [0; 64];
        let count = cx.read(&mut bytes)?;
        assert!(cx.send_to(connection, &bytes[..count]));
        Ok(Progress::Drained)
    });
    let (_, mut writer, _told) = add(&server, ready);
    writer.write_all(b"from a pipe").unwrap();
    client.expect("from a pipe");
}

#[test]
fn a_source_reaches_the_state() {
    struct Keeps;
    impl Source<Vec<u8>> for Keeps {
        fn on_ready(&mut self, cx: &mut SourceContext<'_, Vec<u8>>, _: Readiness) -> Result<Progress> {
            let mut bytes = [0; 8];
            let count = cx.read(&mut bytes)?;
            cx.state().extend_from_slice(&bytes[..count]);
            cx.stop();
            Ok(Progress::Drained)
        }
    }
    let (reader, mut writer) = pipe().unwrap();
    let mut event_loop = EventLoop::new(Vec::new()).unwrap();
    event_loop.add_source(reader, Interest::READ, Keeps).unwrap();
    writer.write_all(b"state").unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state(), b"state");
}

#[test]
fn a_timer_of_a_source_fires_and_ends_with_it() {
    let server = quiet_loop();
    let (id, _writer, told) = add(&server, reads(64));
    let timer = server.on_loop(move |cx| {
        cx.with_source(id, |_: &mut Witness, cx| {
            let (taken_back, timer) = (cx.set_timer(Duration::ZERO).unwrap(), cx.set_timer(Duration::ZERO).unwrap());
            cx.set_timer(Duration::from_secs(3600)).unwrap();
            assert!(cx.cancel_timer(taken_back) && !cx.cancel_timer(taken_back));
            timer
        })
        .unwrap()
    });
    assert_eq!(next(&told), Told::Timer(timer));
    server.on_loop(move |cx| cx.close_source(id));
    expect_close(&told, "closed");
    server.eventually("no timer is left", |metrics| metrics.timers == 0);
}

#[test]
fn a_source_does_not_hold_a_drain_up() {
    let server = quiet_loop();
    let (_, _writer, told) = add(&server, reads(64));
    let report = server.shut_down(Duration::from_secs(3600));
    assert_eq!((report.clean, report.cut), (0, 0));
    assert_eq!(next(&told), Told::Shutdown);
    expect_close(&told, "shutdown");
}

#[test]
fn a_source_that_asks_for_it_holds_a_drain_up_until_it_is_closed() {
    let server = quiet_loop();
    let (id, writer, told) = add(&server, reads(64));
    server.on_loop(move |cx| cx.with_source(id, |_: &mut Witness, cx| cx.hold_drain(true)).unwrap());
    server.handle.shutdown(Duration::from_secs(3600)).unwrap();
    assert_eq!(next(&told), Told::Shutdown);
    (&writer).write_all(b"served still").unwrap();
    assert_eq!(next(&told), Told::Bytes(b"served still".to_vec()));
    drop(writer);
    expect_close(&told, "closed");
    server.wait();
}

#[test]
fn one_that_holds_a_drain_up_is_cut_at_its_deadline() {
    let server = quiet_loop();
    let (id, _writer, told) = add(&server, reads(64));
    server.on_loop(move |cx| cx.with_source(id, |_: &mut Witness, cx| cx.hold_drain(true)).unwrap());
    server.shut_down(Duration::from_millis(20));
    let mut all: Vec<_> = told.iter().collect();
    // On a busy machine the deadline may have passed before the drain began.
    all.retain(|told| *told != Told::Shutdown);
    assert_eq!(all, [Told::Close("cut"), Told::Dropped]);
}

#[test]
fn dropping_a_loop_closes_its_sources_once() {
    let mut event_loop = EventLoop::new(()).unwrap();
    let (told, is_told) = mpsc::channel();
    let (reader, writer) = pipe().unwrap();
    event_loop.add_source(reader, Interest::READ, Witness { ready: reads(64), told }).unwrap();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    drop(event_loop);
    expect_close(&is_told, "shutdown");
    assert_eq!((&writer).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn the_descriptor_is_lent_to_the_source() {
    let server = quiet_loop();
    let (_, mut writer, told) = add(
        &server,
        Box::new(|cx, _, told| {
            let flags = rustix::fs::fcntl_getfl(cx.fd()).unwrap();
            let closes = rustix::io::fcntl_getfd(cx.fd().as_fd()).unwrap();
            assert!(flags.contains(rustix::fs::OFlags::NONBLOCK) && closes.contains(rustix::io::FdFlags::CLOEXEC));
            read_piece(cx, told, 64)
        }),
    );
    writer.write_all(b"x").unwrap();
    assert_eq!(next(&told), Told::Bytes(b"x".to_vec()));
    eventually("it is counted", || server.metrics().sources == 1);
}
