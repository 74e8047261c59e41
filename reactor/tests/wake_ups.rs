//! What other threads post to a loop arrives, in each thread's order and with few wake-ups, or is refused at once.

mod common;
#[path = "common/more.rs"]
mod more;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{Echo, Event, Events, Logged, TestLoop};
use more::hold;
use reactor::{EventLoop, Limits, LoopHandle, PostError};

/// What each thread counted up to.
type Counts = Vec<u32>;

fn counting(threads: usize, limits: Limits) -> TestLoop<Counts> {
    TestLoop::start_with_state(limits, move || vec![0; threads], |_| ())
}

/// Posts the next number of a thread; the loop fails the test if another one comes.
fn count_up(handle: &LoopHandle<Counts>, thread: usize, number: u32) -> Result<(), PostError> {
    handle.execute(move |cx| {
        let count = &mut cx.state()[thread];
        assert_eq!(*count, number, "thread {thread} is out of order");
        *count += 1;
    })
}

fn post_from_threads(server: &TestLoop<Counts>, threads: usize, each: u32) {
    thread::scope(|scope| {
        for thread in 0..threads {
            let handle = server.handle.clone();
            scope.spawn(move || {
                for number in 0..each {
                    while let Err(error) = count_up(&handle, thread, number) {
                        assert_eq!(error, PostError::Full);
                        thread::yield_now();
                    }
                }
            });
        }
    });
    // A small mailbox may still be full of the last ones.
    server.eventually("all is read", |metrics| metrics.messages >= u64::from(each) * threads as u64);
    assert_eq!(server.on_loop(|cx| cx.state().clone()), vec![each; threads]);
    assert_eq!(server.metrics().panics, 0);
}

#[test]
fn many_threads_lose_nothing_and_keep_their_order() {
    let server = counting(4, Limits::default());
    post_from_threads(&server, 4, 20_000);
    assert!(server.metrics().messages >= 80_000);
}

#[test]
fn nothing_is_lost_whatever_the_limits() {
    let mut small = Limits::default();
    small.mail_per_turn = 1;
    small.mailbox = 4;
    let mut spinning = Limits::default();
    spinning.spin = Duration::from_micros(50);
    for limits in [small, spinning] {
        post_from_threads(&counting(3, limits), 3, 3000);
    }
}

#[test]
fn a_sleeping_loop_is_woken_each_time() {
    let server = counting(1, Limits::default());
    for number in 0..3000 {
        count_up(&server.handle, 0, number).expect("the loop runs");
        // The answer comes only if it was woken.
        assert_eq!(server.on_loop(|cx| cx.state()[0]), number + 1);
    }
}

#[test]
fn a_loop_that_runs_is_not_woken() {
    let server = counting(1, Limits::default());
    let held = hold(&server.handle);
    let before = server.metrics();
    for number in 0..10_000 {
        count_up(&server.handle, 0, number).expect("there is room");
    }
    drop(held);
    server.eventually("all is read", |metrics| metrics.messages >= before.messages + 10_000);
    let wakeups = server.metrics().wakeups - before.wakeups;
    assert!(wakeups <= 1, "{wakeups} wake-ups for 10000 messages");
    server.assert_quiet();
}

#[test]
fn what_is_posted_before_the_loop_runs_is_done() {
    let mut event_loop = EventLoop::new(0).expect("a loop can be made");
    let handle = event_loop.handle();
    for _ in 0..5000 {
        handle.execute(|cx| *cx.state() += 1).expect("the loop is there");
    }
    handle.stop().expect("the loop is there");
    event_loop.run().expect("the loop does not fail");
    assert_eq!(*event_loop.state(), 5000);
}

#[test]
fn a_loop_that_is_gone_refuses() {
    let (log, events) = Events::new();
    let server = TestLoop::serve(move || Logged::new(&log, Echo));
    let _client = server.client();
    let id = events.expect(&Event::Open);
    let handle = server.handle.clone();
    drop(server);
    let refused = Err(PostError::Stopped);
    assert_eq!(handle.send(id, "hello"), refused);
    assert_eq!(handle.close(id), refused);
    assert_eq!(handle.execute(|_| panic!("the loop is gone")), refused);
    assert_eq!(handle.shutdown(Duration::ZERO), refused);
    assert_eq!(handle.stop(), refused);
    assert_eq!(handle.metrics().closed.cut, 1);
}

#[test]
fn a_loop_that_has_ended_and_is_kept_refuses() {
    let mut event_loop = EventLoop::new(()).expect("a loop can be made");
    let handle = event_loop.handle();
    handle.stop().expect("the loop is there");
    event_loop.run().expect("the loop does not fail");
    assert_eq!(handle.execute(|_| ()), Err(PostError::Stopped));
}

#[test]
fn a_full_mailbox_refuses_and_keeps_what_it_accepted() {
    let mut limits = Limits::default();
    limits.mailbox = 8;
    let server = counting(1, limits);
    let held = hold(&server.handle);
    let accepted = (0..20).take_while(|&number| count_up(&server.handle, 0, number).is_ok()).count();
    assert_eq!(accepted, 8);
    assert_eq!(count_up(&server.handle, 0, 8), Err(PostError::Full));
    drop(held);
    server.eventually("there is room again", |metrics| metrics.messages == 9);
    assert_eq!(server.on_loop(|cx| cx.state()[0]), 8);
}

#[test]
fn a_full_mailbox_does_not_keep_a_loop_from_its_end() {
    let mut limits = Limits::default();
    limits.mailbox = 1;
    let server = counting(1, limits);
    let held = hold(&server.handle);
    count_up(&server.handle, 0, 0).expect("there is room");
    assert_eq!(count_up(&server.handle, 0, 1), Err(PostError::Full));
    server.handle.shutdown(Duration::from_secs(1)).expect("an end is never refused");
    server.handle.stop().expect("an end is never refused");
    drop(held);
    server.wait();
}

#[test]
fn a_task_that_panics_is_counted_and_the_loop_goes_on() {
    let server = counting(1, Limits::default());
    server.handle.execute(|_| panic!("on purpose")).expect("the loop runs");
    count_up(&server.handle, 0, 0).expect("the loop runs");
    assert_eq!(server.on_loop(|cx| cx.state()[0]), 1);
    assert_eq!(server.metrics().panics, 1);
    server.on_loop(|cx| cx.run_after(Duration::ZERO, |_| panic!("on purpose")).map(drop)).expect("there is room");
    server.eventually("the second is counted", |metrics| metrics.panics == 2);
    assert_eq!(server.on_loop(|cx| cx.state()[0]), 1);
}

#[test]
fn a_task_of_a_loop_that_ends_is_dropped() {
    struct Count(Arc<AtomicU64>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicU64::new(0));
    let server = counting(1, Limits::default());
    let held = hold(&server.handle);
    server.handle.stop().expect("the loop runs");
    for _ in 0..10 {
        let count = Count(Arc::clone(&dropped));
        server.handle.execute(move |_| drop(count)).expect("the loop runs");
    }
    let count = Count(Arc::clone(&dropped));
    let never = move |cx: &mut reactor::LoopContext<'_, Counts>| {
        cx.run_after(Duration::MAX, move |_| drop(count)).map(drop).expect("there is room");
    };
    server.handle.execute(never).expect("the loop runs");
    drop(held);
    server.wait();
    assert_eq!(dropped.load(Ordering::Relaxed), 11);
}

#[test]
fn mail_and_sockets_take_turns() {
    let mut limits = Limits::default();
    limits.mail_per_turn = 4;
    limits.mailbox = 1 << 20;
    let server = TestLoop::serve_with(limits, common::Transport::Tcp, || Echo);
    let (stop, stopped) = mpsc::channel::<()>();
    let handle = server.handle.clone();
    let flood = thread::spawn(move || {
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            // Full: it has enough to do.
            let _ = handle.execute(|_| ());
        }
    });
    let mut client = server.client();
    for _ in 0..100 {
        client.send("ping");
        client.expect("ping");
    }
    drop(stop);
    flood.join().expect("it does not panic");
}

#[test]
fn a_loop_posts_to_itself() {
    let server = counting(1, Limits::default());
    server.on_loop(|cx| {
        let handle = cx.handle();
        (0..100).for_each(|number| count_up(&handle, 0, number).expect("there is room"));
    });
    assert_eq!(server.on_loop(|cx| cx.state()[0]), 100);
}
