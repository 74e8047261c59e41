//! What blocks runs on threads of its own, and its outcome comes back to the loop: once, in time, or not at all.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/more.rs"]
mod more;

use std::cell::Cell;
use std::fs;
use std::io::ErrorKind;
use std::panic::panic_any;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use common::{Client, DEADLINE, Event, Events, Logged, TestLoop, eventually};
use more::Script;
use reactor::{ConnId, Context, EventLoop, Handler, Input, Limits, Metrics, Result, Server, WorkerOptions};

/// A job that says that it runs, and runs until it is let go.
struct Gate {
    begun: Receiver<()>,
    release: Sender<()>,
}

impl Gate {
    fn new() -> (Self, impl FnOnce() + Send + 'static) {
        let (begin, begun) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        let job = move || {
            // The test may have seen enough.
            let _ = begin.send(());
            let _ = is_released.recv();
        };
        (Self { begun, release }, job)
    }

    #[track_caller]
    fn wait_until_it_runs(&self) {
        self.begun.recv_timeout(DEADLINE).expect("a thread takes it");
    }

    fn open(self) {
        drop(self.release);
    }
}

fn workers(threads: usize, queue: usize) -> WorkerOptions {
    WorkerOptions::default().threads(threads).queue(queue)
}

/// A loop with so many threads and places.
fn with_workers(options: WorkerOptions, script: impl FnMut() -> Script + Send + 'static) -> TestLoop {
    let mut script = script;
    TestLoop::start(Limits::default(), move |event_loop: &mut EventLoop| {
        event_loop.set_workers(&options).expect("they are sound");
        event_loop
            .listen("127.0.0.1:0", &reactor::ListenOptions::default(), move |_| script())
            .expect("port 0 is free");
    })
}

fn jobs(metrics: &Metrics) -> (u64, u64, u64) {
    (metrics.jobs_waiting, metrics.jobs_running, metrics.jobs_done)
}

/// The names of this process's threads that begin so.
fn threads_named(prefix: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("proc is mounted");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with(prefix)).count()
}

#[test]
fn a_job_runs_elsewhere_and_its_outcome_comes_back() {
    let server = TestLoop::serve(Script::new);
    let (answer, answered) = mpsc::channel();
    server.on_loop(move |cx| {
        let here = thread::current().id();
        let job = || (thread::current().id(), thread::current().name().map(str::to_owned));
        cx.spawn_blocking(job, move |_, outcome| {
            assert_eq!(thread::current().id(), here, "done runs on the loop");
            answer.send((here, outcome)).expect("the test waits");
        })
        .expect("a place is free");
    });
    let (here, outcome) = answered.recv_timeout(DEADLINE).expect("it is done");
    let (there, name) = outcome.expect("it does not panic");
    assert_ne!(here, there);
    assert!(name.is_some_and(|name| name.starts_with("reactor-job-")));
    server.eventually("it is counted", |metrics| jobs(metrics) == (0, 0, 1));
    server.assert_quiet();
}

#[test]
fn what_is_done_need_not_be_send_and_sees_the_state() {
    let mut event_loop = EventLoop::new(Rc::new(Cell::new(0))).unwrap();
    let shared = Rc::clone(event_loop.state());
    event_loop
        .context()
        .spawn_blocking(
            || 6 * 7,
            move |cx, product| {
                shared.set(product.unwrap());
                assert_eq!(cx.state().get(), 42);
                cx.stop();
            },
        )
        .unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state().get(), 42);
}

#[test]
fn a_connection_answers_what_its_job_found() {
    let server = TestLoop::serve(|| {
        Script::new().data(|cx, input| {
            let text = input.take().to_vec();
            cx.spawn_blocking(move || text.to_ascii_uppercase(), |cx, text| cx.send(text?))
        })
    });
    let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.send("hello"));
    clients.iter_mut().for_each(|client| client.expect("HELLO"));
}

/// Counts what was done for it.
#[derive(Default)]
struct Counting {
    done: u32,
}

impl Handler for Counting {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        cx.spawn_blocking(
            || (),
            |cx, _| {
                let id = cx.id();
                let done = cx.with(id, |handler: &mut Self, cx| {
                    handler.done += 1;
                    cx.send(format!("{} ", handler.done))
                });
                done.expect("the handler is in its place")
            },
        )
    }
}

#[test]
fn what_is_done_can_visit_its_handler() {
    let server = TestLoop::serve(Counting::default);
    let mut client = server.client();
    for expected in ["1 ", "2 ", "3 "] {
        client.send("x");
        client.expect(expected);
    }
}

#[test]
fn a_panic_in_a_job_is_an_error_to_what_is_done() {
    let server = with_workers(workers(1, 9), || {
        Script::new().data(|cx, input| {
            let word = input.take().to_vec();
            let job = move || match word.as_slice() {
                b"text" => panic!("out of {}", "cheese"),
                b"value" => panic_any(7),
                _ => b"all is well".to_vec(),
            };
            cx.spawn_blocking(job, |cx, outcome| match outcome {
                Ok(bytes) => cx.send(bytes),
                Err(panic) => cx.send(format!("{panic}")),
            })
        })
    });
    let mut client = server.client();
    for (word, answer) in [
        ("text", "a job panicked: out of cheese"),
        ("value", "a job panicked: (no message)"),
        // The one thread has survived.
        ("none", "all is well"),
    ] {
        client.send(word);
        client.expect(answer);
    }
    let metrics = server.metrics();
    assert_eq!((metrics.panics, jobs(&metrics)), (0, (0, 0, 3)));
}

#[test]
fn what_is_done_closes_its_connection_by_an_error_or_a_panic() {
    for (how, reason) in [("error", "error"), ("panic", "panic"), ("job", "error")] {
        let (log, events) = Events::new();
        let server = TestLoop::serve(move || {
            let script = Script::new().open(move |cx| {
                let job = move || assert!(how != "job", "out of cheese");
                cx.spawn_blocking(job, move |cx, outcome| {
                    outcome?;
                    cx.send("last words")?;
                    match how {
                        "panic" => panic!("out of cheese"),
                        _ => Err(std::io::Error::other("out of cheese")),
                    }
                })
            });
            Logged::new(&log, script)
        });
        let mut client = server.client();
        let closed = events.wait_for_close(reason);
        assert!(format!("{closed:?}").contains("out of cheese"), "{closed:?}");
        assert_eq!(client.receive_to_end(), if how == "job" { &b""[..] } else { b"last words" });
        let panics = u64::from(how == "panic");
        server.eventually("it is counted", |metrics| metrics.panics == panics && metrics.open == 0);
    }
}

/// Says when it is dropped.
struct Tell(Sender<&'static str>, &'static str);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

#[test]
fn what_is_done_for_a_connection_that_is_gone_is_dropped() {
    let (log, events) = Events::new();
    let (gate, job) = Gate::new();
    let (tell, told) = mpsc::channel();
    let mut job = Some((job, Tell(tell.clone(), "done is dropped"), Tell(tell, "the outcome is dropped")));
    let server = TestLoop::serve(move || {
        let mut job = job.take();
        let script = Script::new().open(move |cx| {
            let (job, done, outcome) = job.take().expect("there is one connection");
            let job = move || {
                job();
                outcome
            };
            cx.spawn_blocking(job, move |_, _| unreachable!("{} too late", done.1))
        });
        Logged::new(&log, script)
    });
    let client = server.client();
    gate.wait_until_it_runs();
    client.reset();
    events.wait_for(|event| event.close_reason().is_some());
    server.eventually("it is gone", |metrics| metrics.open == 0);
    gate.open();
    let mut dropped = [(); 2].map(|()| told.recv_timeout(DEADLINE).expect("both are dropped"));
    dropped.sort_unstable();
    assert_eq!(dropped, ["done is dropped", "the outcome is dropped"]);
    // The next connection in that slot hears nothing of it.
    assert_eq!(server.metrics().panics, 0);
}

/// Tells which thread drops it.
struct TellThread(Sender<ThreadId>);

impl Drop for TellThread {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

#[test]
fn an_outcome_that_nobody_waits_for_is_not_dropped_by_the_loop() {
    let (gate, job) = Gate::new();
    let (tell, told) = mpsc::channel();
    let mut job = Some((job, TellThread(tell)));
    let server = TestLoop::serve(move || {
        let mut job = job.take();
        Script::new().open(move |cx| {
            let (job, outcome) = job.take().expect("there is one connection");
            let job = move || {
                job();
                outcome
            };
            cx.spawn_blocking(job, |_, _| unreachable!("the connection is gone"))
        })
    });
    let loop_thread = server.on_loop(|_| thread::current().id());
    let client = server.client();
    gate.wait_until_it_runs();
    client.reset();
    server.eventually("it is gone", |metrics| metrics.open == 0);
    gate.open();
    assert_ne!(told.recv_timeout(DEADLINE).expect("it is dropped"), loop_thread);
}

#[test]
fn a_full_queue_is_an_error_at_once() {
    let server = with_workers(workers(1, 1), Script::new);
    let (gate, job) = Gate::new();
    let (done, is_done) = mpsc::channel();
    let (first, second) = (done.clone(), done);
    server.on_loop(move |cx| {
        cx.spawn_blocking(job, move |_, _| first.send("first").unwrap()).expect("the thread is free");
        cx.spawn_blocking(|| (), move |_, _| second.send("second").unwrap()).expect("a place is free");
        let error = cx.spawn_blocking(|| (), |_, _| unreachable!("it is refused")).expect_err("none is free");
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        assert!(error.to_string().contains("1 threads are busy, and 1 jobs wait"), "{error}");
    });
    gate.wait_until_it_runs();
    server.eventually("one runs and one waits", |metrics| jobs(metrics) == (1, 1, 0));
    gate.open();
    assert_eq!([(); 2].map(|()| is_done.recv_timeout(DEADLINE).unwrap()), ["first", "second"]);
    server.on_loop(|cx| cx.spawn_blocking(|| (), |_, _| ()).expect("there is room again"));
    server.eventually("all are done", |metrics| jobs(metrics) == (0, 0, 3));
}

#[test]
fn outcomes_that_a_loop_has_not_seen_count_for_the_bound() {
    let server = with_workers(workers(1, 1), Script::new);
    let (done, is_done) = mpsc::channel();
    server.on_loop(move |cx| {
        let (ended, has_ended) = mpsc::channel();
        for _ in 0..2 {
            let (ended, done) = (ended.clone(), done.clone());
            cx.spawn_blocking(move || ended.send(()).unwrap(), move |_, _| done.send(()).unwrap())
                .expect("there is room");
        }
        (0..2).for_each(|_| has_ended.recv_timeout(DEADLINE).expect("a thread runs them"));
        // The thread is free, but this loop has yet to look at what it has.
        cx.spawn_blocking(|| (), |_, _| ()).expect_err("two are under way");
    });
    (0..2).for_each(|_| is_done.recv_timeout(DEADLINE).expect("it comes to them"));
    server.on_loop(|cx| cx.spawn_blocking(|| (), |_, _| ()).expect("both were seen"));
}

#[test]
fn a_job_is_followed_by_the_next_though_there_is_no_queue() {
    fn again(cx: &mut reactor::LoopContext<'_>, left: u32) {
        match left {
            0 => cx.stop(),
            _ => cx.spawn_blocking(|| (), move |cx, _| again(cx, left - 1)).expect("the thread is free"),
        }
    }
    let mut event_loop = EventLoop::new(()).unwrap();
    event_loop.set_workers(&workers(1, 0)).unwrap();
    again(&mut event_loop.context(), 200);
    event_loop.run().unwrap();
    assert_eq!(event_loop.metrics().jobs_done, 200);
}

#[test]
fn a_drain_waits_for_the_jobs_of_the_loop() {
    let server = TestLoop::serve(Script::new);
    let (gate, job) = Gate::new();
    let (done, is_done) = mpsc::channel();
    server.on_loop(move |cx| cx.spawn_blocking(job, move |_, _| done.send(()).unwrap()).unwrap());
    gate.wait_until_it_runs();
    server.handle.shutdown(DEADLINE).unwrap();
    // It drains, and makes turns, but does not end.
    server.on_loop(|_| ());
    server.on_loop(|_| ());
    gate.open();
    let report = server.wait();
    assert_eq!(is_done.try_recv(), Ok(()));
    assert_eq!((report.clean, report.cut), (0, 0));
}

#[test]
fn a_drain_waits_for_a_job_of_a_connection_that_stays() {
    let (gate, job) = Gate::new();
    let mut job = Some(job);
    let server = TestLoop::serve(move || {
        let mut job = job.take();
        let script = Script::new().stays();
        script.open(move |cx| {
            cx.spawn_blocking(job.take().unwrap(), |cx, _| {
                cx.send("saved")?;
                cx.close_after_flush()
            })
        })
    });
    let mut client = server.client();
    gate.wait_until_it_runs();
    server.handle.shutdown(DEADLINE).unwrap();
    server.on_loop(|_| ());
    gate.open();
    assert_eq!(client.receive_to_end(), b"saved");
    drop(client);
    assert_eq!(server.wait().cut, 0);
}

#[test]
fn a_drain_does_not_wait_for_a_job_whose_connection_is_gone() {
    let (gate, job) = Gate::new();
    let mut job = Some(job);
    let server = TestLoop::start(Limits::default(), move |event_loop| {
        let options = workers(1, 1).exit_wait(Duration::ZERO);
        event_loop.set_workers(&options).unwrap();
        let make = move |_: &_| {
            let mut job = job.take();
            Script::new().open(move |cx| cx.spawn_blocking(job.take().unwrap(), |_, _| unreachable!("it is gone")))
        };
        event_loop.listen("127.0.0.1:0", &reactor::ListenOptions::default(), make).unwrap();
    });
    let mut client = server.client();
    gate.wait_until_it_runs();
    let before = Instant::now();
    // The grace is as good as endless.
    server.handle.shutdown(Duration::from_secs(3600)).unwrap();
    client.expect_end();
    drop(client);
    assert_eq!(server.wait().cut, 0);
    assert!(before.elapsed() < Duration::from_secs(3600));
    gate.open();
}

#[test]
fn a_job_that_does_not_end_does_not_hold_up_the_end() {
    let (gate, job) = Gate::new();
    let server = with_workers(workers(1, 9).exit_wait(Duration::from_millis(10)), Script::new);
    let (tell, told) = mpsc::channel();
    let waits = Tell(tell, "dropped");
    server.on_loop(move |cx| {
        cx.spawn_blocking(job, |_, _| unreachable!("it does not end")).unwrap();
        cx.spawn_blocking(move || drop(waits), |_, _| unreachable!("it waits")).unwrap();
    });
    gate.wait_until_it_runs();
    let report = server.shut_down(Duration::from_millis(10));
    assert_eq!(report.cut, 0);
    // What waited was dropped with the loop.
    assert_eq!(told.recv_timeout(DEADLINE), Ok("dropped"));
    gate.open();
}

#[test]
fn a_loop_that_is_dropped_waits_for_what_runs() {
    let mut event_loop = EventLoop::new(()).unwrap();
    let (gate, job) = Gate::new();
    let (ended, has_ended) = mpsc::channel();
    let job = move || {
        job();
        ended.send(()).unwrap();
    };
    event_loop.context().spawn_blocking(job, |_, _| unreachable!("the loop has ended")).unwrap();
    gate.wait_until_it_runs();
    let opener = thread::spawn(move || gate.open());
    drop(event_loop);
    assert_eq!(has_ended.try_recv(), Ok(()));
    opener.join().unwrap();
}

#[test]
fn the_loops_of_a_server_share_the_threads() {
    let (tell, threads) = mpsc::channel();
    let server = Server::builder().threads(3).workers(workers(2, 100));
    let server = server.listen("127.0.0.1:0", move |_| {
        let tell = tell.clone();
        Script::new().echo().open(move |cx| {
            let tell = tell.clone();
            let job = || thread::current().id();
            cx.spawn_blocking(job, move |cx, thread| {
                tell.send(thread?).expect("the test waits");
                cx.send("x")
            })
        })
    });
    let server = server.unwrap().start().unwrap();
    let mut clients: Vec<_> = (0..30).map(|_| Client::connect(&server.local_addresses()[0])).collect();
    clients.iter_mut().for_each(|client| client.expect("x"));
    let mut seen: Vec<_> = (0..30).map(|_| threads.recv_timeout(DEADLINE).unwrap()).collect();
    seen.sort_by_key(|thread| format!("{thread:?}"));
    seen.dedup();
    assert!(seen.len() <= 2, "{seen:?}");
    eventually("all are counted", || jobs(&server.handle().metrics()) == (0, 0, 30));
    assert_eq!(server.handle().shutdown(DEADLINE).unwrap().cut, 0);
}

#[test]
fn bounds_that_cannot_be_kept_are_refused() {
    let error = EventLoop::new(()).unwrap().set_workers(&workers(0, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let server = Server::builder().workers(workers(0, 1)).listen("127.0.0.1:0", |_| Script::new()).unwrap();
    assert_eq!(server.start().err().map(|error| error.kind()), Some(ErrorKind::InvalidInput));
}

/// Threads are the process's, so a process of its own counts them.
#[test]
fn threads_come_with_jobs_and_go_with_the_server() {
    const ROLE: &str = "threads_come_with_jobs_and_go_with_the_server";
    if !more::plays(ROLE) {
        return assert_eq!(more::Actor::start(ROLE).ask("threads"), "0 2 0");
    }
    more::answer_questions(|_| {
        let server = Server::builder().pin_threads(true).workers(workers(2, 9));
        let server = server.listen("127.0.0.1:0", |_| Script::new().echo()).unwrap().start().unwrap();
        let mut client = Client::connect(&server.local_addresses()[0]);
        client.send("x");
        client.expect("x");
        let without_jobs = threads_named("reactor-job-");
        let (gates, jobs): (Vec<_>, Vec<_>) = [(); 2].map(|()| Gate::new()).into_iter().unzip();
        let spawn = |cx: &mut reactor::LoopContext<'_>| {
            jobs.into_iter().for_each(|job| cx.spawn_blocking(job, |_, _| ()).unwrap());
        };
        server.handle().loops()[0].execute(spawn).unwrap();
        gates.iter().for_each(Gate::wait_until_it_runs);
        let with_jobs = threads_named("reactor-job-");
        gates.into_iter().for_each(Gate::open);
        drop(server);
        format!("{without_jobs} {with_jobs} {}", threads_named("reactor-job-"))
    });
}

#[test]
fn a_job_given_for_one_connection_is_not_done_for_the_next_in_its_slot() {
    let (ids, opened) = mpsc::channel::<ConnId>();
    let (log, events) = Events::new();
    let (gate, job) = Gate::new();
    let (tell, told) = mpsc::channel();
    let mut job = Some((job, Tell(tell, "dropped")));
    let server = TestLoop::serve(move || {
        let (mut job, ids) = (job.take(), ids.clone());
        let script = Script::new().open(move |cx| {
            ids.send(cx.id()).expect("the test waits");
            match job.take() {
                Some((job, done)) => cx.spawn_blocking(job, move |cx, _| cx.send(done.1)),
                None => cx.spawn_blocking(|| (), |cx, _| cx.send("for the second")),
            }
        });
        Logged::new(&log, script)
    });
    let first = server.client();
    gate.wait_until_it_runs();
    first.reset();
    events.wait_for(|event| matches!(event, Event::Close { .. }));
    server.eventually("its slot is free", |metrics| metrics.open == 0 && metrics.lingering == 0);
    let mut second = server.client();
    second.expect("for the second");
    gate.open();
    assert_eq!(told.recv_timeout(DEADLINE), Ok("dropped"));
    server.on_loop(|_| ());
    assert_eq!(second.receive_waiting(), b"");
    let [first, second] = [(); 2].map(|()| opened.recv_timeout(DEADLINE).unwrap());
    assert_ne!(first, second);
}
