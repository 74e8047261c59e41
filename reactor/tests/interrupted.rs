//! No signal and no peer that goes away interrupts the work: calls are tried again, and descriptors do not leak to children.

mod common;
#[path = "common/more.rs"]
mod more;

use std::fs;
use std::io::{Write, pipe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, Silent, TestLoop, Transport, any_port, assert_pattern, pattern};
use more::{Actor, Script, answer_questions, plays};
use reactor::{Balance, ConnectOptions, EventLoop, Limits, ListenOptions, Server, Sharing, SocketAddress};
use rustix::process::Signal;

/// The idle timeout of connections that ask for one.
const IDLE: Duration = Duration::from_secs(1);

/// Signals that the loop was told of.
static SIGNALS: AtomicU64 = AtomicU64::new(0);

fn serve(event_loop: &mut EventLoop) {
    let options = ListenOptions::default();
    let echo = |_: &_| {
        Script::new().data(|cx, input| {
            if input.as_slice() == b"be impatient" {
                cx.set_idle_timeout(IDLE);
            }
            cx.send(input.take())
        })
    };
    event_loop.listen(any_port(), &options, echo).expect("port 0 is free");
    event_loop.listen(&*Transport::Unix.address(), &options, |_| Silent).expect("the name is free");
    event_loop
        .on_signals(&[Signal::USR1.as_raw(), Signal::USR2.as_raw()], |_, _| {
            SIGNALS.fetch_add(1, Ordering::Relaxed);
        })
        .expect("they are signals");
}

/// An echo server in a process of its own, which is stopped, continued and looked into.
#[test]
fn a_server_that_is_signalled() {
    if !plays("a_server_that_is_signalled") {
        return;
    }
    // What the process was started with is not the library's.
    let inherited = descriptors();
    let server = TestLoop::start(Limits::default(), serve);
    let target = server.addresses()[1].clone();
    answer_questions(|question| match question {
        "address" => server.address().to_string(),
        "connect" => {
            let target = target.clone();
            server
                .on_loop(move |cx| cx.connect(target, &ConnectOptions::default(), Silent).map(drop))
                .expect("it can be tried");
            server.eventually("both ends are up", |metrics| metrics.connected == 1 && metrics.accepted == 2);
            "connected".to_owned()
        }
        "flags" => flags_of_descriptors(&inherited),
        "timeouts" => server.metrics().closed.timeout.to_string(),
        "signals" => SIGNALS.load(Ordering::Relaxed).to_string(),
        "panics" => server.metrics().panics.to_string(),
        _ => panic!("{question} is no question"),
    });
}

fn descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("proc is mounted");
    let mut numbers: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    // The descriptor of the listing itself is gone by now.
    numbers.retain(|number| fs::read_link(format!("/proc/self/fd/{number}")).is_ok());
    numbers
}

/// What each descriptor is, and its flags in octal; see proc(5).
fn flags_of_descriptors(inherited: &[String]) -> String {
    let describe = |number: &String| {
        let what = fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim().to_owned();
        Some(format!("{} {flags}", what.display()))
    };
    let made = descriptors().into_iter().filter(|number| !inherited.contains(number));
    made.filter_map(|number| describe(&number)).collect::<Vec<_>>().join(",")
}

#[test]
fn every_descriptor_is_born_nonblocking_and_close_on_exec() {
    const NONBLOCKING: u32 = 0o4000;
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let mut server = Actor::start("a_server_that_is_signalled");
    let mut client = Client::connect(&server.address());
    client.send("hello");
    client.expect("hello");
    server.ask("connect");
    let answer = server.ask("flags");
    let mut kinds = Vec::new();
    for line in answer.split(',') {
        let (what, flags) = line.rsplit_once(' ').expect("a line has two parts");
        let flags = u32::from_str_radix(flags, 8).expect("it is octal");
        assert!(flags & CLOSE_ON_EXEC != 0, "{line}");
        // There is no blocking or nonblocking use of an epoll instance.
        assert!(flags & NONBLOCKING != 0 || what == "anon_inode:[eventpoll]", "{line}");
        kinds.push(what.split([':', '[']).find(|part| !part.is_empty() && *part != "anon_inode").unwrap_or(what));
    }
    for kind in ["eventpoll]", "eventfd]", "signalfd]", "socket"] {
        assert!(kinds.contains(&kind), "no {kind} in {answer}");
    }
    // Two listeners, an accepted connection and both ends of one that it made.
    assert!(kinds.iter().filter(|kind| **kind == "socket").count() >= 5, "{answer}");
}

#[test]
fn a_storm_of_signals_corrupts_nothing() {
    let mut server = Actor::start_with_blocked_signals("USR1,USR2", "a_server_that_is_signalled");
    let mut client = Client::connect(&server.address());
    let mut sender = client.twin();
    const LENGTH: usize = 4 << 20;
    let sends = thread::spawn(move || sender.send(pattern(0, LENGTH)));
    let receives = thread::spawn(move || {
        assert_pattern(0, &client.receive(LENGTH));
        client
    });
    for _ in 0..300 {
        server.signal(Signal::STOP);
        server.signal(Signal::CONT);
        // One that the loop reads from a descriptor, in between.
        server.signal(Signal::USR1);
    }
    sends.join().expect("all is sent");
    let mut client = receives.join().expect("all comes back");
    client.send("and on it goes");
    client.expect("and on it goes");
    assert_eq!(server.count("panics"), 0);
    assert!(server.count("signals") >= 1);
}

#[test]
fn a_loop_that_sleeps_is_stopped_and_continued() {
    let mut server = Actor::start("a_server_that_is_signalled");
    for _ in 0..20 {
        server.stop();
        server.signal(Signal::CONT);
        let mut client = Client::connect(&server.address());
        client.send("hello");
        client.expect("hello");
    }
}

#[test]
fn input_that_came_while_the_process_stood_still_wins_over_the_idle_timeout() {
    let mut server = Actor::start("a_server_that_is_signalled");
    let address = server.address();
    // On a machine that is too busy to stop it in time, the next one tries.
    let mut client =
        (0..20).find_map(|_| stopped_while_fresh(&server, &address)).expect("a process can be stopped in time");
    client.send("are you there?");
    thread::sleep(2 * IDLE);
    server.signal(Signal::CONT);
    client.expect("are you there?");
    client.expect_end();
    assert!(server.count("timeouts") >= 1);
}

/// Stops the process and answers a client whose connection had not been quiet for its idle timeout by then.
fn stopped_while_fresh(server: &Actor, address: &SocketAddress) -> Option<Client> {
    let mut client = Client::connect(address);
    let sent = Instant::now();
    client.send("be impatient");
    client.expect("be impatient");
    server.stop();
    if sent.elapsed() < IDLE {
        return Some(client);
    }
    server.signal(Signal::CONT);
    None
}

/// A server in a process of its own that sends for as long as a client is there.
#[test]
fn a_server_that_talks() {
    if !plays("a_server_that_talks") {
        return;
    }
    let server = TestLoop::serve(|| {
        let script = Script::new().open(|cx| {
            cx.set_timer(Duration::ZERO)?;
            cx.send(vec![0; 1 << 20])
        });
        script.timer(|cx, _| {
            cx.send("one more")?;
            cx.set_timer(Duration::ZERO).map(drop)
        })
    });
    answer_questions(|question| match question {
        "address" => server.address().to_string(),
        "errors" => server.metrics().closed.error.to_string(),
        "pending" => pending_broken_pipes().to_string(),
        "break a pipe" => {
            let (reader, mut writer) = pipe().expect("a pipe can be made");
            drop(reader);
            writer.write_all(b"x").expect_err("nobody reads").to_string()
        }
        _ => panic!("{question} is no question"),
    });
}

/// Threads for which SIGPIPE waits. It is ignored in Rust programs, but one that is blocked is kept all the same.
fn pending_broken_pipes() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("proc is mounted");
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let pending = |status: &String| {
        let line = status.lines().find_map(|line| line.strip_prefix("SigPnd:")).expect("there is such a line");
        let set = u64::from_str_radix(line.trim(), 16).expect("it is a set in hexadecimal");
        set & 1 << (Signal::PIPE.as_raw() - 1) != 0
    };
    statuses.filter(pending).count()
}

#[test]
fn peers_that_go_away_while_we_send_raise_no_signal() {
    let mut server = Actor::start_with_blocked_signals("PIPE", "a_server_that_talks");
    let address = server.address();
    for round in 0..30 {
        let mut client = Client::connect(&address);
        client.receive(1000);
        if round % 2 == 0 { client.reset() } else { drop(client) }
    }
    common::eventually("the server has met them all", || server.count("errors") == 30);
    assert_eq!(server.count("pending"), 0);
    // The proof that it would have been seen.
    server.ask("break a pipe");
    assert_eq!(server.count("pending"), 1);
}

/// A server in a process of its own that drains on SIGTERM. It says how it ended.
#[test]
fn a_server_that_drains_on_signals() {
    if !plays("a_server_that_drains_on_signals") {
        return;
    }
    let builder = Server::builder().threads(2).shutdown_on_signals(Duration::from_secs(60));
    let sharing = Sharing::Handover(Balance::RoundRobin);
    let make = |_: &_| Script::new().echo().stays();
    let builder = builder.listen_with(any_port(), &ListenOptions::default(), sharing, make).expect("port 0 is free");
    let mut server = Some(builder.start().expect("a server can be made"));
    answer_questions(|question| match question {
        "address" => server.as_ref().expect("it runs").local_addresses()[0].to_string(),
        "wait" => {
            let report = server.take().expect("it is waited for once").wait().expect("no loop fails");
            format!("{} {}", report.clean, report.cut)
        }
        _ => panic!("{question} is no question"),
    });
}

#[test]
fn the_first_signal_drains_and_the_second_ends_the_server() {
    for (number, patient) in [(Signal::TERM, true), (Signal::INT, true), (Signal::TERM, false)] {
        let mut server = Actor::start_with_blocked_signals("TERM,INT", "a_server_that_drains_on_signals");
        let address = server.address();
        let mut clients: Vec<_> = (0..4).map(|_| Client::connect(&address)).collect();
        clients.iter_mut().for_each(|client| {
            client.send("hello");
            client.expect("hello");
        });
        server.signal(number);
        // A drain leaves those alone who stay.
        clients.iter_mut().for_each(|client| {
            client.send("hello");
            client.expect("hello");
        });
        if patient {
            drop(clients);
            assert_eq!(server.ask("wait"), "4 0");
        } else {
            server.signal(number);
            assert_eq!(server.ask("wait"), "0 4");
            clients.iter_mut().for_each(Client::expect_end);
        }
        assert!(server.lives(), "no signal kills it");
    }
}
