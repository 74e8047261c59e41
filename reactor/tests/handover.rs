//! A handler that replaces another on a connection is shown all that the other left, and is told all that comes after.

mod common;

use std::time::Instant;

use common::{Echo, Event, Events, Log, Logged, TestLoop};
use reactor::{CloseReason, Context, Handler, Input, Result};

/// Takes the first line, then hands over to an echo that is logged.
struct Replaceable {
    log: Log,
    waits: bool,
}

impl Handler for Replaceable {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        if self.waits {
            cx.pause();
        }
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        if let Some(line) = input.take_until(b'\n') {
            assert_eq!(line, b"upgrade");
            cx.send("upgraded\n")?;
            cx.replace_handler(Logged::new(&self.log, Echo));
        }
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>, _deadline: Instant) -> Result {
        cx.resume();
        cx.finish()
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _reason: &CloseReason) {
        self.log.note(cx.id(), "the old handler was told of a close");
    }
}

fn replaceable(waits: bool) -> (TestLoop, Events) {
    let (log, events) = Events::new();
    (TestLoop::serve(move || Replaceable { log: log.clone(), waits }), events)
}

#[test]
fn what_was_left_is_shown_to_the_new_one() {
    let (server, events) = replaceable(false);
    let mut client = server.client();
    client.send("upgrade\nalready for the new one");
    client.expect("upgraded\nalready for the new one");
    let id = events.expect(&Event::Data(b"already for the new one".to_vec()));
    client.send("more");
    events.expect(&Event::Data(b"more".to_vec()));
    assert_eq!(server.on_loop(move |cx| cx.with(id, |_: &mut Logged<Echo>, _| ())), Some(()));
    assert_eq!(server.on_loop(move |cx| cx.with(id, |_: &mut Replaceable, _| ())), None);
    client.end();
    events.expect(&Event::Eof);
    events.expect_close("eof");
    server.eventually("it is gone", |metrics| metrics.open == 0 && metrics.buffered == 0);
    drop(server);
    assert_eq!(events.so_far(), []);
}

#[test]
fn nothing_is_shown_where_nothing_was_left() {
    let (server, events) = replaceable(false);
    let mut client = server.client();
    client.send("upgrade\n");
    client.expect("upgraded\n");
    server.assert_quiet();
    assert_eq!(events.so_far(), []);
    client.send("first");
    events.expect(&Event::Data(b"first".to_vec()));
}

#[test]
fn an_end_that_has_come_already_is_told_after_what_was_left() {
    let (server, events) = replaceable(false);
    let mut client = server.client();
    server.eventually("it is open", |metrics| metrics.open == 1);
    server.hold_up(|| {
        client.send("upgrade\nrest");
        client.end();
    });
    client.expect("upgraded\nrest");
    client.expect_end();
    events.expect(&Event::Data(b"rest".to_vec()));
    events.expect(&Event::Eof);
    events.expect_close("eof");
}

#[test]
fn a_drain_shows_what_was_left_before_it_closes() {
    let (server, events) = replaceable(true);
    let mut client = server.client();
    server.eventually("it is open", |metrics| metrics.open == 1);
    // It is paused, so this is read in the drain.
    client.send("upgrade\nrest");
    server.handle.shutdown(common::DEADLINE).unwrap();
    client.expect("upgraded\nrest");
    client.expect_end();
    events.expect(&Event::Data(b"rest".to_vec()));
    events.expect_close("shutdown");
    drop(client);
    assert_eq!(server.wait().cut, 0);
}
