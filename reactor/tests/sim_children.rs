//! Child processes in the simulated kernel, under many seeds: each end is told once with its status, what they say and hear is exact, and
//! none is left as a zombie.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use reactor::sim::{ChildState, Faults, Random, Seeds, Sim, SimChild};
use reactor::sources::{AtEnd, ByteReader, ChildOptions, ReaderContext, Spawned};
use reactor::{EventLoop, Input, Result};

/// What is known of one child.
#[derive(Default)]
struct Known {
    said: Vec<u8>,
    ended: u32,
    exits: Vec<i32>,
}

type Shared = Rc<RefCell<Known>>;

struct Output(Shared);

impl ByteReader for Output {
    fn on_bytes(&mut self, _cx: &mut ReaderContext<'_>, input: &mut Input<'_>) -> Result {
        self.0.borrow_mut().said.extend(input.take());
        Ok(())
    }

    fn on_end(&mut self, _cx: &mut ReaderContext<'_>) -> Result {
        self.0.borrow_mut().ended += 1;
        Ok(())
    }
}

/// Starts a child, hears what it says, and tells it something.
fn start(event_loop: &mut EventLoop, options: &ChildOptions, to_say: &[u8]) -> Result<(Spawned, Shared)> {
    let known = Shared::default();
    let told = Rc::clone(&known);
    let mut cx = event_loop.context();
    let mut spawned = cx.spawn(&mut Command::new("program"), options, move |_, status| {
        told.borrow_mut().exits.push(status.unwrap().into_raw());
    })?;
    cx.add_reader(spawned.stdout.take().unwrap(), Output(Rc::clone(&known)))?;
    let writer = cx.add_writer(spawned.stdin.take().unwrap(), ())?;
    let mut writer = cx.writer(writer).unwrap();
    writer.send(to_say)?;
    writer.finish();
    Ok((spawned, known))
}

fn random_bytes(random: &mut Random, most: usize) -> Vec<u8> {
    (0..random.index(most)).map(|_| random.bits().to_le_bytes()[0]).collect()
}

/// A loop whose wish for descriptors was heard.
fn event_loop() -> EventLoop {
    EventLoop::new(()).unwrap()
}

#[test]
fn each_end_is_told_once_after_which_nothing_is_left() {
    Seeds::first(300).check(&Faults::default(), |sim| {
        let (mut random, mut event_loop) = (sim.random(), event_loop());
        let own = sim.descriptors();
        let mut children = Vec::new();
        for code in 0..1 + random.index(6) {
            let says = random_bytes(&mut random, 100_000);
            let script = SimChild::exits(code as u8).after(Duration::from_millis(random.below(100))).output(&*says);
            sim.on_spawn(move |_| Ok(script.clone()));
            children.push((says, code, start(&mut event_loop, &ChildOptions::default(), b"").unwrap()));
        }
        let before = (sim.progress(), event_loop.metrics().turns);
        let all_over =
            || children.iter().all(|(_, _, (_, known))| known.borrow().ended == 1 && known.borrow().exits.len() == 1);
        sim.run_until(&mut event_loop, all_over)?;
        sim.run_for(&mut event_loop, Duration::from_secs(10))?;
        let (progress, turns) = (sim.progress() - before.0, event_loop.metrics().turns - before.1);
        assert!(turns <= 20 + 4 * progress, "the loop spins: {turns} turns and {progress} calls");
        for (says, code, (spawned, known)) in &children {
            let known = known.borrow();
            assert!(known.said == *says, "{} bytes of {}", known.said.len(), says.len());
            assert_eq!((known.ended, known.exits.as_slice()), (1, &[(*code as i32) << 8][..]));
            assert_eq!(sim.child_state(spawned.pid), Some(ChildState::Gone));
        }
        drop(children);
        assert_eq!((event_loop.metrics().sources, sim.descriptors()), (0, own), "{}", sim.dump());
        Ok(())
    });
}

#[test]
fn what_it_is_told_comes_back() {
    Seeds::first(300).from(1000).check(&Faults::default(), |sim| {
        let (mut random, mut event_loop) = (sim.random(), event_loop());
        sim.on_spawn(|_| Ok(SimChild::exits(0).echoing()));
        let to_say = random_bytes(&mut random, 200_000);
        let (spawned, known) = start(&mut event_loop, &ChildOptions::default(), &to_say)?;
        sim.run_until(&mut event_loop, || known.borrow().exits.len() == 1 && known.borrow().ended == 1)?;
        assert!(known.borrow().said == to_say);
        assert!(sim.child_input(spawned.pid) == to_say);
        assert_eq!(known.borrow().exits, [0]);
        Ok(())
    });
}

#[test]
fn signals_end_it_or_not() {
    Seeds::first(200).from(2000).check(&Faults::default(), |sim| {
        let (mut random, mut event_loop) = (sim.random(), event_loop());
        let deaf = random.chance(0.5);
        let script = SimChild::exits(0).after(Duration::from_secs(3600));
        let script = if deaf { script.ignoring(SIGTERM) } else { script };
        sim.on_spawn(move |_| Ok(script.clone()));
        let (spawned, known) = start(&mut event_loop, &ChildOptions::default(), b"hello")?;
        sim.run_for(&mut event_loop, Duration::from_secs(random.below(10)))?;
        event_loop.context().child(spawned.id).unwrap().signal(SIGTERM)?;
        sim.run_for(&mut event_loop, Duration::from_secs(10))?;
        if deaf {
            assert!(known.borrow().exits.is_empty());
            event_loop.context().child(spawned.id).unwrap().kill()?;
            sim.run_for(&mut event_loop, Duration::from_secs(10))?;
        }
        assert_eq!(known.borrow().exits, [if deaf { 9 } else { 15 }]);
        assert_eq!(sim.child_signals(spawned.pid), if deaf { vec![15, 9] } else { vec![15] });
        assert!(event_loop.context().child(spawned.id).is_none());
        Ok(())
    });
}

const SIGTERM: i32 = 15;

#[test]
fn the_end_of_the_loop_leaves_no_zombie() {
    Seeds::first(200).from(3000).check(&Faults::default(), |sim| {
        let (mut random, mut event_loop) = (sim.random(), event_loop());
        let (mut kept, mut all) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let lifetime = Duration::from_millis(random.below(200));
            sim.on_spawn(move |_| Ok(SimChild::exits(1).after(lifetime)));
            let leaves = random.chance(0.5);
            let options = ChildOptions::default().at_end(if leaves { AtEnd::Leave } else { AtEnd::Kill });
            let (spawned, known) = start(&mut event_loop, &options, b"hello")?;
            (if leaves { &mut kept } else { &mut all }).push((spawned, known));
        }
        sim.run_for(&mut event_loop, Duration::from_millis(random.below(200)))?;
        drop(event_loop);
        sim.sleep(Duration::from_secs(10));
        assert_eq!((sim.children(ChildState::Zombie), sim.children(ChildState::Running)), (0, 0), "{}", sim.dump());
        for (spawned, known) in &kept {
            assert!(known.borrow().exits.len() <= 1);
            assert!(!sim.child_signals(spawned.pid).contains(&9), "it was left alone");
        }
        for (spawned, known) in &all {
            // Who was not told of its end had it killed, unless it had ended just then.
            let killed = sim.child_signals(spawned.pid) == [9];
            assert!(known.borrow().exits.len() <= 1 && !(killed && known.borrow().exits.len() == 1));
        }
        drop((kept, all));
        assert_eq!(sim.descriptors(), 0, "{}", sim.dump());
        Ok(())
    });
}

#[test]
fn what_cannot_be_started_is_an_error_and_leaves_nothing() {
    let sim = Sim::new(1);
    let mut event_loop = event_loop();
    let own = sim.descriptors();
    let mut spawn = || event_loop.context().spawn(&mut Command::new("x"), &ChildOptions::default(), |_, _| ());
    assert_eq!(spawn().unwrap_err().kind(), ErrorKind::NotFound);
    sim.on_spawn(|_| Err(ErrorKind::PermissionDenied.into()));
    assert_eq!(spawn().unwrap_err().kind(), ErrorKind::PermissionDenied);
    sim.on_spawn(|_| Ok(SimChild::exits(0)));
    sim.limit_descriptors(own + 3);
    assert!(spawn().is_err());
    assert_eq!((event_loop.metrics().sources, sim.descriptors()), (0, own));
}

#[test]
fn shortages_start_none_and_leave_nothing_behind() {
    let mut faults = Faults::default();
    faults.shortage = 0.3;
    let mut failed = 0;
    Seeds::first(200).from(4000).check(&faults, |sim| {
        sim.set_faults(Faults::default());
        let mut event_loop = event_loop();
        let own = sim.descriptors();
        sim.set_faults(faults.clone());
        sim.on_spawn(|_| Ok(SimChild::exits(7).after(Duration::from_millis(5))));
        let mut told = Vec::new();
        for _ in 0..10 {
            let known = Shared::default();
            let tells = Rc::clone(&known);
            let started =
                event_loop.context().spawn(&mut Command::new("program"), &ChildOptions::default(), move |_, status| {
                    tells.borrow_mut().exits.push(status.unwrap().into_raw());
                });
            match started {
                Ok(spawned) => told.push((spawned, known)),
                Err(_) => failed += 1,
            }
            sim.run_for(&mut event_loop, Duration::from_millis(1))?;
        }
        sim.run_for(&mut event_loop, Duration::from_secs(10))?;
        assert!(told.iter().all(|(_, known)| known.borrow().exits == [7 << 8]));
        drop(told);
        assert_eq!(sim.children(ChildState::Zombie), 0);
        assert_eq!((event_loop.metrics().sources, sim.descriptors()), (0, own), "{}", sim.dump());
        Ok(())
    });
    assert!(failed > 0 || std::env::var_os("REACTOR_SEED").is_some());
}
