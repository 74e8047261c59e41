//! What cannot be made for want of descriptors is an error at once, wherever the want is met, and leaves nothing behind.

mod common;
#[path = "common/more.rs"]
mod more;

use std::fs::File;
use std::io;
use std::iter;

use common::{Echo, TestLoop, Vacant, any_port, descriptors, eventually};
use more::{Actor, answer_questions, plays};
use reactor::{ConnectOptions, EventLoop, ListenOptions, Server};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

/// Makes something with no descriptor to be had, then with one, and so on until it is made; says with how many that was.
fn descriptors_for<T>(mut make: impl FnMut() -> io::Result<T>) -> String {
    let before = descriptors();
    for free in 0.. {
        let mut taken: Vec<_> = iter::from_fn(|| File::open("/dev/null").ok()).collect();
        taken.truncate(taken.len() - free);
        let made = make();
        drop(taken);
        let is_made = made.is_ok();
        drop(made);
        eventually("all that was made is closed", || descriptors() == before);
        if is_made {
            return free.to_string();
        }
    }
    unreachable!("there is an end to all numbers")
}

fn listening() -> io::Result<EventLoop> {
    let mut event_loop = EventLoop::new(())?;
    event_loop.listen(any_port(), &ListenOptions::default(), |_| Echo)?;
    Ok(event_loop)
}

fn signalled() -> io::Result<EventLoop> {
    let mut event_loop = EventLoop::new(())?;
    event_loop.on_signals(&[Signal::USR1.as_raw()], |_, _| ())?;
    Ok(event_loop)
}

fn connecting() -> String {
    let (server, nobody) = (TestLoop::serve(|| Echo), Vacant::new());
    descriptors_for(|| {
        let target = nobody.address;
        let begun = server.on_loop(move |cx| cx.connect(target, &ConnectOptions::default(), Echo).map(drop));
        server.eventually("nobody listens there", |metrics| metrics.open == 0);
        begun
    })
}

/// A process of its own with few descriptors.
#[test]
fn a_poor_process() {
    if !plays("a_poor_process") {
        return;
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).expect("a limit may be lowered");
    answer_questions(|question| match question {
        "loop" => descriptors_for(|| EventLoop::new(())),
        "listening loop" => descriptors_for(listening),
        "signalled loop" => descriptors_for(signalled),
        "connection" => connecting(),
        "server" => descriptors_for(|| Server::builder().threads(3).listen(any_port(), |_| Echo)?.start()),
        _ => panic!("{question} is no question"),
    });
}

#[test]
fn a_want_of_descriptors_is_an_error_and_leaves_nothing_behind() {
    let mut process = Actor::start("a_poor_process");
    // A loop has an epoll instance, a waker, and a descriptor in reserve.
    for (what, needs) in [("loop", 3), ("listening loop", 4), ("signalled loop", 4), ("connection", 1), ("server", 10)]
    {
        assert_eq!(process.count(what), needs, "{what}");
    }
    assert!(process.lives());
}
