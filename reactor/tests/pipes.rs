//! Pipes and files are read as connections are, with back-pressure, and written through a bounded queue.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::io::{ErrorKind, PipeReader, Read, Seek, Write, pipe};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use common::{DEADLINE, TestLoop, eventually, pattern};
use reactor::sources::{ByteReader, ByteStream, ByteWriter, ReaderContext, WriterContext};
use reactor::{CloseReason, EventLoop, Input, Limits, Result, SourceId, TimerId, WorkerOptions};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Bytes(Vec<u8>),
    End,
    Drained,
    Close(&'static str),
}

/// Takes all but an unfinished line, and stops after the line `pause`.
struct Lines(Sender<Told>);

impl ByteReader for Lines {
    fn on_bytes(&mut self, cx: &mut ReaderContext<'_>, input: &mut Input<'_>) -> Result {
        while let Some(line) = input.take_until(b'\n') {
            self.0.send(Told::Bytes(line.to_vec())).unwrap();
            if line == b"pause" {
                cx.pause();
                break;
            }
        }
        Ok(())
    }

    fn on_end(&mut self, cx: &mut ReaderContext<'_>) -> Result {
        let rest = cx.take_unread();
        if !rest.is_empty() {
            self.0.send(Told::Bytes(rest)).unwrap();
        }
        self.0.send(Told::End).unwrap();
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut ReaderContext<'_>, reason: &CloseReason) {
        self.0.send(Told::Close(reason.name())).unwrap();
    }
}

/// Takes all.
struct Takes(Sender<Told>);

impl ByteReader for Takes {
    fn on_bytes(&mut self, _cx: &mut ReaderContext<'_>, input: &mut Input<'_>) -> Result {
        self.0.send(Told::Bytes(input.take().to_vec())).unwrap();
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut ReaderContext<'_>, reason: &CloseReason) {
        self.0.send(Told::Close(reason.name())).unwrap();
    }
}

struct Hears(Sender<Told>);

impl ByteWriter for Hears {
    fn on_drained(&mut self, _cx: &mut WriterContext<'_>) -> Result {
        self.0.send(Told::Drained).unwrap();
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut WriterContext<'_>, reason: &CloseReason) {
        let text = match reason {
            CloseReason::Error(error) if error.kind() == ErrorKind::BrokenPipe => "broken pipe",
            reason => reason.name(),
        };
        self.0.send(Told::Close(text)).unwrap();
    }
}

fn quiet_loop() -> TestLoop {
    TestLoop::start(Limits::default(), |_| ())
}

#[track_caller]
fn next(told: &Receiver<Told>) -> Told {
    told.recv_timeout(DEADLINE).expect("it is told within the deadline")
}

#[track_caller]
fn expect_all(told: &Receiver<Told>, expected: &[Told]) {
    for each in expected {
        assert_eq!(next(told), *each);
    }
}

fn line(text: &str) -> Told {
    Told::Bytes(text.as_bytes().to_vec())
}

fn read_lines(server: &TestLoop, stream: impl Into<ByteStream>) -> (SourceId, Receiver<Told>) {
    let (told, is_told) = mpsc::channel();
    let stream = stream.into();
    (server.on_loop(move |cx| cx.add_reader(stream, Lines(told)).unwrap()), is_told)
}

fn write_to(server: &TestLoop, stream: impl Into<ByteStream>) -> (SourceId, Receiver<Told>) {
    let (told, is_told) = mpsc::channel();
    let stream = stream.into();
    (server.on_loop(move |cx| cx.add_writer(stream, Hears(told)).unwrap()), is_told)
}

/// All until the source is closed, and how that was.
#[track_caller]
fn bytes_until_close(told: &Receiver<Told>) -> (Vec<u8>, &'static str) {
    let mut all = Vec::new();
    loop {
        match next(told) {
            Told::Bytes(bytes) => all.extend(bytes),
            Told::Close(reason) => return (all, reason),
            other => panic!("{other:?}"),
        }
    }
}

fn send(server: &TestLoop, id: SourceId, bytes: Vec<u8>) {
    server.on_loop(move |cx| cx.writer(id).unwrap().send(bytes).unwrap());
}

#[test]
fn lines_come_whole_and_the_end_with_what_was_left() {
    let server = quiet_loop();
    let (reader, mut writer) = pipe().unwrap();
    let (id, told) = read_lines(&server, reader);
    writer.write_all(b"one\ntw").unwrap();
    assert_eq!(next(&told), line("one"));
    writer.write_all(b"o\nrest").unwrap();
    assert_eq!(next(&told), line("two"));
    drop(writer);
    expect_all(&told, &[line("rest"), Told::End, Told::Close("eof")]);
    server.eventually("it has left the loop", |metrics| metrics.sources == 0);
    assert!(server.on_loop(move |cx| cx.reader(id).is_none()));
    assert_eq!(server.metrics().bytes_in, 12);
}

#[test]
fn a_paused_reader_lets_the_pipe_fill_up_and_goes_on_where_it_was() {
    let server = quiet_loop();
    let (reader, writer) = pipe().unwrap();
    let (id, told) = read_lines(&server, reader);
    (&writer).write_all(b"pause\nleft\nhal").unwrap();
    assert_eq!(next(&told), line("pause"));
    let size = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    // As much as it holds, and it is not read.
    (&writer).write_all(&vec![b'x'; size]).unwrap();
    server.assert_quiet();
    assert!(told.try_recv().is_err());
    server.on_loop(move |cx| cx.reader(id).unwrap().resume());
    assert_eq!(next(&told), line("left"));
    (&writer).write_all(b"\n").unwrap();
    let expected = format!("hal{}", "x".repeat(size));
    assert_eq!(next(&told), line(&expected));
}

#[test]
fn a_reader_that_leaves_too_much_is_closed() {
    let mut limits = Limits::default();
    limits.max_input = 1000;
    let server = TestLoop::start(limits, |_| ());
    let (reader, mut writer) = pipe().unwrap();
    let (_, told) = read_lines(&server, reader);
    writer.write_all(&[b'x'; 1000]).unwrap();
    assert_eq!(next(&told), Told::Close("overflow"));
}

#[test]
fn no_more_than_the_budget_is_read_in_one_turn() {
    let mut limits = Limits::default();
    (limits.read_per_turn, limits.calls_per_turn) = (1000, 4);
    let mut event_loop = EventLoop::with_limits(limits, ()).unwrap();
    let (reader, mut writer) = pipe().unwrap();
    let (told, is_told) = mpsc::channel();
    event_loop.context().add_reader(reader, Takes(told)).unwrap();
    writer.write_all(&pattern(0, 10_000)).unwrap();
    let mut all = Vec::new();
    let mut turns = 0;
    while all.len() < 10_000 {
        event_loop.turn(Some(DEADLINE)).unwrap();
        turns += 1;
        let before = all.len();
        for each in is_told.try_iter() {
            let Told::Bytes(bytes) = each else { panic!("{each:?}") };
            all.extend(bytes);
        }
        assert!(all.len() - before <= 1000);
    }
    assert!((10..=12).contains(&turns), "{turns} turns");
    assert_eq!(all, pattern(0, 10_000));
}

#[test]
fn what_a_pipe_has_no_room_for_waits_and_its_leaving_is_told() {
    let server = quiet_loop();
    let (mut reader, writer) = pipe().unwrap();
    let (id, told) = write_to(&server, writer);
    let bytes = pattern(0, 1 << 20);
    send(&server, id, bytes.clone());
    server.assert_quiet();
    assert!(server.on_loop(move |cx| cx.writer(id).unwrap().is_congested()));
    assert!(told.try_recv().is_err());
    let mut received = vec![0; 1 << 20];
    reader.read_exact(&mut received).unwrap();
    assert!(received == bytes);
    assert_eq!(next(&told), Told::Drained);
    server.on_loop(move |cx| {
        let mut writer = cx.writer(id).unwrap();
        assert!(!writer.is_congested());
        writer.send("the end").unwrap();
        writer.finish();
        assert_eq!(writer.send("too late").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), next(&told)), ("the end", Told::Close("closed")));
}

#[test]
fn who_was_told_of_congestion_is_told_of_its_end_even_if_nothing_had_to_wait() {
    let mut limits = Limits::default();
    (limits.low_mark, limits.high_mark) = (1000, 2000);
    let server = TestLoop::start(limits, |_| ());
    let (_reader, writer) = pipe().unwrap();
    let (id, told) = write_to(&server, writer);
    // More than the mark, and less than a pipe has room for.
    server.on_loop(move |cx| {
        let mut writer = cx.writer(id).unwrap();
        writer.send([1; 4096]).unwrap();
        assert!(writer.is_congested());
    });
    assert_eq!(next(&told), Told::Drained);
}

#[test]
fn the_queue_is_bounded_and_one_send_too_many_takes_nothing() {
    let mut limits = Limits::default();
    limits.max_output = 1 << 20;
    let server = TestLoop::start(limits, |_| ());
    let (mut reader, writer) = pipe().unwrap();
    let (id, told) = write_to(&server, writer);
    server.on_loop(move |cx| {
        let mut writer = cx.writer(id).unwrap();
        writer.send(vec![1; 1 << 20]).unwrap();
        assert_eq!(writer.send("x").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(writer.queued(), 1 << 20);
        writer.finish();
    });
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert_eq!((all.len(), next(&told)), (1 << 20, Told::Close("closed")));
}

#[test]
fn that_nobody_reads_any_more_is_told_whether_there_is_something_to_write_or_not() {
    let server = quiet_loop();
    for sends in [false, true] {
        let (reader, writer) = pipe().unwrap();
        let (id, told) = write_to(&server, writer);
        if sends {
            send(&server, id, vec![1; 1 << 20]);
        }
        drop(reader);
        assert_eq!(next(&told), Told::Close("broken pipe"));
    }
    assert_eq!(server.metrics().sources_failed, 0);
}

#[test]
fn a_stop_leaves_time_for_what_there_is_room_for() {
    let (mut reader, writer) = pipe().unwrap();
    let mut event_loop = EventLoop::new(()).unwrap();
    let mut cx = event_loop.context();
    let id = cx.add_writer(writer, ()).unwrap();
    cx.writer(id).unwrap().send("last words").unwrap();
    cx.stop();
    event_loop.run().unwrap();
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap();
    assert_eq!(all, "last words");
}

#[test]
fn a_drain_waits_for_what_is_to_be_written() {
    let server = quiet_loop();
    let (mut reader, writer) = pipe().unwrap();
    let (id, told) = write_to(&server, writer);
    let bytes = pattern(0, 1 << 20);
    send(&server, id, bytes.clone());
    // The pipe is full.
    server.assert_quiet();
    server.handle.shutdown(DEADLINE).unwrap();
    let mut received = vec![0; 1 << 20];
    reader.read_exact(&mut received).unwrap();
    assert!(received == bytes);
    server.wait();
    expect_all(&told, &[Told::Drained, Told::Close("shutdown")]);
}

#[test]
fn a_socket_is_read_and_written_too() {
    let server = quiet_loop();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (_, told) = read_lines(&server, ours.try_clone().unwrap());
    let (id, _told) = write_to(&server, ours);
    theirs.write_all(b"hello\n").unwrap();
    assert_eq!(next(&told), line("hello"));
    send(&server, id, b"answer".to_vec());
    let mut answer = [0; 6];
    theirs.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
}

#[test]
fn a_regular_file_is_read_to_its_end() {
    let server = quiet_loop();
    let mut file = tempfile::tempfile().unwrap();
    let bytes = pattern(0, 300_001);
    file.write_all(&bytes).unwrap();
    file.rewind().unwrap();
    let (told, is_told) = mpsc::channel();
    let theirs = file.try_clone().unwrap();
    server.on_loop(move |cx| cx.add_reader(theirs, Takes(told)).map(drop).unwrap());
    let (all, reason) = bytes_until_close(&is_told);
    assert!(all == bytes);
    assert_eq!(reason, "eof");
    // Who shares the open file goes on where the loop has stopped.
    assert_eq!(file.stream_position().unwrap(), 300_001);
}

#[test]
fn a_regular_file_is_paused_and_resumed() {
    let server = quiet_loop();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"one\npause\ntwo\nthree").unwrap();
    file.rewind().unwrap();
    let (id, told) = read_lines(&server, file);
    expect_all(&told, &[line("one"), line("pause")]);
    server.assert_quiet();
    server.on_loop(move |cx| cx.reader(id).unwrap().resume());
    expect_all(&told, &[line("two"), line("three"), Told::End, Told::Close("eof")]);
}

#[test]
fn a_regular_file_is_written_in_order() {
    let server = quiet_loop();
    let mut file = tempfile::tempfile().unwrap();
    let (id, told) = write_to(&server, file.try_clone().unwrap());
    let bytes = pattern(0, 500_000);
    for piece in bytes.chunks(3_333) {
        send(&server, id, piece.to_vec());
    }
    server.on_loop(move |cx| cx.writer(id).unwrap().finish());
    while next(&told) != Told::Close("closed") {}
    file.rewind().unwrap();
    let mut written = Vec::new();
    file.read_to_end(&mut written).unwrap();
    assert!(written == bytes);
}

#[test]
fn a_stop_still_writes_to_a_file() {
    let mut file = tempfile::tempfile().unwrap();
    let mut event_loop = EventLoop::new(()).unwrap();
    let mut cx = event_loop.context();
    let id = cx.add_writer(file.try_clone().unwrap(), ()).unwrap();
    cx.writer(id).unwrap().send("last words").unwrap();
    cx.stop();
    event_loop.run().unwrap();
    file.rewind().unwrap();
    let mut all = String::new();
    file.read_to_string(&mut all).unwrap();
    assert_eq!(all, "last words");
}

#[test]
fn files_wait_for_their_turn_when_the_worker_pool_is_full() {
    let server = TestLoop::start(Limits::default(), |event_loop: &mut EventLoop| {
        event_loop.set_workers(&WorkerOptions::default().threads(1).queue(0)).unwrap();
    });
    let (release, is_released) = mpsc::channel::<()>();
    server.on_loop(move |cx| {
        cx.spawn_blocking(move || is_released.recv().is_ok(), |_, _| ()).unwrap();
    });
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"line\n").unwrap();
    input.rewind().unwrap();
    let mut output = tempfile::tempfile().unwrap();
    let (_, told) = read_lines(&server, input);
    let (id, written) = write_to(&server, output.try_clone().unwrap());
    // More than a source may have timers.
    for _ in 0..100 {
        send(&server, id, b"patience ".to_vec());
    }
    server.on_loop(move |cx| cx.writer(id).unwrap().finish());
    server.on_loop(|_| ());
    assert_eq!((told.try_iter().next(), written.try_iter().next()), (None, None));
    drop(release);
    expect_all(&told, &[line("line"), Told::End, Told::Close("eof")]);
    assert_eq!(next(&written), Told::Close("closed"));
    output.rewind().unwrap();
    let mut all = String::new();
    output.read_to_string(&mut all).unwrap();
    assert_eq!(all, "patience ".repeat(100));
}

#[test]
fn devices_that_cannot_be_watched_are_read_elsewhere() {
    let server = quiet_loop();
    let (_, told) = read_lines(&server, fs::File::open("/dev/null").unwrap());
    expect_all(&told, &[Told::End, Told::Close("eof")]);
    let (told, zeros) = mpsc::channel();
    let id = server.on_loop(|cx| cx.add_reader(fs::File::open("/dev/zero").unwrap(), Takes(told)).unwrap());
    let mut count = 0;
    while count < 1 << 20 {
        let Told::Bytes(bytes) = next(&zeros) else { panic!("it ended") };
        assert!(bytes.iter().all(|byte| *byte == 0));
        count += bytes.len();
    }
    // It never ends, and holds no drain up.
    server.shut_down(Duration::from_secs(3600));
    let _ = id;
    assert_eq!(bytes_until_close(&zeros).1, "shutdown");
}

#[test]
fn an_error_of_reading_is_told() {
    let server = quiet_loop();
    let directory = tempfile::tempdir().unwrap();
    let (_, told) = read_lines(&server, fs::File::open(directory.path()).unwrap());
    assert_eq!(next(&told), Told::Close("error"));
}

#[test]
fn a_pipe_that_others_use_too_stays_a_blocking_one() {
    let server = quiet_loop();
    let (reader, mut writer) = pipe().unwrap();
    let is_blocking =
        |reader: &PipeReader| !rustix::fs::fcntl_getfl(reader).unwrap().contains(rustix::fs::OFlags::NONBLOCK);
    let shared = ByteStream::shared(std::os::fd::AsFd::as_fd(&reader)).unwrap();
    let (id, told) = read_lines(&server, shared);
    writer.write_all(b"hello\n").unwrap();
    assert_eq!(next(&told), line("hello"));
    assert!(is_blocking(&reader));
    server.on_loop(move |cx| cx.reader(id).unwrap().close());
    assert_eq!(next(&told), Told::Close("closed"));
    // It is still open.
    writer.write_all(b"for the next").unwrap();
    let mut next = [0; 12];
    (&reader).read_exact(&mut next).unwrap();
    assert_eq!(&next, b"for the next");
}

#[test]
fn two_loops_pass_a_stream_through_a_pipe() {
    let (sender, receiver) = (quiet_loop(), quiet_loop());
    let (reader, writer) = pipe().unwrap();
    let (told, is_told) = mpsc::channel();
    receiver.on_loop(move |cx| cx.add_reader(reader, Takes(told)).map(drop).unwrap());
    let (id, _told) = write_to(&sender, writer);
    let bytes = pattern(0, 3 << 20);
    let expected = bytes.clone();
    let feeder = thread::spawn(move || {
        for piece in bytes.chunks(77_777) {
            send(&sender, id, piece.to_vec());
        }
        sender.on_loop(move |cx| cx.writer(id).unwrap().finish());
        eventually("all is written", || sender.metrics().sources == 0);
    });
    let (all, reason) = bytes_until_close(&is_told);
    assert!(all == expected);
    assert_eq!(reason, "eof");
    feeder.join().unwrap();
}

/// Takes one byte at a time, and rests for a moment after each.
struct Slow(Sender<Told>);

impl ByteReader for Slow {
    fn on_bytes(&mut self, cx: &mut ReaderContext<'_>, input: &mut Input<'_>) -> Result {
        self.0.send(Told::Bytes(input.take_exact(1).unwrap_or_default().to_vec())).unwrap();
        cx.pause();
        cx.set_timer(Duration::from_millis(1)).map(drop)
    }

    fn on_timer(&mut self, cx: &mut ReaderContext<'_>, _timer: TimerId) -> Result {
        cx.resume();
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut ReaderContext<'_>, reason: &CloseReason) {
        self.0.send(Told::Close(reason.name())).unwrap();
    }
}

#[test]
fn a_reader_goes_on_by_its_timer() {
    let server = quiet_loop();
    let (reader, mut writer) = pipe().unwrap();
    let (told, is_told) = mpsc::channel();
    server.on_loop(move |cx| cx.add_reader(reader, Slow(told)).map(drop)).unwrap();
    writer.write_all(b"one by one").unwrap();
    drop(writer);
    for byte in b"one by one" {
        assert_eq!(next(&is_told), Told::Bytes(vec![*byte]));
    }
    assert_eq!(next(&is_told), Told::Close("eof"));
}

/// Says a last word a moment after all that waited is written.
struct LastWord(Sender<Told>);

impl ByteWriter for LastWord {
    fn on_drained(&mut self, cx: &mut WriterContext<'_>) -> Result {
        cx.set_timer(Duration::from_millis(1)).map(drop)
    }

    fn on_timer(&mut self, cx: &mut WriterContext<'_>, _timer: TimerId) -> Result {
        cx.send(b"goodbye")?;
        assert_eq!(cx.this().queued(), 7);
        cx.finish();
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut WriterContext<'_>, reason: &CloseReason) {
        self.0.send(Told::Close(reason.name())).unwrap();
    }
}

#[test]
fn a_writer_sends_and_finishes_in_its_own_callbacks() {
    let server = quiet_loop();
    let (mut reader, writer) = pipe().unwrap();
    let (told, is_told) = mpsc::channel();
    // More than a pipe holds.
    server.on_loop(move |cx| {
        let id = cx.add_writer(writer, LastWord(told)).unwrap();
        cx.writer(id).unwrap().send(pattern(0, 1 << 20)).unwrap();
    });
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert!(all.ends_with(b"goodbye") && all[..1 << 20] == pattern(0, 1 << 20));
    assert_eq!(next(&is_told), Told::Close("closed"));
}
