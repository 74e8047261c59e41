//! Signals reach the callback of the loop that asked for them, however many loops there are and whatever becomes of them.

mod common;
#[path = "common/more.rs"]
mod more;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{TestLoop, eventually};
use more::{Actor, answer_questions, plays};
use reactor::{EventLoop, Limits, LoopContext};
use rustix::process::{Pid, Signal, kill_process};

/// How often each callback was called.
static CALLS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

fn call(index: usize) {
    CALLS[index].fetch_add(1, Ordering::Relaxed);
}

fn raise(signal: Signal) {
    let ourselves = Pid::from_raw(std::process::id().cast_signed()).expect("it is not zero");
    kill_process(ourselves, signal).expect("a process may signal itself");
}

fn on_signal(signal: Signal, mut called: impl FnMut(&mut LoopContext<'_>) + Send + 'static) -> TestLoop {
    TestLoop::start(Limits::default(), move |event_loop: &mut EventLoop| {
        let callback = move |cx: &mut LoopContext<'_>, number| {
            assert_eq!(number, signal.as_raw());
            called(cx);
        };
        event_loop.on_signals(&[signal.as_raw()], callback).expect("it is a signal");
    })
}

fn each_loop_hears_its_own() -> String {
    let one = on_signal(Signal::USR1, |_| call(0));
    let other = on_signal(Signal::USR2, |_| call(1));
    for round in 1..=20 {
        raise(Signal::USR1);
        eventually("the one loop hears it", || CALLS[0].load(Ordering::Relaxed) == round);
        raise(Signal::USR2);
        eventually("the other loop hears it", || CALLS[1].load(Ordering::Relaxed) == round);
    }
    [one, other].iter().map(|server| server.metrics().panics).sum::<u64>().to_string()
}

fn a_callback_panics_each_time() -> String {
    let server = on_signal(Signal::USR1, |_| {
        call(2);
        panic!("on purpose");
    });
    for round in 1..=5 {
        raise(Signal::USR1);
        server.eventually("it is counted", |metrics| metrics.panics == round);
    }
    CALLS[2].load(Ordering::Relaxed).to_string()
}

fn a_callback_ends_its_loop() -> String {
    let server = on_signal(Signal::USR2, |cx| cx.shutdown(Duration::ZERO));
    raise(Signal::USR2);
    server.wait().cut.to_string()
}

fn a_loop_is_dropped_with_one_pending() -> String {
    let mut event_loop = EventLoop::new(()).expect("a loop can be made");
    event_loop.on_signals(&[Signal::USR1.as_raw()], |_, _| panic!("it is never run")).expect("it is a signal");
    raise(Signal::USR1);
    drop(event_loop);
    // It stays blocked, or it would end the process; and the next loop hears it.
    let mut event_loop = EventLoop::new(0).expect("a loop can be made");
    event_loop.on_signals(&[Signal::USR1.as_raw()], |cx, _| *cx.state() += 1).expect("it is a signal");
    event_loop.turn(None).expect("the loop goes on");
    event_loop.state().to_string()
}

/// A process of its own: signals are the process's.
#[test]
fn a_signalled_process() {
    if !plays("a_signalled_process") {
        return;
    }
    answer_questions(|question| match question {
        "two loops" => each_loop_hears_its_own(),
        "panics" => a_callback_panics_each_time(),
        "ends" => a_callback_ends_its_loop(),
        "dropped" => a_loop_is_dropped_with_one_pending(),
        _ => panic!("{question} is no question"),
    });
}

#[track_caller]
fn assert_answers(question: &str, answer: &str) {
    let mut process = Actor::start_with_blocked_signals("USR1,USR2", "a_signalled_process");
    assert_eq!(process.ask(question), answer);
    assert!(process.lives(), "no signal kills it");
}

#[test]
fn each_of_several_loops_hears_the_signals_it_asked_for() {
    assert_answers("two loops", "0");
}

#[test]
fn a_callback_that_panics_is_called_again() {
    assert_answers("panics", "5");
}

#[test]
fn a_callback_may_end_its_loop() {
    assert_answers("ends", "0");
}

#[test]
fn a_loop_may_be_dropped_while_a_signal_is_pending() {
    assert_answers("dropped", "1");
}
