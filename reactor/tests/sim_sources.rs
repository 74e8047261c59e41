//! Sources of any kind in the simulated kernel: no edge of an eventfd, a pipe or a socket is lost, whatever a source leaves for the next
//! turn. What the simulated kernel does not have is refused with a word on why, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::fs;
use std::io::{self, ErrorKind, Seek, Write, pipe};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use reactor::sim::{Faults, Random, Seeds, Sim};
use reactor::sources::{ByteReader, Descriptor, ReaderContext};
use reactor::{
    CloseReason, Context, EventLoop, Handler, Input, Interest, ListenOptions, Progress, Readiness, Result, Source,
    SourceContext, TimerId,
};

struct Quiet;

impl Source for Quiet {
    fn on_ready(&mut self, _: &mut SourceContext<'_>, _: Readiness) -> Result<Progress> {
        Ok(Progress::Drained)
    }
}

impl ByteReader for Quiet {
    fn on_bytes(&mut self, _: &mut ReaderContext<'_>, _: &mut Input<'_>) -> Result {
        Ok(())
    }
}

impl Handler for Quiet {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result {
        for refused in [cx.receive_fds(), cx.send_with_fds("x", Vec::new()), cx.peer_credentials().map(drop)] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
        }
        cx.send("open")
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        input.take();
        Ok(())
    }
}

fn expect_refused<T: std::fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("the simulated kernel"), "{error}");
}

#[test]
fn real_pipes_and_sockets_are_refused() {
    let _sim = Sim::new(1);
    let mut event_loop = EventLoop::new(()).unwrap();
    let mut cx = event_loop.context();
    let ((reader, writer), (other_reader, _other)) = (pipe().unwrap(), pipe().unwrap());
    expect_refused(cx.add_source(reader, Interest::READ, Quiet));
    expect_refused(cx.add_reader(other_reader, Quiet));
    expect_refused(cx.add_writer(writer, ()));
    expect_refused(cx.adopt(UnixStream::pair().unwrap().0, Quiet));
    let metrics = event_loop.metrics();
    assert_eq!((metrics.sources, metrics.open), (0, 0));
}

#[test]
fn a_descriptor_of_the_simulation_does_not_leave_it() {
    let sim = Sim::new(1);
    let (reader, writer) = sim.pipe().unwrap();
    expect_refused(reader.into_owned());
    drop(writer);
    assert_eq!(sim.descriptors(), 0);
}

/// Adds what it reads to the state, and ends the loop at the end.
struct Collect;

impl ByteReader<Vec<u8>> for Collect {
    fn on_bytes(&mut self, cx: &mut ReaderContext<'_, Vec<u8>>, input: &mut Input<'_>) -> Result {
        cx.state().extend_from_slice(input.take());
        Ok(())
    }

    fn on_end(&mut self, cx: &mut ReaderContext<'_, Vec<u8>>) -> Result {
        cx.stop();
        Ok(())
    }
}

#[test]
fn files_are_real_ones_that_simulated_threads_read() {
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    Seeds::first(10).check(&Faults::default(), |_sim| {
        file.rewind()?;
        let mut event_loop = EventLoop::new(Vec::new())?;
        event_loop.context().add_reader(file.try_clone()?, Collect)?;
        event_loop.run()?;
        assert!(*event_loop.state() == bytes);
        Ok(())
    });
    let directory = fs::File::open(std::env::temp_dir()).unwrap();
    let _sim = Sim::new(1);
    let refused = EventLoop::new(()).unwrap().context().add_source(directory, Interest::READ, Quiet);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn what_local_sockets_alone_can_is_refused_and_the_connection_goes_on() {
    let sim = Sim::new(1);
    let mut event_loop = EventLoop::new(()).unwrap();
    event_loop.listen("unix:@simulated", &ListenOptions::default(), |_| Quiet).unwrap();
    let peer = sim.connect("unix:@simulated");
    sim.run_until(&mut event_loop, || peer.received() == b"open").unwrap();
}

/// What a source has met.
#[derive(Default)]
struct Ledger {
    bytes: Vec<u8>,
    ended: bool,
    closes: Vec<String>,
}

/// Reads in pieces, at times only one before others have their turn, and at times none until a timer is due.
struct Pieces {
    random: Random,
    ledger: Rc<RefCell<Ledger>>,
    rests: bool,
}

impl Source for Pieces {
    fn on_ready(&mut self, cx: &mut SourceContext<'_>, _: Readiness) -> Result<Progress> {
        assert!(self.ledger.borrow().closes.is_empty(), "a callback after the last one");
        if self.rests {
            return Ok(Progress::Drained);
        }
        let mut piece = vec![0; 8 + self.random.index(3000)];
        loop {
            match cx.read(&mut piece) {
                Ok(0) => {
                    self.ledger.borrow_mut().ended = true;
                    cx.close();
                    return Ok(Progress::Drained);
                }
                Ok(count) => self.ledger.borrow_mut().bytes.extend(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Drained),
                Err(error) => return Err(error),
            }
            if self.random.chance(0.1) {
                self.rests = true;
                cx.set_timer(Duration::from_millis(self.random.below(20)))?;
                return Ok(Progress::Drained);
            }
            if self.random.chance(0.3) {
                return Ok(Progress::More);
            }
        }
    }

    fn on_timer(&mut self, cx: &mut SourceContext<'_>, _: TimerId) -> Result {
        self.rests = false;
        let id = cx.id();
        assert!(cx.wake_source(id));
        Ok(())
    }

    fn on_close(&mut self, _: &mut SourceContext<'_>, reason: &CloseReason) {
        self.ledger.borrow_mut().closes.push(reason.to_string());
    }
}

fn watch(sim: &mut Sim, descriptor: Descriptor) -> io::Result<(EventLoop, Rc<RefCell<Ledger>>)> {
    let (mut event_loop, ledger) = (EventLoop::new(())?, Rc::default());
    let source = Pieces { random: sim.random(), ledger: Rc::clone(&ledger), rests: false };
    event_loop.context().add_source(descriptor, Interest::READ, source)?;
    Ok((event_loop, ledger))
}

#[test]
fn a_source_reads_a_pipe_to_its_end() {
    Seeds::first(300).check(&Faults::default(), |sim| {
        let (reader, mut sender) = sim.pipe_to_read()?;
        let (mut event_loop, ledger) = watch(sim, reader)?;
        let mut random = sim.random();
        let bytes: Vec<u8> = (0..random.index(100_000)).map(|_| random.bits().to_le_bytes()[0]).collect();
        for piece in bytes.chunks(10_000) {
            sender.send(piece);
            sim.run_for(&mut event_loop, Duration::from_millis(random.below(100)))?;
        }
        sender.finish();
        sim.run_until(&mut event_loop, || !ledger.borrow().closes.is_empty())?;
        let ledger = ledger.borrow();
        assert!(ledger.bytes == bytes, "{} bytes of {}", ledger.bytes.len(), bytes.len());
        assert_eq!((ledger.ended, ledger.closes.len()), (true, 1));
        Ok(())
    });
}

#[test]
fn a_source_reads_a_socket_and_answers() {
    Seeds::first(300).from(1000).check(&Faults::default(), |sim| {
        let (socket, mut peer) = sim.socket()?;
        let (mut event_loop, ledger) = watch(sim, socket)?;
        let mut random = sim.random();
        let bytes: Vec<u8> = (0..random.index(100_000)).map(|_| random.bits().to_le_bytes()[0]).collect();
        for piece in bytes.chunks(10_000) {
            peer.send(piece);
            sim.run_for(&mut event_loop, Duration::from_millis(random.below(100)))?;
        }
        peer.shutdown_write();
        sim.run_until(&mut event_loop, || !ledger.borrow().closes.is_empty())?;
        assert!(ledger.borrow().bytes == bytes);
        // The source has closed its end.
        sim.run_until(&mut event_loop, || peer.is_over())?;
        Ok(())
    });
}

/// Adds to an eventfd when a timer is due, so many times.
struct Ticks {
    left: u64,
}

impl Source for Ticks {
    fn on_ready(&mut self, _: &mut SourceContext<'_>, _: Readiness) -> Result<Progress> {
        Ok(Progress::Drained)
    }

    fn on_timer(&mut self, cx: &mut SourceContext<'_>, _: TimerId) -> Result {
        assert_eq!(cx.write(&1_u64.to_ne_bytes())?, 8);
        self.left -= 1;
        if self.left > 0 {
            cx.set_timer(Duration::from_micros(300 * self.left))?;
        }
        Ok(())
    }
}

#[test]
fn each_count_of_an_eventfd_is_taken_once() {
    Seeds::first(300).from(2000).check(&Faults::default(), |sim| {
        let (event, other) = sim.eventfd()?;
        let (mut event_loop, ledger) = watch(sim, event)?;
        let count = 1 + sim.random().below(50);
        let id = event_loop.context().add_source(other, Interest::WRITE, Ticks { left: count })?;
        let started = event_loop.context().with_source(id, |_: &mut Ticks, cx| cx.set_timer(Duration::ZERO).map(drop));
        started.expect("it is a ticking one")?;
        let taken = || {
            let ledger = ledger.borrow();
            ledger.bytes.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).sum::<u64>()
        };
        sim.run_until(&mut event_loop, || taken() >= count)?;
        sim.run_for(&mut event_loop, Duration::from_secs(1))?;
        assert_eq!(taken(), count);
        Ok(())
    });
}
