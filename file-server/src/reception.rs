//! A body on its way from a connection to a file: collected in large pieces, one written while the next is filled.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use reactor::{Context, Handler, Input, LoopContext, Result};

use crate::jobs;
use crate::memory::{Memory, Piece};

/// Where a body goes. It blocks, so it is called on the worker pool.
pub trait Sink: Send + 'static {
    /// What comes of it.
    type Outcome: Send + 'static;

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They cannot be kept; nothing more will come.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// All has come.
    ///
    /// # Errors
    /// It cannot be kept.
    fn finish(self) -> io::Result<Self::Outcome>;
}

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
    /// A body of which nothing has come yet.
    pub fn new(sink: K, memory: &Arc<Memory>) -> Self {
        let memory = Arc::clone(memory);
        Self { sink: Some(sink), filling: Piece::new(&memory), spare: None, memory, ended: false, paused: false }
    }

    /// Takes as many bytes as have room, and says how many. To be followed by [`pump`], after which there may be more room; if
    /// none was taken, reading is paused until there is.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        self.filling.fill(bytes, PIECE)
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
        Some(Work { sink, piece, is_last: self.ended })
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
}

/// Has written what is to be, pauses reading while there is no room for more, and resumes it.
///
/// # Errors
/// The loop has no timer left to try again later, when the worker pool is full.
pub fn pump<S: 'static, H: Receiver<S>>(handler: &mut H, cx: &mut Context<'_, S>) -> Result {
    let Some(reception) = handler.reception() else { return Ok(()) };
    if let Some(work) = reception.next()
        && let Err(work) = jobs::run_for(cx, work, Work::run, settle::<S, H>)
    {
        reception.put_back(work);
        reception.pause(cx);
        return try_later::<S, H>(cx);
    }
    if reception.rests() {
        reception.pause(cx);
    } else if std::mem::take(&mut reception.paused) {
        cx.resume();
    }
    Ok(())
}

/// Takes what has come of a body, of which `expected` bytes are still to come; answers how many bytes that was. What has no
/// room stays in the input.
///
/// # Errors
/// As [`pump`].
pub fn receive<S: 'static, H: Receiver<S>>(
    handler: &mut H,
    cx: &mut Context<'_, S>,
    input: &mut Input<'_>,
    expected: u64,
) -> std::result::Result<u64, io::Error> {
    let mut left = usize::try_from(expected).unwrap_or(usize::MAX).min(input.len());
    let begun_with = input.len();
    while left > 0 {
        let Some(reception) = handler.reception() else { break };
        let taken = reception.take(&input.as_slice()[..left]);
        input.consume(taken);
        left -= taken;
        pump(handler, cx)?;
        if taken == 0 {
            break;
        }
    }
    Ok((begun_with - input.len()) as u64)
}

/// Looks at what has come of a piece.
fn settle<S: 'static, H: Receiver<S>>(handler: &mut H, cx: &mut Context<'_, S>, written: Written<H::Sink>) -> Result {
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
}

/// What has come of it.
enum Written<K: Sink> {
    /// It is written, and more is to come.
    Piece(K, Piece),
    /// It was the last one, or it failed.
    All(io::Result<K::Outcome>),
}

impl<K: Sink> Work<K> {
    fn run(self) -> Written<K> {
        let Self { mut sink, piece, is_last } = self;
        match sink.write(piece.as_slice()) {
            Err(error) => Written::All(Err(error)),
            Ok(()) if is_last => Written::All(sink.finish()),
            Ok(()) => Written::Piece(sink, piece),
        }
    }
}

/// How much is written at once. Twice as much gains nothing measurable, half as much costs a twentieth.
const PIECE: usize = 1 << 20;

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
        let memory = Memory::new(8 * PIECE);
        let mut reception = Reception::new(Count(0), &memory);
        let bytes = vec![0; PIECE + 1];
        assert_eq!(reception.take(&bytes[..PIECE - 1]), PIECE - 1);
        assert!(reception.next().is_none() && !reception.rests());
        assert_eq!(reception.take(&bytes), 1);
        let work = reception.next().unwrap();
        assert!(!reception.rests());
        assert_eq!(reception.take(&bytes), PIECE);
        assert!(reception.rests() && reception.next().is_none());
        let Written::Piece(sink, piece) = work.run() else { panic!("it was not the last one") };
        reception.go_on(sink, piece);
        let Written::Piece(sink, piece) = reception.next().unwrap().run() else { panic!("it was not the last one") };
        reception.go_on(sink, piece);
        assert!(!reception.rests());
        reception.end();
        let Written::All(Ok(count)) = reception.next().unwrap().run() else { panic!("it was the last one") };
        assert_eq!(count, 2 * PIECE);
        drop(reception);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn when_memory_is_short_what_comes_is_written_at_once() {
        let memory = Memory::new(0);
        let mut reception = Reception::new(Count(0), &memory);
        assert_eq!(reception.take(b"abc"), 3);
        let work = reception.next().unwrap();
        assert!(!reception.rests());
        assert_eq!(reception.take(b"d"), 1);
        assert!(reception.rests());
        let Written::Piece(sink, piece) = work.run() else { panic!("it was not the last one") };
        reception.go_on(sink, piece);
        assert_eq!(reception.next().unwrap().run_count(), 4);
        drop(reception);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn what_could_not_be_begun_is_begun_later() {
        let memory = Memory::new(8 * PIECE);
        let mut reception = Reception::new(Count(0), &memory);
        reception.take(b"abc");
        reception.end();
        let work = reception.next().unwrap();
        reception.put_back(work);
        assert_eq!(reception.next().unwrap().run_count(), 3);
    }

    impl Work<Count> {
        fn run_count(self) -> usize {
            match self.run() {
                Written::Piece(sink, _) => sink.0,
                Written::All(count) => count.unwrap(),
            }
        }
    }
}
