//! A timer fires once, in order and never early, and not at all when it was cancelled or its connection is gone.

mod common;
#[path = "common/more.rs"]
mod more;

use std::io::ErrorKind;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{Echo, Event, Events, Logged, TestLoop, Transport};
use more::{Script, dawdle};
use reactor::{ConnectOptions, Context, EventLoop, Limits, LoopContext, TimerId};

const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(200);

/// Sets timers that are all due when the loop comes to look.
fn set_due_timers(cx: &mut Context<'_>, count: usize) -> Vec<TimerId> {
    let timers = (0..count).map(|_| cx.set_timer(SOON).expect("there is room for a timer")).collect();
    dawdle(20 * SOON);
    timers
}

#[test]
fn equal_deadlines_fire_in_the_order_in_which_they_were_set() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let set = log.clone();
        let script = Script::new().open(move |cx| {
            let timers = set_due_timers(cx, 64);
            set.note(cx.id(), format!("{timers:?}"));
            Ok(())
        });
        Logged::new(&log, script)
    });
    let _client = server.client();
    events.expect(&Event::Open);
    let set = events.next().event;
    let fired: Vec<_> = (0..64).map(|_| events.next().event).collect();
    let fired: Vec<_> =
        fired.iter().map(|event| if let Event::Timer(id) = event { *id } else { panic!("{event:?}") }).collect();
    assert_eq!(set, Event::Note(format!("{fired:?}")));
}

#[test]
fn tasks_of_one_delay_run_in_order() {
    let server = TestLoop::serve(|| Echo);
    let (sender, ran) = mpsc::channel();
    server.on_loop(move |cx| {
        for number in 0..1000 {
            let sender = sender.clone();
            cx.run_after(SOON, move |_| sender.send(number).expect("the test waits")).expect("there is room");
        }
    });
    assert_eq!(ran.iter().collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_cancelled_timer_never_fires() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let script = Script::new().open(|cx| {
            let timers = set_due_timers(cx, 3);
            assert!(cx.cancel_timer(timers[0]) && cx.cancel_timer(timers[2]));
            assert!(!cx.cancel_timer(timers[0]), "it was cancelled before");
            Ok(())
        });
        Logged::new(&log, script.timer(|cx, _| cx.set_timer(LATER).map(drop)))
    });
    let _client = server.client();
    events.expect(&Event::Open);
    let timers = [events.next().event, events.next().event];
    assert!(matches!(timers[..], [Event::Timer(one), Event::Timer(other)] if one != other), "{timers:?}");
}

#[test]
fn a_timer_cancelled_by_one_of_the_same_moment_never_fires() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let (log, mut timers) = (log.clone(), Vec::new());
        let (set, are_set) = mpsc::channel();
        let script = Script::new().open(move |cx| {
            set.send(set_due_timers(cx, 3)).expect("the handler lives");
            Ok(())
        });
        let noted = log.clone();
        let script = script.timer(move |cx, timer| {
            timers.extend(are_set.try_iter().flatten());
            if timer == timers[0] {
                noted.note(cx.id(), format!("{:?}", cx.cancel_timer(timers[1])));
            } else {
                noted.note(cx.id(), format!("timer {:?}", timers.iter().position(|set| *set == timer)));
            }
            Ok(())
        });
        script.close(move |cx, _| log.note(cx.id(), "closed"))
    });
    let client = server.client();
    events.expect(&Event::Note("true".into()));
    events.expect(&Event::Note("timer Some(2)".into()));
    drop(client);
    events.expect(&Event::Note("closed".into()));
}

#[test]
fn nothing_fires_early() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let (log, mut set) = (log.clone(), Vec::new());
        let (sender, receiver) = mpsc::channel();
        let script = Script::new().open(move |cx| {
            for step in 0..60 {
                let (before, delay) = (Instant::now(), Duration::from_micros(step * 333));
                sender.send((cx.set_timer(delay)?, before, delay)).expect("the handler lives");
                dawdle(Duration::from_micros(100));
            }
            Ok(())
        });
        script.timer(move |cx, timer| {
            let now = Instant::now();
            set.extend(receiver.try_iter());
            let (_, before, delay) = set.iter().find(|(set, ..)| *set == timer).expect("it was set");
            log.note(cx.id(), if now - *before < *delay { "early" } else { "in time" });
            Ok(())
        })
    });
    let _client = server.client();
    for _ in 0..60 {
        events.expect(&Event::Note("in time".into()));
    }
}

#[test]
fn timers_die_with_their_connection() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let script = Script::new().open(|cx| {
            (0..10).try_for_each(|_| cx.set_timer(LATER).map(drop))?;
            cx.close();
            Ok(())
        });
        Logged::new(&log, script)
    });
    let _client = server.client();
    events.expect(&Event::Open);
    events.expect_close("closed");
    server.on_loop(|_| ());
    server.eventually("no timer is left", |metrics| metrics.timers == 0);
    // A timer set now fires after all that were set before for the same delay.
    let (sender, ran) = mpsc::channel();
    server
        .on_loop(move |cx| cx.run_after(LATER + SOON, move |_| sender.send(()).expect("the test waits")).map(drop))
        .expect("there is room");
    ran.recv().expect("the task runs");
    assert_eq!(events.so_far(), []);
}

#[test]
fn no_timer_fires_on_a_connection_that_another_one_has_closed() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let script = Script::new().open(|cx| {
            set_due_timers(cx, 3);
            Ok(())
        });
        Logged::new(
            &log,
            script.timer(|cx, _| {
                cx.close();
                Ok(())
            }),
        )
    });
    let _client = server.client();
    events.expect(&Event::Open);
    assert!(matches!(events.next().event, Event::Timer(_)));
    events.expect_close("closed");
}

#[test]
fn a_zero_delay_fires_soon_and_starves_no_input() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let script = Script::new().echo().open(|cx| cx.set_timer(Duration::ZERO).map(drop));
        Logged::new(&log, script.timer(|cx, _| cx.set_timer(Duration::ZERO).map(drop)))
    });
    let mut client = server.client();
    for _ in 0..100 {
        events.wait_for(|event| matches!(event, Event::Timer(_)));
        client.send("ping");
        client.expect("ping");
    }
}

#[test]
fn constant_input_starves_no_timer() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let log = log.clone();
        let script = Script::new().open(|cx| cx.set_timer(SOON).map(drop));
        script.timer(move |cx, _| {
            log.note(cx.id(), "tick");
            cx.set_timer(SOON).map(drop)
        })
    });
    let mut client = server.client();
    let bytes = vec![0; 1 << 20];
    let mut ticks = 0;
    let start = Instant::now();
    while ticks < 50 {
        client.send(&bytes);
        ticks += events.so_far().len();
        assert!(start.elapsed() < common::DEADLINE, "{ticks} ticks");
    }
}

#[test]
fn timers_are_counted_as_they_stand_when_the_loop_sleeps() {
    let server = TestLoop::serve(|| Echo);
    let (sender, ran) = mpsc::channel();
    let set = move |cx: &mut LoopContext<'_>| {
        cx.run_after(SOON, move |_| sender.send(()).expect("the test waits")).map(drop).expect("there is room");
    };
    server.handle.execute(set).expect("the loop runs");
    ran.recv().expect("it runs");
    server.eventually("no timer waits", |metrics| metrics.timers == 0);
    server.handle.execute(|cx| drop(cx.run_after(Duration::MAX, |_| ()))).expect("the loop runs");
    server.eventually("one timer waits", |metrics| metrics.timers == 1);
}

#[test]
fn a_delay_without_end_is_waited_for_in_peace() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || {
        let script = Script::new().open(|cx| {
            cx.set_idle_timeout(Duration::MAX);
            let timer = cx.set_timer(Duration::MAX)?;
            cx.set_timer(Duration::from_secs(u64::MAX / 1000))?;
            let task = cx.run_after(Duration::MAX, |_| panic!("eternity has passed"))?;
            cx.set_timer(SOON)?;
            assert!(cx.cancel_timer(timer) && cx.cancel_task(task));
            cx.set_timer(Duration::MAX)?;
            Ok(())
        });
        Logged::new(&log, script)
    });
    let _client = server.client();
    events.expect(&Event::Open);
    assert!(matches!(events.next().event, Event::Timer(_)));
    server.assert_quiet();
    assert_eq!(events.so_far(), []);
}

#[test]
fn a_connection_has_as_many_timers_as_its_limit() {
    let mut limits = Limits::default();
    limits.timers_per_connection = 3;
    let (log, events) = Events::new();
    let server = TestLoop::serve_with(limits, Transport::Unix, move || {
        let noted = log.clone();
        let script = Script::new().open(move |cx| {
            let first = cx.set_timer(LATER)?;
            cx.set_timer(LATER)?;
            cx.set_timer(LATER)?;
            noted.note(cx.id(), format!("{:?}", cx.set_timer(LATER).map_err(|error| error.kind())));
            cx.cancel_timer(first);
            cx.set_timer(SOON).map(drop)
        });
        Logged::new(&log, script)
    });
    let _client = server.client();
    events.expect(&Event::Open);
    events.expect(&Event::Note(format!("{:?}", Err::<TimerId, _>(ErrorKind::QuotaExceeded))));
    assert!(matches!(events.next().event, Event::Timer(_)));
}

#[test]
fn a_loop_has_as_many_timers_as_its_limit_and_leaks_no_connection_there() {
    let mut limits = Limits::default();
    limits.timers = 2;
    let server = TestLoop::serve_with(limits, Transport::Tcp, || Echo);
    let address = server.address().clone();
    let kinds = server.on_loop(move |cx| {
        cx.run_after(Duration::MAX, |_| ()).expect("there is room");
        let last = cx.run_after(Duration::MAX, |_| ()).expect("there is room");
        let task = cx.run_after(SOON, |_| ()).map(drop).map_err(|error| error.kind());
        let connection = cx.connect(address, &ConnectOptions::default(), Echo).map(drop).map_err(|error| error.kind());
        assert!(cx.cancel_task(last) && !cx.cancel_task(last));
        (task, connection)
    });
    assert_eq!(kinds, (Err(ErrorKind::QuotaExceeded), Err(ErrorKind::QuotaExceeded)));
    server.eventually("what could not be connected is gone", |metrics| metrics.open == 0);
}

#[test]
fn timers_that_are_due_together_leave_room_for_others_between_them() {
    let mut limits = Limits::default();
    limits.deadlines_per_turn = 100;
    let mut event_loop = EventLoop::with_limits(limits, Vec::new()).expect("the limits are sound");
    for number in 0..1000 {
        let task = move |cx: &mut LoopContext<'_, Vec<u32>>| cx.state().push(number);
        event_loop.context().run_after(SOON, task).expect("there is room");
    }
    dawdle(20 * SOON);
    let mut turns = 0;
    while event_loop.state().len() < 1000 {
        let before = event_loop.state().len();
        event_loop.turn(Some(common::DEADLINE)).expect("the kernel lets it wait");
        assert!(event_loop.state().len() - before <= 100);
        turns += 1;
    }
    assert!((10..20).contains(&turns), "{turns} turns: the loop spins, or sleeps");
    assert_eq!(*event_loop.state(), (0..1000).collect::<Vec<_>>());
}
