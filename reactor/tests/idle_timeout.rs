//! A connection on which nothing moves for its idle timeout is closed, in its time and never before.

mod common;
#[path = "common/more.rs"]
mod more;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Echo, Event, Events, Logged, Silent, TestLoop, any_port, eventually};
use more::{Script, dawdle};
use reactor::{Handler, Limits, ListenOptions, LoopContext};
use rustix::io::Errno;
use rustix::net::RecvFlags;

fn serve<H: Handler>(timeout: Duration, mut make: impl FnMut() -> H + Send + 'static) -> TestLoop {
    TestLoop::start(Limits::default(), move |event_loop| {
        let options = ListenOptions::default().idle_timeout(timeout);
        event_loop.listen(any_port(), &options, move |_| make()).expect("port 0 is free");
    })
}

#[test]
fn an_idle_connection_is_closed_in_its_time() {
    let timeout = Duration::from_millis(100);
    let (log, events) = Events::new();
    let server = serve(timeout, move || Logged::new(&log, Echo));
    let before = Instant::now();
    let mut client = server.client();
    client.expect_end();
    assert!(before.elapsed() >= timeout, "it was closed after {:?}", before.elapsed());
    events.expect(&Event::Open);
    events.expect_close("timeout");
    assert_eq!(server.metrics().closed.timeout, 1);
}

#[test]
fn bytes_begin_the_time_anew() {
    let timeout = Duration::from_millis(200);
    let server = serve(timeout, || Echo);
    outlives_its_timeout(&server, timeout, |client| {
        client.write_all(b"ping")?;
        client.read_exact(&mut [0; 4])
    });
}

/// Lets a client do something again and again until it has outlived its timeout, and then nothing until it is closed.
///
/// The machine may stop the client for longer than that. It may be closed then, but not otherwise, and another one tries.
#[track_caller]
fn outlives_its_timeout(server: &TestLoop, timeout: Duration, mut act: impl FnMut(&mut Client) -> io::Result<()>) {
    for _ in 0..100 {
        let mut client = server.client();
        let (start, mut last) = (Instant::now(), Instant::now());
        let mut lives = true;
        while lives && start.elapsed() < 2 * timeout {
            thread::sleep(timeout / 20);
            let now = Instant::now();
            lives = act(&mut client).is_ok();
            last = if lives { now } else { last };
        }
        if lives {
            client.expect_end();
        }
        let quiet = last.elapsed();
        assert!(quiet >= timeout, "it was closed after {quiet:?} of silence");
        if lives {
            return;
        }
    }
    panic!("no client could act twice within {timeout:?}");
}

#[test]
fn input_alone_keeps_a_connection() {
    let timeout = Duration::from_millis(200);
    let server = serve(timeout, || Silent);
    outlives_its_timeout(&server, timeout, |client| {
        let before = server.metrics().bytes_in;
        client.write_all(b"still here")?;
        // What is written to a connection that was just closed is not refused yet, and not read either.
        eventually("it is read, or the connection closed", || server.metrics().bytes_in > before || has_ended(client));
        if server.metrics().bytes_in > before { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    });
}

/// Whether the end of the stream has come; a server that says nothing sends nothing else.
fn has_ended(client: &Client) -> bool {
    rustix::net::recv(client, &mut [0; 1][..], RecvFlags::DONTWAIT | RecvFlags::PEEK) != Err(Errno::AGAIN)
}

#[test]
fn output_alone_keeps_a_connection() {
    let server = serve(Duration::from_secs(1), || {
        let script = Script::new().open(|cx| cx.set_timer(Duration::ZERO).map(drop));
        let mut times = 0;
        script.timer(move |cx, _| {
            times += 1;
            if times == 20 {
                return cx.close_after_flush();
            }
            cx.send("still here")?;
            cx.set_timer(Duration::from_millis(100)).map(drop)
        })
    });
    let mut client = server.client();
    assert_eq!(client.receive_to_end().len(), 19 * "still here".len());
    assert_eq!(server.metrics().closed.closed, 1);
}

#[test]
fn a_stalled_reader_with_output_waiting_is_closed() {
    let (log, events) = Events::new();
    let server = serve(Duration::from_millis(100), move || {
        Logged::new(&log, Script::new().open(|cx| cx.send(vec![0; 8 << 20])))
    });
    let _client = server.client();
    events.wait_for_close("timeout");
    server.eventually("nothing waits any more", |metrics| metrics.buffered == 0 && metrics.open == 0);
}

#[test]
fn a_stalled_reader_that_is_being_closed_is_cut_loose() {
    let (log, events) = Events::new();
    let server = serve(Duration::from_millis(100), move || {
        let script = Script::new().open(|cx| {
            cx.send(vec![0; 8 << 20])?;
            cx.close_after_flush()
        });
        Logged::new(&log, script)
    });
    let _client = server.client();
    events.wait_for_close("timeout");
}

#[test]
fn a_paused_connection_whose_peer_sends_nothing_is_closed() {
    let server = serve(Duration::from_millis(50), || {
        Script::new().open(|cx| {
            cx.pause();
            Ok(())
        })
    });
    server.client().expect_end();
}

#[test]
fn the_handler_changes_the_timeout_both_ways() {
    let (log, events) = Events::new();
    let server = serve(Duration::from_millis(50), move || {
        let script = Script::new().open(|cx| {
            cx.set_idle_timeout(None);
            Ok(())
        });
        let script = script.data(|cx, input| {
            input.take();
            cx.set_idle_timeout(Duration::from_millis(50));
            Ok(())
        });
        Logged::new(&log, script)
    });
    let mut client = server.client();
    events.expect(&Event::Open);
    thread::sleep(Duration::from_millis(200));
    assert_eq!((events.so_far(), server.metrics().open), (vec![], 1));
    let sent = Instant::now();
    client.send("hurry");
    client.expect_end();
    assert!(sent.elapsed() >= Duration::from_millis(48), "it was closed after {:?}", sent.elapsed());
    events.wait_for_close("timeout");
}

#[test]
fn another_part_of_the_program_changes_the_timeout() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Echo));
    let mut client = server.client();
    let id = events.expect(&Event::Open);
    server.on_loop(move |cx: &mut LoopContext<'_>| {
        cx.peer(id).expect("it is open").set_idle_timeout(Duration::from_millis(20));
    });
    client.expect_end();
    events.expect_close("timeout");
}

#[test]
fn a_timeout_set_late_in_a_callback_counts_from_then() {
    let timeout = Duration::from_millis(100);
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let (log, set) = (log.clone(), Rc::new(Cell::new(Instant::now())));
        let is_set = Rc::clone(&set);
        let script = Script::new().data(move |cx, input| {
            input.take();
            // The time that a callback takes is not the connection's idleness.
            dawdle(2 * timeout);
            set.set(Instant::now());
            cx.set_idle_timeout(timeout);
            Ok(())
        });
        script.close(move |cx, reason| {
            let moment = if is_set.get().elapsed() < timeout { "early" } else { "in time" };
            log.note(cx.id(), format!("{} {moment}", reason.name()));
        })
    });
    let mut client = server.client();
    client.send("go");
    client.expect_end();
    events.expect(&Event::Note("timeout in time".into()));
}

#[test]
fn each_connection_has_a_time_of_its_own() {
    // Until they have said which time they want.
    let server = serve(Duration::from_secs(3600), || {
        Script::new().echo().data(|cx, input| {
            let timeout = u64::from(input.take()[0]) * 10;
            cx.set_idle_timeout(Duration::from_millis(timeout));
            cx.send("ok")
        })
    });
    let threads: Vec<_> = [200_u8, 5, 50, 20, 1, 100]
        .into_iter()
        .map(|tens| {
            let mut client = server.client();
            thread::spawn(move || {
                let start = Instant::now();
                client.send([tens]);
                client.expect("ok");
                client.expect_end();
                let waited = start.elapsed();
                assert!(
                    waited + Duration::from_millis(5) >= Duration::from_millis(u64::from(tens) * 10),
                    "{tens}: {waited:?}"
                );
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("each has its time"));
    server.assert_quiet();
}
