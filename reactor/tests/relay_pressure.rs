//! A side that stops reading stops the reading of the other: what waits between them stays at the marks.

#![cfg(not(miri))]

mod common;
#[path = "common/relays.rs"]
mod relays;

use common::{Client, Transport};
use reactor::Limits;
use relays::{Relays, expect_pattern, pass_both_ways, send_until_it_stands};

fn limits(pipes: usize) -> Limits {
    let mut limits = Limits::default();
    limits.relay_pipes = pipes;
    limits
}

/// Sends to one that does not read, until nothing moves any more.
fn stall(relays: &Relays, (from, to): (&mut Client, &mut Client)) {
    let sent = send_until_it_stands(from);
    relays.server.assert_quiet();
    let (high_mark, metrics) = (Limits::default().high_mark as u64, relays.server.metrics());
    assert!(metrics.bytes_in < sent as u64, "the loop was not stopped");
    assert!(metrics.bytes_in > metrics.bytes_out, "nothing waits");
    assert!(metrics.bytes_in - metrics.bytes_out <= high_mark, "{} wait", metrics.bytes_in - metrics.bytes_out);
    assert!(metrics.buffered <= high_mark, "{} wait in memory", metrics.buffered);
    from.end();
    expect_pattern(to, 0, sent);
}

#[test]
fn a_target_that_does_not_read_stops_the_client() {
    for pipes in [64, 0] {
        let relays = Relays::start(Transport::Tcp, limits(pipes));
        let (mut client, mut far) = relays.pair();
        stall(&relays, (&mut client, &mut far));
    }
}

#[test]
fn a_client_that_does_not_read_stops_the_target() {
    for pipes in [64, 0] {
        let relays = Relays::start(Transport::Tcp, limits(pipes));
        let (mut client, mut far) = relays.pair();
        stall(&relays, (&mut far, &mut client));
    }
}

#[test]
fn the_other_direction_goes_on_meanwhile() {
    let relays = Relays::start(Transport::Tcp, Limits::default());
    let (mut client, mut far) = relays.pair();
    let sent = send_until_it_stands(&mut client);
    for _ in 0..100 {
        far.send("against the stream");
        client.expect("against the stream");
    }
    client.end();
    expect_pattern(&mut far, 0, sent);
}

#[test]
fn a_stalled_relay_does_not_hold_up_others() {
    let relays = Relays::start(Transport::Tcp, limits(1));
    let (mut stalled, mut far) = relays.pair();
    let sent = send_until_it_stands(&mut stalled);
    pass_both_ways(&relays.pair(), 8 << 20);
    stalled.end();
    expect_pattern(&mut far, 0, sent);
}
