//! Watches of files in the simulated kernel, under many seeds: what happens is told once and in order, or it is told that something was
//! lost; after the end of a watch comes nothing more.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use reactor::sim::{Faults, Random, Seeds, Sim};
use reactor::sources::FileMask;
use reactor::{EventLoop, SourceId};

/// What was told: names, or what stands for no file.
type Told = Vec<String>;

const LOST: &str = "(lost)";
const END: &str = "(end)";

/// A loop that watches a directory.
fn watching(sim: &mut Sim) -> (EventLoop<Told>, SourceId) {
    let mut event_loop = EventLoop::new(Told::new()).unwrap();
    let (mut cx, mut random) = (event_loop.context(), sim.random());
    let watcher = cx
        .watch_files(move |cx, event| {
            assert!(event.watch().is_some() != event.is_overflow());
            let told = match (event.is_overflow(), event.is_end_of_watch()) {
                (true, _) => LOST.to_owned(),
                (_, true) => END.to_owned(),
                _ => String::from_utf8(event.name().to_vec()).unwrap(),
            };
            cx.state().push(told);
            // Nothing comes twice by it.
            if random.chance(0.1) {
                let task = |cx: &mut reactor::LoopContext<'_, Told>| assert!(!cx.state().is_empty());
                cx.run_after(Duration::from_millis(1), task)?;
            }
            Ok(())
        })
        .unwrap();
    cx.file_watcher(watcher).unwrap().watch("/place", FileMask::CHANGES).unwrap();
    (event_loop, watcher)
}

/// Lets a hundred files or so change, and answers which, in order.
fn change(sim: &Sim, event_loop: &mut EventLoop<Told>, watcher: SourceId, random: &mut Random) -> Told {
    let mut names = Told::new();
    for _ in 0..1 + random.index(10) {
        for _ in 0..random.index(20) {
            let name = format!("{}{}", names.len(), "-".repeat(random.index(40)));
            sim.change(format!("/place/{name}"), FileMask::MODIFY);
            sim.change(format!("/elsewhere/{name}"), FileMask::MODIFY);
            sim.change(format!("/place/{name}"), FileMask::ACCESS);
            names.push(name);
        }
        sim.run_for(event_loop, Duration::from_millis(random.below(50))).unwrap();
        if random.chance(0.2) {
            event_loop.context().drain_file_events(watcher);
        }
    }
    sim.run_for(event_loop, Duration::from_secs(10)).unwrap();
    names
}

#[test]
fn each_change_is_told_once_and_in_order() {
    let mut faults = Faults::default();
    faults.small_buffers = 0.0;
    Seeds::first(300).check(&faults, |sim| {
        let (mut random, (mut event_loop, watcher)) = (sim.random(), watching(sim));
        let before = (sim.progress(), event_loop.metrics().turns);
        let names = change(sim, &mut event_loop, watcher, &mut random);
        assert_eq!(*event_loop.state(), names);
        let (progress, turns) = (sim.progress() - before.0, event_loop.metrics().turns - before.1);
        // A wait may end with a rumour, and ten seconds of quiet are slept in one.
        assert!(turns <= 60 + 4 * progress, "the loop spins: {turns} turns and {progress} calls");
        event_loop.context().close_source(watcher);
        sim.run_for(&mut event_loop, Duration::ZERO)?;
        sim.change("/place/late", FileMask::MODIFY);
        sim.run_for(&mut event_loop, Duration::from_secs(1))?;
        assert_eq!((event_loop.state().len(), event_loop.metrics().sources), (names.len(), 0));
        Ok(())
    });
}

#[test]
fn what_is_lost_is_said_and_what_comes_later_is_told_again() {
    let mut lost = 0;
    Seeds::first(300).from(1000).check(&Faults::default(), |sim| {
        let mut random = sim.random();
        sim.limit_file_events(1 + random.index(20));
        let (mut event_loop, watcher) = watching(sim);
        let names = change(sim, &mut event_loop, watcher, &mut random);
        let told = std::mem::take(event_loop.state_mut());
        let mut all = names.iter();
        let is_in_order = told.iter().filter(|told| *told != LOST).all(|told| all.any(|name| name == told));
        assert!(is_in_order, "{told:?} of {names:?}");
        let said = told.iter().filter(|told| *told == LOST).count();
        let missing = names.len() + said - told.len();
        assert_eq!(missing > 0, said > 0, "{missing} missing, {said} said");
        lost += missing;
        sim.change("/place/later", FileMask::CREATE);
        sim.run_for(&mut event_loop, Duration::from_secs(1))?;
        assert_eq!(*event_loop.state(), ["later"]);
        Ok(())
    });
    assert!(lost > 0 || std::env::var_os("REACTOR_SEED").is_some(), "no queue was ever full");
}

#[test]
fn equal_changes_are_told_once_at_least() {
    let mut faults = Faults::default();
    faults.small_buffers = 0.0;
    Seeds::first(200).from(2000).check(&faults, |sim| {
        let (mut random, (mut event_loop, _)) = (sim.random(), watching(sim));
        for _ in 0..1 + random.index(20) {
            event_loop.state_mut().clear();
            let changes = 1 + random.index(5);
            (0..changes).for_each(|_| sim.change("/place/same", FileMask::MODIFY));
            sim.run_for(&mut event_loop, Duration::from_secs(1))?;
            let told = event_loop.state();
            assert!((1..=changes).contains(&told.len()) && told.iter().all(|name| name == "same"), "{told:?}");
        }
        Ok(())
    });
}

#[test]
fn the_end_of_a_watch_is_told_once_and_last() {
    let mut faults = Faults::default();
    faults.small_buffers = 0.0;
    Seeds::first(200).from(3000).check(&faults, |sim| {
        let (mut random, (mut event_loop, watcher)) = (sim.random(), watching(sim));
        sim.change("/place/first", FileMask::CREATE);
        sim.run_for(&mut event_loop, Duration::from_secs(1))?;
        if random.chance(0.5) {
            sim.change("/place", FileMask::DELETE_SELF);
            sim.run_for(&mut event_loop, Duration::from_secs(1))?;
            assert_eq!(*event_loop.state(), ["first", "", END]);
        } else {
            let mut cx = event_loop.context();
            let mut files = cx.file_watcher(watcher).unwrap();
            let watch = files.watch("/place", FileMask::CHANGES)?;
            files.unwatch(watch)?;
            assert!(files.unwatch(watch).is_err());
            sim.run_for(&mut event_loop, Duration::from_secs(1))?;
            assert_eq!(*event_loop.state(), ["first", END]);
        }
        sim.change("/place/late", FileMask::CREATE);
        sim.run_for(&mut event_loop, Duration::from_secs(1))?;
        assert_eq!(event_loop.state().last().map(String::as_str), Some(END));
        // A new watch sees what comes after it.
        event_loop.context().file_watcher(watcher).unwrap().watch("/place", FileMask::MOVED_TO)?;
        sim.rename("/elsewhere/new", "/place/new");
        sim.run_for(&mut event_loop, Duration::from_secs(1))?;
        assert_eq!(event_loop.state().last().map(String::as_str), Some("new"));
        Ok(())
    });
}
