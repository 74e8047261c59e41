//! What waits in memory under the simulated kernel: random sends to readers who stop and go on. The marks hold after every call and
//! turn, those with the most are closed and no more than it takes, and what has gone counts no more.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use reactor::sim::{Faults, Peer, Random, Seeds, Sim};
use reactor::{
    CloseReason, ConnId, Context, EventLoop, Handler, Input, Limits, ListenOptions, MemoryBudget, Overflow, Result,
};

/// Bytes of input that each connection has left, by its name.
#[derive(Default)]
struct Kept {
    left: BTreeMap<ConnId, usize>,
    closed: Vec<&'static str>,
}

/// Leaves what comes, up to so much, and reads no more.
struct Keeper(usize);

impl Handler<Kept> for Keeper {
    fn on_open(&mut self, cx: &mut Context<'_, Kept>) -> Result {
        let me = cx.id();
        cx.state().left.insert(me, 0);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_, Kept>, input: &mut Input<'_>) -> Result {
        let me = cx.id();
        input.consume(input.len().saturating_sub(self.0));
        cx.state().left.insert(me, input.len());
        cx.pause();
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_, Kept>, reason: &CloseReason) {
        let me = cx.id();
        cx.state().left.remove(&me);
        let name = if matches!(reason, CloseReason::Overflow(Overflow::Memory)) { "memory" } else { reason.name() };
        cx.state().closed.push(name);
    }
}

/// A loop whose connections have small buffers in the kernel, so that what is sent waits in the loop.
fn serve(limits: Limits, port: usize, keeps: usize) -> io::Result<EventLoop<Kept>> {
    let mut event_loop = EventLoop::with_limits(limits, Kept::default())?;
    let mut options = ListenOptions::default();
    options.socket.send_buffer = Some(500);
    event_loop.listen(format!("127.0.0.1:{port}"), &options, move |_peer| Keeper(keeps))?;
    Ok(event_loop)
}

fn connect(sim: &Sim, port: usize) -> Peer {
    let mut peer = sim.connect(format!("127.0.0.1:{port}"));
    peer.stop_reading();
    peer.set_receive_buffer(100);
    peer
}

/// What waits on each open connection.
fn waiting(event_loop: &mut EventLoop<Kept>) -> BTreeMap<ConnId, usize> {
    let left = event_loop.state().left.clone();
    let mut cx = event_loop.context();
    left.into_iter().filter_map(|(id, left)| cx.peer(id).map(|peer| (id, peer.queued() + left))).collect()
}

/// Of those that waited, these have been closed: they had the most, and no fewer were enough.
fn check_closed(before: &BTreeMap<ConnId, usize>, after: &BTreeMap<ConnId, usize>, goal: usize) {
    let (stayed, closed): (Vec<_>, Vec<_>) = before.iter().partition(|(id, _)| after.contains_key(id));
    let Some(least) = closed.iter().map(|(_, bytes)| **bytes).min() else { return };
    let most = stayed.iter().map(|(_, bytes)| **bytes).max().unwrap_or(0);
    assert!(least >= most, "one with {least} bytes was closed, and one with {most} was not");
    let total: usize = after.values().sum();
    assert!(total <= goal, "{total} bytes wait after some were closed, of {goal} at most");
    assert!(total + least > goal, "one with {least} bytes was closed, and {total} of {goal} would have been enough");
}

/// A client reads again, for a moment or for good, or sends, or goes.
fn act(peer: &mut Peer, random: &mut Random) {
    match random.below(8) {
        0 | 1 => peer.stop_reading(),
        2 => peer.resume_reading(),
        3 => peer.set_receive_buffer(random.magnitude(100_000) as usize),
        4 if random.chance(0.2) => peer.reset(),
        _ => peer.send(&vec![7; random.magnitude(5000) as usize]),
    }
}

/// Sends to one of the connections, which may cost some of them their lives.
fn send(event_loop: &mut EventLoop<Kept>, limits: &Limits, random: &mut Random) {
    let mut before = waiting(event_loop);
    let Some(id) = before.keys().nth(random.index(before.len())).copied() else { return };
    let count = random.magnitude(limits.memory_soft as u64) as usize;
    event_loop.context().send_to(id, vec![7; count]);
    *before.get_mut(&id).unwrap() += count;
    let after = waiting(event_loop);
    let total: usize = before.values().sum();
    if total <= limits.memory_hard {
        assert_eq!(after, before, "nothing is above the mark of {}", limits.memory_hard);
    } else {
        check_closed(&before, &after, limits.memory_soft);
        assert!(after.len() < before.len(), "{total} bytes wait, and nobody was closed");
    }
}

fn life(seed: u64, faults: &Faults) -> io::Result<()> {
    let mut sim = Sim::with_faults(seed, faults.clone());
    let mut random = sim.random();
    let mut limits = Limits::default();
    limits.memory_soft = 1 + random.index(50_000);
    limits.memory_hard = limits.memory_soft + random.index(50_000);
    limits.high_mark = random.magnitude(100_000) as usize;
    limits.low_mark = random.index(limits.high_mark + 1);
    let mut event_loop = serve(limits.clone(), 7, random.index(5000))?;
    let mut peers: Vec<_> = (0..1 + random.index(12)).map(|_| connect(&sim, 7)).collect();
    for _ in 0..100 {
        let index = random.index(peers.len());
        act(&mut peers[index], &mut random);
        if random.chance(0.7) {
            send(&mut event_loop, &limits, &mut random);
        }
        event_loop.turn(Some(Duration::from_micros(random.magnitude(10_000))))?;
        let (held, buffered) = (waiting(&mut event_loop), event_loop.metrics().buffered);
        assert_eq!(held.values().sum::<usize>() as u64, buffered);
        assert!(buffered <= limits.memory_hard as u64, "{buffered} bytes wait: {limits:?}");
    }
    leave(&sim, &mut event_loop, peers)
}

/// When everybody has read what there is, nobody waits to be let in; when all have gone, nothing is counted.
fn leave(sim: &Sim, event_loop: &mut EventLoop<Kept>, mut peers: Vec<Peer>) -> io::Result<()> {
    sim.set_faults(Faults::none());
    for peer in &mut peers {
        peer.set_receive_buffer(1 << 20);
        peer.resume_reading();
    }
    sim.run_for(event_loop, Duration::from_secs(60))?;
    let left: usize = event_loop.state().left.values().sum();
    assert_eq!(event_loop.metrics().buffered, left as u64, "{}", sim.dump());
    peers.iter_mut().for_each(Peer::reset);
    sim.run_for(event_loop, Duration::from_secs(60))?;
    let metrics = event_loop.metrics();
    assert_eq!((metrics.open, metrics.buffered, sim.waiting_clients()), (0, 0, 0), "{}", sim.dump());
    Ok(())
}

#[test]
fn above_the_hard_mark_those_with_the_most_are_closed_and_no_more_than_it_takes() {
    Seeds::first(SEEDS).for_each(|seed| life(seed, &Faults::none()));
    Seeds::first(SEEDS).from(10_000).for_each(|seed| life(seed, &Faults::default()));
}

/// Loops tell each other of so many bytes at a time.
const GRANULE: usize = 64 << 10;

#[test]
fn loops_that_share_a_budget_keep_it_together() {
    Seeds::first(SEEDS).check(&Faults::default(), |sim| {
        let mut random = sim.random();
        let count = 1 + random.index(4);
        let soft = GRANULE * (1 + random.index(10));
        let hard = soft + random.index(10 * GRANULE);
        let budget = MemoryBudget::new(soft, hard);
        let (mut loops, mut peers) = (Vec::new(), Vec::new());
        for port in 0..count {
            let mut event_loop = serve(Limits::default(), port + 1, 0)?;
            event_loop.set_memory_budget(&budget);
            loops.push(event_loop);
            peers.extend((0..1 + random.index(5)).map(|_| connect(sim, port + 1)));
        }
        for _ in 0..60 {
            let index = random.index(peers.len());
            act(&mut peers[index], &mut random);
            let event_loop = &mut loops[random.index(count)];
            send_in_turn(event_loop, &budget, (hard, count), &mut random)?;
            // Who has too much is woken, and frees it.
            for _ in 0..2 {
                loops.iter_mut().try_for_each(|event_loop| event_loop.turn(Some(Duration::ZERO)))?;
            }
            let total: u64 = loops.iter().map(|event_loop| event_loop.metrics().buffered).sum();
            assert!(total <= (hard + count * GRANULE) as u64, "{total} bytes wait in {count} loops, of {hard}");
        }
        peers.iter_mut().for_each(Peer::reset);
        for event_loop in &mut loops {
            sim.run_for(event_loop, Duration::from_secs(60))?;
        }
        assert_eq!(budget.in_use(), 0, "{}", sim.dump());
        let reasons = loops.iter().flat_map(|event_loop| event_loop.state().closed.iter());
        assert!(
            reasons.clone().all(|reason| ["memory", "error"].contains(reason)),
            "{:?}",
            reasons.collect::<Vec<_>>()
        );
        Ok(())
    });
}

/// Sends to a connection of a loop. If that closes any, the loop had its share of what is too much.
fn send_in_turn(
    event_loop: &mut EventLoop<Kept>,
    budget: &MemoryBudget,
    (hard, loops): (usize, usize),
    random: &mut Random,
) -> io::Result<()> {
    let mut before = waiting(event_loop);
    let Some(id) = before.keys().nth(random.index(before.len())).copied() else { return Ok(()) };
    let size = random.magnitude(300_000) as usize;
    event_loop.context().send_to(id, vec![7; size]);
    *before.get_mut(&id).unwrap() += size;
    let after = waiting(event_loop);
    if after.len() < before.len() {
        let own: usize = before.values().sum();
        assert!(own * loops >= hard, "a loop with {own} bytes of {hard} frees some, and there are {loops} loops");
        let (stayed, closed): (Vec<_>, Vec<_>) = before.iter().partition(|(id, _)| after.contains_key(id));
        let (least, most) =
            (closed.iter().map(|(_, bytes)| **bytes).min(), stayed.iter().map(|(_, bytes)| **bytes).max());
        assert!(least >= most, "one with {least:?} bytes was closed, and one with {most:?} was not");
        assert!(budget.in_use() <= hard as u64 || after.values().all(|bytes| *bytes == 0));
    }
    Ok(())
}

/// For each test here. `REACTOR_SEEDS` says otherwise.
const SEEDS: u64 = 100;
