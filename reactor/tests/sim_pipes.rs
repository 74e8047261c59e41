//! Pipes in the simulated kernel, under many seeds: bytes are exact, ends and errors are told once, edges are not lost, and the loop does
//! not spin.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use reactor::sim::{Faults, PipeReceiver, PipeSender, Random, Seeds, Sim};
use reactor::sources::{ByteReader, ByteWriter, ReaderContext, WriterContext};
use reactor::{CloseReason, EventLoop, Input, Limits, Result, SourceId, TimerId};

/// What the two sources have met.
#[derive(Default)]
struct Ledger {
    ends: u32,
    read_closes: Vec<String>,
    write_closes: Vec<String>,
    drained: u32,
}

type Shared = Rc<RefCell<Ledger>>;

/// Passes what it reads on to a writer, with back-pressure, and at times pauses for no reason.
struct Cat {
    writer: SourceId,
    random: Random,
    ledger: Shared,
}

impl ByteReader<Option<SourceId>> for Cat {
    fn on_bytes(&mut self, cx: &mut ReaderContext<'_, Option<SourceId>>, input: &mut Input<'_>) -> Result {
        assert_eq!(self.ledger.borrow().ends, 0, "bytes after the end");
        let Some(mut writer) = cx.writer(self.writer) else { return Err(ErrorKind::BrokenPipe.into()) };
        // Some of it may stay for the next time.
        let kept = if self.random.chance(0.2) { self.random.index(input.len()) } else { 0 };
        let count = input.len() - kept;
        writer.send(&input.as_slice()[..count])?;
        let congested = writer.is_congested();
        input.consume(count);
        if congested {
            cx.pause();
        } else if self.random.chance(0.1) {
            cx.pause();
            cx.set_timer(Duration::from_millis(self.random.below(30)))?;
        }
        Ok(())
    }

    fn on_end(&mut self, cx: &mut ReaderContext<'_, Option<SourceId>>) -> Result {
        self.ledger.borrow_mut().ends += 1;
        let rest = cx.take_unread();
        let Some(mut writer) = cx.writer(self.writer) else { return Ok(()) };
        writer.send(rest)?;
        writer.finish();
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut ReaderContext<'_, Option<SourceId>>, _timer: TimerId) -> Result {
        let congested = cx.writer(self.writer).is_some_and(|mut writer| writer.is_congested());
        if !congested {
            cx.resume();
        }
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut ReaderContext<'_, Option<SourceId>>, reason: &CloseReason) {
        self.ledger.borrow_mut().read_closes.push(reason.to_string());
    }
}

/// Where the cat puts it. The state names the cat.
struct Bowl {
    ledger: Shared,
}

impl ByteWriter<Option<SourceId>> for Bowl {
    fn on_drained(&mut self, cx: &mut WriterContext<'_, Option<SourceId>>) -> Result {
        assert!(self.ledger.borrow().write_closes.is_empty(), "a callback after the last one");
        self.ledger.borrow_mut().drained += 1;
        let reader = cx.state().expect("the cat is there");
        if let Some(mut reader) = cx.reader(reader) {
            reader.resume();
        }
        Ok(())
    }

    fn on_close(&mut self, _cx: &mut WriterContext<'_, Option<SourceId>>, reason: &CloseReason) {
        let broken = matches!(reason, CloseReason::Error(error) if error.kind() == ErrorKind::BrokenPipe);
        self.ledger.borrow_mut().write_closes.push(if broken { "broken".to_owned() } else { reason.to_string() });
    }
}

fn random_limits(random: &mut Random) -> Limits {
    let mut limits = Limits::default();
    // Enough for a whole read beyond the mark.
    limits.max_output = 1 << 20;
    if random.chance(0.5) {
        limits.low_mark = random.index(500);
        limits.high_mark = limits.low_mark + 1 + random.index(1000);
        limits.read_per_turn = 1 + random.index(2000);
        limits.calls_per_turn = 1 + random.index(4);
    }
    limits
}

/// A loop that passes the bytes of one pipe on to another.
struct World {
    event_loop: EventLoop<Option<SourceId>>,
    sender: PipeSender,
    receiver: PipeReceiver,
    ledger: Shared,
    /// The descriptors that the loop itself has.
    own: usize,
}

impl World {
    fn new(sim: &mut Sim) -> Self {
        let (mut random, ledger) = (sim.random(), Shared::default());
        let mut event_loop = EventLoop::with_limits(random_limits(&mut random), None).unwrap();
        let own = sim.descriptors();
        let ((to_read, sender), (to_write, receiver)) = (sim.pipe_to_read().unwrap(), sim.pipe_to_write().unwrap());
        let mut cx = event_loop.context();
        let writer = cx.add_writer(to_write, Bowl { ledger: Rc::clone(&ledger) }).unwrap();
        let reader = cx.add_reader(to_read, Cat { writer, random, ledger: Rc::clone(&ledger) }).unwrap();
        *cx.state() = Some(reader);
        Self { event_loop, sender, receiver, ledger, own }
    }

    /// Runs on, and fails if turns are made in which nothing happens.
    fn run(&mut self, sim: &Sim, random: &mut Random) {
        let before = (sim.progress(), self.event_loop.metrics().turns);
        sim.run_for(&mut self.event_loop, Duration::from_millis(random.below(50))).unwrap();
        let (progress, turns) = (sim.progress() - before.0, self.event_loop.metrics().turns - before.1);
        assert!(turns <= 20 + 4 * progress, "the loop spins: {turns} turns and {progress} calls");
    }

    fn expect_gone(&self, sim: &Sim) {
        assert_eq!(self.event_loop.metrics().sources, 0);
        assert_eq!(sim.descriptors(), self.own, "{}", sim.dump());
    }
}

fn random_bytes(random: &mut Random, most: usize) -> Vec<u8> {
    (0..random.index(most)).map(|_| random.bits().to_le_bytes()[0]).collect()
}

#[test]
fn bytes_and_the_end_pass_through_two_pipes() {
    Seeds::first(400).check(&Faults::default(), |sim| {
        let (mut random, mut world) = (sim.random(), World::new(sim));
        let to_say = random_bytes(&mut random, 200_000);
        let (mut said, mut heard) = (0, Vec::new());
        while said < to_say.len() {
            let count = (random.magnitude(20_000) as usize).min(to_say.len() - said);
            world.sender.send(&to_say[said..said + count]);
            said += count;
            match random.below(5) {
                0 => world.receiver.stop_reading(),
                1 => world.receiver.resume_reading(),
                _ => heard.extend(world.receiver.take()),
            }
            world.run(sim, &mut random);
        }
        world.sender.finish();
        world.receiver.resume_reading();
        let World { event_loop, receiver, .. } = &mut world;
        sim.run_until(event_loop, || receiver.has_ended())?;
        heard.extend(world.receiver.take());
        assert!(heard == to_say, "{} bytes of {}", heard.len(), to_say.len());
        sim.run_for(&mut world.event_loop, Duration::from_secs(10))?;
        let ledger = world.ledger.borrow();
        assert_eq!((ledger.ends, ledger.read_closes.len(), ledger.write_closes.len()), (1, 1, 1));
        assert_eq!(
            (ledger.read_closes[0].as_str(), world.sender.is_broken()),
            (CloseReason::Eof.to_string().as_str(), false)
        );
        assert_eq!(ledger.write_closes[0], CloseReason::Closed.to_string());
        let metrics = world.event_loop.metrics();
        assert_eq!((metrics.bytes_in, metrics.bytes_out), (to_say.len() as u64, to_say.len() as u64));
        world.expect_gone(sim);
        Ok(())
    });
}

#[test]
fn whoever_goes_away_each_source_ends_once() {
    Seeds::first(400).from(1000).check(&Faults::default(), |sim| {
        let (mut random, world) = (sim.random(), World::new(sim));
        let World { mut event_loop, mut sender, mut receiver, ledger, .. } = world;
        for _ in 0..random.below(10) {
            sender.send(&random_bytes(&mut random, 20_000));
            if random.chance(0.3) {
                receiver.stop_reading();
            }
            sim.run_for(&mut event_loop, Duration::from_millis(random.below(50)))?;
        }
        if random.chance(0.5) {
            drop(receiver);
            sim.run_for(&mut event_loop, Duration::from_secs(10))?;
            assert_eq!(ledger.borrow().write_closes, ["broken"]);
            // The cat learns of it when it has something for the bowl, and then the sender when it writes again.
            sender.send(b"more");
            sim.run_for(&mut event_loop, Duration::from_secs(10))?;
            if ledger.borrow().read_closes.is_empty() {
                // It waits for the bowl to be drained, which will never be.
                drop(sender);
            } else {
                sender.send(b"and more");
                sim.run_for(&mut event_loop, Duration::from_secs(10))?;
                assert!(sender.is_broken());
            }
        } else {
            drop(sender);
            receiver.resume_reading();
            sim.run_until(&mut event_loop, || receiver.has_ended())?;
            sim.run_for(&mut event_loop, Duration::from_secs(10))?;
            let ledger = ledger.borrow();
            assert_eq!((ledger.ends, ledger.read_closes.len(), ledger.write_closes.len()), (1, 1, 1));
        }
        event_loop.context().shutdown(Duration::from_secs(1));
        event_loop.run()?;
        let ledger = ledger.borrow();
        assert_eq!((ledger.read_closes.len(), ledger.write_closes.len()), (1, 1));
        drop(event_loop);
        assert_eq!(sim.descriptors(), 0, "{}", sim.dump());
        Ok(())
    });
}

#[test]
fn both_ends_may_be_in_one_loop() {
    Seeds::first(200).from(2000).check(&Faults::default(), |sim| {
        let (mut random, ledger) = (sim.random(), Shared::default());
        let mut event_loop = EventLoop::with_limits(random_limits(&mut random), None)?;
        let ((first_read, first_write), (to_write, mut receiver)) = (sim.pipe()?, sim.pipe_to_write()?);
        let mut cx = event_loop.context();
        let writer = cx.add_writer(to_write, Bowl { ledger: Rc::clone(&ledger) })?;
        let cat = Cat { writer, random: sim.random(), ledger: Rc::clone(&ledger) };
        *cx.state() = Some(cx.add_reader(first_read, cat)?);
        let first = cx.add_writer(first_write, ())?;
        let to_say = random_bytes(&mut random, 300_000);
        let mut first = cx.writer(first).expect("it was added");
        first.send(&to_say)?;
        first.finish();
        sim.run_until(&mut event_loop, || receiver.has_ended())?;
        assert!(receiver.take() == to_say);
        assert_eq!(ledger.borrow().ends, 1);
        Ok(())
    });
}

#[test]
fn one_seed_makes_one_trace() {
    let trace = |seed| {
        let mut sim = Sim::with_faults(seed, Faults::default());
        let (mut random, mut world) = (sim.random(), World::new(&mut sim));
        world.sender.send(&random_bytes(&mut random, 100_000));
        world.sender.finish();
        let World { event_loop, receiver, .. } = &mut world;
        sim.run_until(event_loop, || receiver.has_ended()).unwrap();
        drop(world);
        sim.trace()
    };
    Seeds::first(20).for_each(|seed| {
        assert_eq!(trace(seed), trace(seed));
        assert_ne!(trace(seed), trace(seed + 1000));
        Ok(())
    });
}
