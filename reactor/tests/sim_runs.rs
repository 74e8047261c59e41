//! A simulation is decided by its seed, passes years in moments, and says when a loop would sleep for ever.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reactor::sim::{Answer, Faults, PeerState, Seeds, Sim};
use reactor::{
    Balance, CloseReason, ConnectOptions, Context, EventLoop, Handler, Input, Limits, ListenOptions, Result, Server,
    Sharing,
};

struct Echo;

impl<S: 'static> Handler<S> for Echo {
    fn on_data(&mut self, cx: &mut Context<'_, S>, input: &mut Input<'_>) -> Result {
        cx.send(input.take())
    }
}

/// A server of three loops, five clients, messages from another thread, and a drain: what happened, as a number.
fn life_of_a_server(seed: u64, sharing: Sharing) -> u64 {
    let mut sim = Sim::with_faults(seed, Faults::default());
    let mut random = sim.random();
    let builder = Server::builder().threads(3).shutdown_on_signals(Duration::from_secs(10));
    let server =
        builder.listen_with("127.0.0.1:7", &ListenOptions::default(), sharing, |_peer| Echo).unwrap().start().unwrap();
    let mut peers: Vec<_> = (0..5).map(|_| sim.connect("127.0.0.1:7")).collect();
    let bytes: Vec<u8> = (0..2_000).map(|_| random.bits().to_le_bytes()[0]).collect();
    for peer in &mut peers {
        bytes.chunks(600).for_each(|piece| peer.send(piece));
    }
    let (count, handle) = (Arc::new(AtomicU64::new(0)), server.handle());
    let counted = Arc::clone(&count);
    let poster = sim.spawn("poster", move || {
        for round in 0..30 {
            let counted = Arc::clone(&counted);
            let target = &handle.loops()[round % 3];
            target
                .execute(move |_cx| {
                    counted.fetch_add(1, Ordering::Relaxed);
                })
                .unwrap();
            reactor::sim::sleep(Duration::from_micros(round as u64 * 50));
        }
    });
    sim.wait_until(|| peers.iter().all(|peer| peer.received() == bytes));
    poster.join().unwrap();
    sim.wait_until(|| count.load(Ordering::Relaxed) == 30);
    sim.raise(15);
    let report = server.wait().unwrap();
    assert_eq!((report.clean, report.cut), (5, 0));
    sim.wait_until(|| peers.iter().all(|peer| peer.state() == PeerState::Ended));
    assert_eq!(sim.descriptors(), 0, "{}", sim.dump());
    sim.trace()
}

const WAYS: [Sharing; 4] = [
    Sharing::Exclusive,
    Sharing::Handover(Balance::RoundRobin),
    Sharing::Handover(Balance::FewestConnections),
    Sharing::ReusePort,
];

#[test]
fn one_seed_makes_one_trace_whatever_the_loops_share() {
    Seeds::first(40).for_each(|seed| {
        let sharing = WAYS[usize::try_from(seed % 4).unwrap()];
        let first = life_of_a_server(seed, sharing);
        assert_eq!(first, life_of_a_server(seed, sharing));
        assert_ne!(first, life_of_a_server(seed + 1000, sharing));
        Ok(())
    });
}

/// Ticks once an hour and once a year.
struct Ticks {
    hours: Arc<AtomicU64>,
}

impl Handler for Ticks {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        cx.set_timer(HOUR)?;
        cx.set_timer(3 * YEAR).map(drop)
    }

    fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _timer: reactor::TimerId) -> Result {
        if self.hours.fetch_add(1, Ordering::Relaxed) == 26_280 {
            return cx.close_after_flush();
        }
        cx.set_timer(HOUR).map(drop)
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[test]
fn three_years_of_hours_pass_in_moments() {
    let sim = Sim::with_faults(1, Faults::default());
    let (hours, begun, start) = (Arc::new(AtomicU64::new(0)), Instant::now(), sim.now());
    let counted = Arc::clone(&hours);
    let mut event_loop = EventLoop::new(()).unwrap();
    event_loop
        .listen("[::1]:7", &ListenOptions::default(), move |_peer| Ticks { hours: Arc::clone(&counted) })
        .unwrap();
    let peer = sim.connect("[::1]:7");
    sim.run_until(&mut event_loop, || peer.is_over()).unwrap();
    assert_eq!(hours.load(Ordering::Relaxed), 26_281);
    let passed = sim.now() - start;
    assert!(passed >= 3 * YEAR && passed < 3 * YEAR + 2 * HOUR, "{passed:?}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

/// Never answers.
struct Silent;

impl Handler for Silent {
    fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }
}

#[test]
fn waiting_for_what_will_never_come_fails_with_the_seed_and_what_happened() {
    let failure = catch_unwind(AssertUnwindSafe(|| {
        Seeds::first(1).from(77).check(&Faults::none(), |sim| {
            let mut event_loop = EventLoop::new(())?;
            event_loop.listen("127.0.0.1:7", &ListenOptions::default(), |_peer| Silent)?;
            let mut peer = sim.connect("127.0.0.1:7");
            peer.send(b"hello?");
            sim.run_until(&mut event_loop, || peer.received_len() > 0)
        });
    }));
    let message = *failure.unwrap_err().downcast::<String>().unwrap();
    for part in ["REACTOR_SEED=77", "sleeps for ever", "recv", "listens on 127.0.0.1:7"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_server_of_which_nothing_will_come_is_told_too() {
    let failure = catch_unwind(|| {
        let sim = Sim::new(3);
        let server = Server::builder().threads(2).listen("127.0.0.1:7", |_peer| Silent).unwrap().start().unwrap();
        let peer = sim.connect("127.0.0.1:7");
        sim.wait_until(|| peer.is_over());
        drop(server);
    });
    let message = *failure.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("sleeps for ever") && message.contains("reactor-1"), "{message}");
}

#[test]
fn the_environment_says_which_seeds_run() {
    if std::env::var_os("REACTOR_TEST_INNER").is_some() {
        return Seeds::first(10).for_each(|seed| Err(std::io::Error::other(format!("seed {seed} ran"))));
    }
    let program = std::env::current_exe().unwrap();
    let run = |variable, value| {
        let mut command = Command::new(&program);
        command.args(["--exact", "the_environment_says_which_seeds_run", "--nocapture"]);
        command
            .env_remove("REACTOR_SEED")
            .env_remove("REACTOR_SEEDS")
            .env("REACTOR_TEST_INNER", "1")
            .env(variable, value);
        let output = command.output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    assert!(run("REACTOR_SEED", "123456").contains("seed 123456 ran"));
    assert!(run("REACTOR_SEEDS", "0").contains("test result: ok"));
}

/// Keeps why it ended.
struct Caller(Arc<std::sync::Mutex<Vec<String>>>);

impl Handler for Caller {
    fn on_data(&mut self, _cx: &mut Context<'_>, _input: &mut Input<'_>) -> Result {
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        self.0.lock().unwrap().push(reason.to_string());
    }
}

#[test]
fn outgoing_connections_end_as_the_remote_answers() {
    let answers = [Answer::Accept, Answer::Refuse, Answer::Unreachable, Answer::Silence];
    let told = answers.map(|answer| {
        let sim = Sim::new(5);
        let remote = sim.listen("198.51.100.1:80");
        remote.answer(answer);
        let log = Arc::default();
        let mut event_loop = EventLoop::new(()).unwrap();
        let options = ConnectOptions::default().deadline(Duration::from_secs(30));
        let target = remote.address().clone();
        event_loop.context().connect(target, &options, Caller(Arc::clone(&log))).unwrap();
        while answer == Answer::Accept && log.lock().unwrap().is_empty() {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            if let Some(mut peer) = remote.accept() {
                peer.close();
            }
        }
        while log.lock().unwrap().is_empty() {
            event_loop.turn(None).unwrap();
        }
        log.lock().unwrap().concat()
    });
    assert_eq!(told[0], "the peer closed");
    assert!(told[1].contains("refused") && told[2].contains("No route"), "{told:?}");
    assert!(told[3].contains("deadline"), "{told:?}");
}

#[test]
fn a_shortage_of_descriptors_passes() {
    Seeds::first(50).check(&Faults::default(), |sim| {
        let mut limits = Limits::default();
        limits.accept_patience = Duration::from_secs(3600);
        let mut event_loop = EventLoop::with_limits(limits, ())?;
        event_loop.listen("unix:@short", &ListenOptions::default(), |_peer| Echo)?;
        sim.limit_descriptors(sim.descriptors() + 2);
        let mut peers: Vec<_> = (0..6).map(|_| sim.connect("unix:@short")).collect();
        for peer in &mut peers {
            peer.send(b"me too");
            sim.run_until(&mut event_loop, || peer.received() == b"me too")?;
            peer.close();
        }
        Ok(())
    });
}
