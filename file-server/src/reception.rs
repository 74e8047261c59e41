//! A body on its way from a connection to a file: collected in large pieces, one written while the next is filled.
//!
//! Of a large body whose length is known a worker receives the most by itself: `direct.rs`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reactor::{Context, Handler, Input, LoopContext, Result, SocketReader};

use crate::direct::Direct;
use crate::jobs;
use crate::memory::{Memory, PIECE, Piece};
use crate::sink::Sink;

/// A body on its way.
///
/// Dropping it drops what it goes to, which may block: [`jobs::discard`] does it elsewhere.
#[derive(Debug)]
pub struct Reception<K> {
    /// `None` while a job has it, and when it is done.
    sink: Option<K>,
    filling: Piece,
    /// What was written last, to be filled next.
    spare: Option<Piece>,
    memory: Arc<Memory>,
    /// How long it is, if that is known, and how much of it has come.
    length: Option<u64>,
    come: u64,
    /// When some of it last came.
    progress: Instant,
    ended: bool,
    /// Reading rests on its account.
    paused: bool,
}

/// A handler of connections that has a body on its way, now and then.
pub trait Receiver<S>: Handler<S> + Sized {
    /// Where bodies go.
    type Sink: Sink;

    /// The body that is on its way.
    fn reception(&mut self) -> Option<&mut Reception<Self::Sink>>;

    /// All of it is where it was to go, or it cannot be: the reception is over. Reading is paused.
    ///
    /// # Errors
    /// An error closes the connection.
    fn received(&mut self, cx: &mut Context<'_, S>, outcome: io::Result<<Self::Sink as Sink>::Outcome>) -> Result;
}

impl<K: Sink> Reception<K> {
    /// A body of which nothing has come yet, and its length if that is known.
    pub fn new(sink: K, memory: &Arc<Memory>, length: Option<u64>, now: Instant) -> Self {
        Self {
            sink: Some(sink),
            filling: Piece::new(memory),
            spare: None,
            memory: Arc::clone(memory),
            length,
            come: 0,
            progress: now,
            ended: length == Some(0),
            paused: false,
        }
    }

    /// Takes as many bytes as have room, and says how many. To be followed by [`pump`], after which there may be more room; if
    /// none was taken, reading is paused until there is.
    pub fn take(&mut self, bytes: &[u8], now: Instant) -> usize {
        let count = self.filling.fill(bytes, PIECE);
        self.come += count as u64;
        self.progress = now;
        self.ended |= self.length == Some(self.come);
        count
    }

    /// How many bytes have come.
    #[must_use]
    pub fn come(&self) -> u64 {
        self.come
    }

    /// When some last came.
    #[must_use]
    pub fn progress(&self) -> Instant {
        self.progress
    }

    /// Whether all has come.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ended
    }

    /// How many bytes are still to come, if that is known.
    fn left(&self) -> u64 {
        self.length.map_or(0, |length| length - self.come)
    }

    /// How many bytes it takes now.
    #[must_use]
    pub fn room(&self) -> usize {
        PIECE.saturating_sub(self.filling.len())
    }

    /// No more will come. To be followed by [`pump`].
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether the client waits for us, and not we for the client.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.paused || self.ended
    }

    /// Whether no more is to be read for now.
    fn rests(&self) -> bool {
        let writes = self.sink.is_none();
        self.ended || self.filling.len() >= PIECE || (writes && !self.filling.is_empty() && self.memory.is_short())
    }

    fn pause<S>(&mut self, cx: &mut Context<'_, S>) {
        if !std::mem::replace(&mut self.paused, true) {
            cx.pause();
        }
    }

    /// What is to be written next, if it is time.
    fn next(&mut self) -> Option<Work<K>> {
        let enough = if self.memory.is_short() { 1 } else { PIECE };
        if !self.ended && self.filling.len() < enough {
            return None;
        }
        let sink = self.sink.take()?;
        let fresh = self.spare.take().unwrap_or_else(|| Piece::new(&self.memory));
        let piece = std::mem::replace(&mut self.filling, fresh);
        Some(Work { sink, piece, is_last: self.ended, direct: None })
    }

    /// What a worker goes on with by itself: what is here is written first. `None` unless it is worth it, and allowed.
    fn next_direct<S>(&mut self, cx: &mut Context<'_, S>) -> Option<Work<K>> {
        let left = self.left();
        if self.ended || left < WORTH_IT || self.filling.len() < WORTH_BEGINNING || self.memory.is_short() {
            return None;
        }
        self.sink.as_ref()?;
        let place = self.memory.direct_place()?;
        let reader = cx.lend_input().ok()?;
        self.paused = true;
        let piece = std::mem::replace(&mut self.filling, Piece::new(&self.memory));
        let direct = Direct::new(reader, left, place);
        Some(Work { sink: self.sink.take()?, piece, is_last: false, direct: Some(direct) })
    }

    /// Takes back what could not be begun.
    fn put_back(&mut self, work: Work<K>) {
        self.sink = Some(work.sink);
        self.spare = Some(std::mem::replace(&mut self.filling, work.piece));
    }

    /// A piece was written.
    fn go_on(&mut self, sink: K, mut piece: Piece) {
        piece.clear();
        self.sink = Some(sink);
        self.spare = Some(piece);
    }

    /// A worker has read by itself.
    fn take_back<S>(&mut self, cx: &mut Context<'_, S>, reader: SocketReader) -> Result {
        if reader.taken() > 0 {
            self.come += reader.taken();
            self.progress = cx.now();
        }
        self.ended |= self.length == Some(self.come);
        self.paused = false;
        cx.take_back_input(reader)
    }
}

/// Has written what is to be, pauses reading while there is no room for more, and resumes it.
///
/// # Errors
/// The loop has no timer left to try again later, when the worker pool is full.
pub fn pump<S: 'static, H: Receiver<S>>(handler: &mut H, cx: &mut Context<'_, S>) -> Result {
    let Some(reception) = handler.reception() else { return Ok(()) };
    if let Some(work) = reception.next() {
        give(handler, cx, work)?;
    }
    let Some(reception) = handler.reception() else { return Ok(()) };
    if reception.rests() {
        reception.pause(cx);
    } else if std::mem::take(&mut reception.paused) {
        cx.resume();
    }
    Ok(())
}

/// Gives work to a worker, now or a little later.
fn give<S: 'static, H: Receiver<S>>(handler: &mut H, cx: &mut Context<'_, S>, work: Work<H::Sink>) -> Result {
    let Err(mut work) = jobs::run_for(cx, work, Work::run, settle::<S, H>) else { return Ok(()) };
    let Some(reception) = handler.reception() else { return Ok(()) };
    if let Some(direct) = work.direct.take() {
        reception.take_back(cx, direct.into_reader())?;
    }
    reception.put_back(work);
    try_later::<S, H>(cx)
}

/// Takes what has come of a body whose length is known. What is behind it, and what has no room, stays in the input.
///
/// # Errors
/// As [`pump`].
pub fn receive<S: 'static, H: Receiver<S>>(handler: &mut H, cx: &mut Context<'_, S>, input: &mut Input<'_>) -> Result {
    let now = cx.now();
    loop {
        let Some(reception) = handler.reception() else { return Ok(()) };
        let left = usize::try_from(reception.left()).unwrap_or(usize::MAX).min(input.len());
        let taken = reception.take(&input.as_slice()[..left], now);
        input.consume(taken);
        if taken == left
            && let Some(work) = reception.next_direct(cx)
        {
            return give(handler, cx, work);
        }
        pump(handler, cx)?;
        if taken == 0 || taken == left {
            return Ok(());
        }
    }
}

/// Looks at what has come of a piece.
fn settle<S: 'static, H: Receiver<S>>(
    handler: &mut H,
    cx: &mut Context<'_, S>,
    (written, direct): (Written<H::Sink>, Option<Direct>),
) -> Result {
    if let Some(reception) = handler.reception()
        && let Some(direct) = direct
    {
        reception.take_back(cx, direct.into_reader())?;
    }
    match written {
        Written::Piece(sink, piece) => {
            if let Some(reception) = handler.reception() {
                reception.go_on(sink, piece);
            }
            pump(handler, cx)
        }
        Written::All(outcome) => {
            cx.pause();
            handler.received(cx, outcome)
        }
    }
}

/// The worker pool is full: that passes.
fn try_later<S: 'static, H: Receiver<S>>(cx: &mut Context<'_, S>) -> Result {
    let id = cx.id();
    let on_loop: &mut LoopContext<'_, S> = cx;
    on_loop.run_after(RETRY, move |cx| {
        if let Some(Err(_)) = cx.with(id, |handler: &mut H, cx| pump(handler, cx))
            && let Some(mut peer) = cx.peer(id)
        {
            peer.close();
        }
    })?;
    Ok(())
}

/// What a job writes.
struct Work<K> {
    sink: K,
    piece: Piece,
    is_last: bool,
    direct: Option<Direct>,
}

/// What has come of it.
enum Written<K: Sink> {
    /// It is written, and more is to come.
    Piece(K, Piece),
    /// It was the last one, or it failed.
    All(io::Result<K::Outcome>),
}

impl<K: Sink> Work<K> {
    fn run(self) -> (Written<K>, Option<Direct>) {
        let Self { mut sink, mut piece, mut is_last, mut direct } = self;
        let mut written = sink.write(piece.as_slice());
        if let (Ok(()), Some(direct)) = (&written, &mut direct) {
            written = direct.run(&mut sink, &mut piece);
            is_last = direct.left() == 0;
        }
        let outcome = match written {
            Err(error) => Written::All(Err(error)),
            Ok(()) if is_last => Written::All(sink.finish()),
            Ok(()) => Written::Piece(sink, piece),
        };
        (outcome, direct)
    }
}

/// How much has to be on its way still for a worker to read it by itself, and how much has to be here: a client that sends in
/// small pieces is better waited for by the loop.
const WORTH_IT: u64 = 2 << 20;
const WORTH_BEGINNING: usize = 32 << 10;

/// When the worker pool is asked again after it was full.
const RETRY: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what comes.
    struct Count(usize);

    impl Sink for Count {
        type Outcome = usize;

        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0 += bytes.len();
            Ok(())
        }

        fn finish(self) -> io::Result<usize> {
            Ok(self.0)
        }
    }

    #[test]
    fn one_piece_is_filled_while_another_is_written() {
        let now = Instant::now();
        let memory = Memory::new(8 * PIECE);
        let mut reception = Reception::new(Count(0), &memory, None, now);
        let bytes = vec![0; PIECE + 1];
        assert_eq!(reception.take(&bytes[..PIECE - 1], now), PIECE - 1);
        assert!(reception.next().is_none() && !reception.rests());
        assert_eq!(reception.take(&bytes, now), 1);
        let work = reception.next().unwrap();
        assert!(!reception.rests());
        assert_eq!(reception.take(&bytes, now), PIECE);
        assert!(reception.rests() && reception.next().is_none());
        let Written::Piece(sink, piece) = work.run().0 else { panic!("it was not the last one") };
        reception.go_on(sink, piece);
        let Written::Piece(sink, piece) = reception.next().unwrap().run().0 else { panic!("it was not the last one") };
        reception.go_on(sink, piece);
        assert!(!reception.rests());
        reception.end();
        let Written::All(Ok(count)) = reception.next().unwrap().run().0 else { panic!("it was the last one") };
        assert_eq!(count, 2 * PIECE);
        drop(reception);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn when_memory_is_short_what_comes_is_written_at_once() {
        let now = Instant::now();
        let memory = Memory::new(0);
        let mut reception = Reception::new(Count(0), &memory, None, now);
        assert_eq!(reception.take(b"abc", now), 3);
        let work = reception.next().unwrap();
        assert!(!reception.rests());
        assert_eq!(reception.take(b"d", now), 1);
        assert!(reception.rests());
        let Written::Piece(sink, piece) = work.run().0 else { panic!("it was not the last one") };
        reception.go_on(sink, piece);
        assert_eq!(reception.next().unwrap().run_count(), 4);
        drop(reception);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn what_could_not_be_begun_is_begun_later() {
        let now = Instant::now();
        let memory = Memory::new(8 * PIECE);
        let mut reception = Reception::new(Count(0), &memory, None, now);
        reception.take(b"abc", now);
        reception.end();
        let work = reception.next().unwrap();
        reception.put_back(work);
        assert_eq!(reception.next().unwrap().run_count(), 3);
    }

    impl Work<Count> {
        fn run_count(self) -> usize {
            match self.run().0 {
                Written::Piece(sink, _) => sink.0,
                Written::All(count) => count.unwrap(),
            }
        }
    }
}
