//! Jobs that block run under the simulation too: their threads take turns with the loop's, and sleep in virtual time.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use reactor::sim::{self, Faults, PeerState, Seeds};
use reactor::{Context, Handler, Input, Result, Server};

/// Answers each byte with itself, after a job that takes so many seconds.
struct Slow;

impl Handler for Slow {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        for &byte in input.take() {
            let job = move || {
                sim::sleep(Duration::from_secs(byte.into()));
                byte
            };
            cx.spawn_blocking(job, |cx, byte| cx.send([byte?]))?;
        }
        Ok(())
    }
}

#[test]
fn the_shortest_job_is_done_first_and_one_without_a_connection_is_left_behind() {
    Seeds::first(100).check(&Faults::default(), |sim| {
        let server = Server::builder().threads(2).listen("127.0.0.1:7", |_peer| Slow)?.start()?;
        let mut peer = sim.connect("127.0.0.1:7");
        let begun = sim.now();
        peer.send(&[40, 30, 20, 200]);
        sim.wait_until(|| peer.received_len() == 3);
        assert_eq!(peer.received(), [20, 30, 40]);
        assert!(sim.now() - begun >= Duration::from_secs(40));
        let begun = sim.now();
        // Its connection is closed, so nobody waits for the last job but, for some seconds, the end of its threads.
        let report = server.handle().shutdown(Duration::from_secs(3600))?;
        assert_eq!((report.clean, report.cut), (1, 0));
        drop(server);
        assert!(sim.now() - begun < Duration::from_secs(10));
        sim.wait_until(|| peer.state() == PeerState::Ended);
        Ok(())
    });
}
