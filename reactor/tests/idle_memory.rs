//! An idle connection holds no buffer: it costs the loop its slot and nothing else.

mod common;

use std::fs;
use std::io::Read;
use std::time::Duration;

use common::{Client, Echo, TestLoop, raise_descriptor_limit};
use reactor::{Limits, ListenOptions};

/// Bytes of memory that the process has for itself alone.
fn anonymous_memory() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("proc is mounted");
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:")).expect("the kernel tells it");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    1024 * kib.expect("a number of kilobytes")
}

fn idle_server() -> TestLoop {
    TestLoop::start(Limits::default(), |event_loop| {
        let options = ListenOptions::default().idle_timeout(Duration::from_secs(3600));
        event_loop.listen("127.0.0.1:0", &options, |_| Echo).expect("port 0 is free");
    })
}

/// Connects clients, each of which is served once, until there are `count`.
fn grow_to(server: &TestLoop, clients: &mut Vec<Client>, count: usize) {
    while clients.len() < count {
        let mut client = server.client();
        client.send("touch");
        let mut answer = [0; 5];
        client.read_exact(&mut answer).expect("it is served");
        clients.push(client);
    }
}

/// One test, alone in its process, so that nothing else moves its memory.
#[test]
fn an_idle_connection_costs_its_slot() {
    // Both ends of each connection are in this process.
    let most = usize::try_from(raise_descriptor_limit()).unwrap_or(usize::MAX).saturating_sub(500) / 2;
    let many = most.min(8000);
    let few = many / 8;
    let server = idle_server();
    let mut clients = Vec::with_capacity(many);
    grow_to(&server, &mut clients, few);
    let before = anonymous_memory();
    grow_to(&server, &mut clients, many);
    let grown = anonymous_memory().saturating_sub(before);
    let each = grown / (many - few) as u64;
    let metrics = server.metrics();
    assert_eq!((metrics.open, metrics.buffered), (many as u64, 0));
    // The 8 bytes in which the test keeps the client are among them.
    assert!(each <= 96, "{each} bytes for each of {} idle connections", many - few);
}
