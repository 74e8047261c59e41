//! Accepting survives every shortage: it does not end, does not spin, and strands nobody who waits.

mod common;
#[path = "common/more.rs"]
mod more;

use std::fs::File;
use std::io::Read;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Echo, TestLoop, Transport, any_port, eventually};
use more::{Actor, answer_questions, plays};
use reactor::{Limits, ListenOptions};
use rustix::process::{Resource, Rlimit, setrlimit};

/// An echo server in a process of its own with few descriptors, which the test has it use up and give back.
fn serve_with_few_descriptors(patience: Duration) {
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).expect("a limit may be lowered");
    let mut limits = Limits::default();
    limits.accept_retry = Duration::from_millis(20);
    limits.accept_patience = patience;
    let server = TestLoop::serve_with(limits, Transport::Tcp, || Echo);
    let mut taken = Vec::new();
    answer_questions(|question| {
        let metrics = server.metrics();
        match question.split_once(' ') {
            Some(("starve", left)) => {
                taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
                taken.truncate(taken.len() - left.parse::<usize>().expect("it is a number"));
                "starved".to_owned()
            }
            None if question == "feed" => {
                taken.clear();
                "fed".to_owned()
            }
            None if question == "address" => server.address().to_string(),
            None if question == "timers" => metrics.timers.to_string(),
            None if question == "open" => metrics.open.to_string(),
            None if question == "turns" => metrics.turns.to_string(),
            None if question == "refused" => metrics.refused.to_string(),
            None if question == "accepted" => metrics.accepted.to_string(),
            None if question == "shortages" => metrics.accept_shortages.to_string(),
            _ => panic!("{question} is no question"),
        }
    });
}

#[test]
fn a_patient_server() {
    if plays("a_patient_server") {
        serve_with_few_descriptors(Duration::from_secs(3600));
    }
}

#[test]
fn an_impatient_server() {
    if plays("an_impatient_server") {
        serve_with_few_descriptors(Duration::from_millis(100));
    }
}

#[track_caller]
fn assert_served(client: &mut Client) {
    client.send("hello");
    client.expect("hello");
}

#[test]
fn a_shortage_is_waited_for_without_spinning() {
    let mut server = Actor::start("a_patient_server");
    let address = server.address();
    server.ask("starve 3");
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(&address)).collect();
    clients[..3].iter_mut().for_each(assert_served);
    eventually("the shortage is met", || server.count("shortages") > 0);
    let (start, before) = (Instant::now(), server.count("turns"));
    eventually("it tries again and again", || server.count("turns") >= before + 75);
    let (turns, time) = (server.count("turns") - before, start.elapsed());
    // It tries again every 20 ms, and each try is a turn or two.
    assert!(u128::from(turns) <= 10 + time.as_millis() / 20 * 3, "{turns} turns in a shortage of {time:?}");
    assert_eq!((server.count("accepted"), server.count("refused")), (3, 0));
    server.ask("feed");
    clients.iter_mut().for_each(assert_served);
    assert!(server.lives());
}

#[test]
fn each_close_lets_the_next_one_in() {
    let mut server = Actor::start("a_patient_server");
    let address = server.address();
    server.ask("starve 2");
    let clients: Vec<_> = (0..30).map(|_| Client::connect(&address)).collect();
    for mut client in clients {
        assert_served(&mut client);
    }
    assert_eq!((server.count("accepted"), server.count("refused")), (30, 0));
}

#[test]
fn who_waits_for_too_long_is_turned_away() {
    let mut server = Actor::start("an_impatient_server");
    let address = server.address();
    for round in 1..=3 {
        server.ask("starve 0");
        let mut clients: Vec<_> = (0..10).map(|_| Client::connect(&address)).collect();
        for client in &mut clients {
            assert_eq!(client.read(&mut [0; 16]).expect("it ends without a reset"), 0);
        }
        eventually("all are counted", || server.count("refused") == 10 * round);
        server.ask("feed");
        assert_served(&mut Client::connect(&address));
        assert_eq!(server.count("accepted"), round);
        // Its descriptor must not be free for one of the next clients.
        eventually("it is gone", || server.count("open") == 0);
    }
}

#[test]
fn a_shortage_that_is_over_is_forgotten() {
    let mut server = Actor::start("an_impatient_server");
    let address = server.address();
    for round in 1..=3 {
        server.ask("starve 0");
        Client::connect(&address).expect_end();
        eventually("it is counted", || server.count("refused") == round);
        // Each has a patience of its own, for it has a beginning of its own.
        assert_eq!(server.count("shortages"), round);
        server.ask("feed");
        eventually("nobody waits, which ends it", || server.count("timers") == 0);
    }
    assert_eq!(server.count("accepted"), 0);
}

#[test]
fn who_resets_in_the_backlog_harms_nobody() {
    for transport in Transport::ALL {
        let server = TestLoop::serve_with(Limits::default(), transport, || Echo);
        let mut stay = server.hold_up(|| {
            let (mut stay, mut go) = (Vec::new(), Vec::new());
            for _ in 0..20 {
                stay.push(server.client());
                go.push(server.client());
            }
            go.into_iter().for_each(Client::reset);
            stay
        });
        stay.iter_mut().for_each(assert_served);
        server.eventually("only those who stay are left", |metrics| metrics.open == 20);
        server.assert_quiet();
    }
}

#[test]
fn a_burst_beyond_the_budget_is_accepted_whole() {
    let mut limits = Limits::default();
    limits.accepts_per_turn = 3;
    let server = TestLoop::serve_with(limits, Transport::Tcp, || Echo);
    let mut clients = server.hold_up(|| (0..50).map(|_| server.client()).collect::<Vec<_>>());
    clients.iter_mut().for_each(assert_served);
    assert_eq!(server.metrics().accepted, 50);
}

#[test]
fn who_did_not_fit_into_the_backlog_is_served_when_there_is_room() {
    let server = TestLoop::start(Limits::default(), |event_loop| {
        event_loop.listen(any_port(), &ListenOptions::default().backlog(1), |_| Echo).expect("port 0 is free");
    });
    let (sender, connected) = mpsc::channel();
    let clients: Vec<_> = server.hold_up(|| {
        let visit = |_| {
            let (address, sender) = (server.address().clone(), sender.clone());
            thread::spawn(move || {
                // The kernel tries again after a second, and then more rarely.
                let mut client = Client::connect(&address);
                sender.send(()).expect("the test waits");
                assert_served(&mut client);
            })
        };
        let clients = (0..8).map(visit).collect();
        connected.recv_timeout(common::DEADLINE).expect("one has room");
        clients
    });
    clients.into_iter().for_each(|client| client.join().expect("each is served"));
    assert_eq!(server.metrics().accepted, 8);
}
