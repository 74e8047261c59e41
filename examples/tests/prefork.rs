//! Children share the listener, are replaced when they crash, drain with their parent, and none is left behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::net::SocketAddr;

use common::{LineClient, Program, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// A parent with its children, by number.
fn serve(processes: usize) -> (Program, SocketAddr, Vec<u32>) {
    let count = processes.to_string();
    let (mut parent, address) = Program::serve("prefork", &["127.0.0.1:0", "--processes", &count]);
    let children = (0..processes).map(|_| number_in(&parent.stdout.wait_for(" serves"))).collect();
    (parent, address, children)
}

/// The number in `process 4711 ...`.
fn number_in(line: &str) -> u32 {
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Whether a process runs; one that nobody has asked for yet does not.
fn runs(process: u32) -> bool {
    state(&format!("/proc/{process}")).is_some_and(|state| !"ZX".contains(state))
}

/// Whether all threads of a process are stopped: they are told one by one.
fn is_stopped(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.into_iter().all(|thread| state(thread.unwrap().path().to_str().unwrap()) == Some('T'))
}

/// The letter of proc_pid_stat(5) for the state of a process or a thread, if it is there.
fn state(directory: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("{directory}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

fn kill(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn a_child_that_crashes_is_replaced_and_no_zombie_stays() {
    let (mut parent, address, children) = serve(2);
    let mut client = LineClient::connect(address);
    let served_by = number_in(&client.hear().unwrap());
    assert!(children.contains(&served_by));
    client.say("hello");
    client.expect("hello");
    kill(served_by, Signal::KILL);
    assert_eq!(parent.stdout.next(), format!("process {served_by} ended: signal: 9 (SIGKILL)"));
    let heir = number_in(&parent.stdout.wait_for(" serves"));
    let list = format!("/proc/{0}/task/{0}/children", parent.child.id());
    let mut left: Vec<u32> =
        fs::read_to_string(list).unwrap().split_whitespace().map(|number| number.parse().unwrap()).collect();
    left.sort_unstable();
    let mut wanted = vec![heir, children.into_iter().find(|child| *child != served_by).unwrap()];
    wanted.sort_unstable();
    assert_eq!(left, wanted);
    assert!(left.into_iter().all(runs));
    // Both accept: the one that stayed is stopped, so that the heir alone is left to answer.
    let stayed = wanted.into_iter().find(|child| *child != heir).unwrap();
    kill(stayed, Signal::STOP);
    wait_until("it is stopped", || is_stopped(stayed));
    assert_eq!(number_in(&LineClient::connect(address).hear().unwrap()), heir);
    kill(stayed, Signal::CONT);
}

#[test]
fn the_parent_drains_and_reaps_every_child() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut parent, address, children) = serve(3);
        let mut clients: Vec<_> = (0..6).map(|_| LineClient::connect(address)).collect();
        for client in &mut clients {
            assert!(children.contains(&number_in(&client.hear().unwrap())));
        }
        parent.signal(signal);
        // Drained, not cut: the end of the stream, no reset.
        clients.iter_mut().for_each(|client| assert_eq!(client.hear(), None));
        let mut ended: Vec<_> = (0..3).map(|_| parent.stdout.wait_for(" ended: exit status: 0")).collect();
        parent.succeed();
        ended.sort();
        let mut wanted: Vec<_> =
            children.iter().map(|child| format!("process {child} ended: exit status: 0")).collect();
        wanted.sort();
        assert_eq!(ended, wanted);
        assert!(!children.into_iter().any(runs));
    }
}

#[test]
fn children_do_not_outlive_a_parent_that_is_killed() {
    let (mut parent, _, children) = serve(2);
    parent.signal(Signal::KILL);
    parent.wait();
    wait_until("the children end", || !children.iter().copied().any(runs));
}
