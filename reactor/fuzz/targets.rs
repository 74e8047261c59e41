//! What each fuzz target does with its input: it fails by a panic. libFuzzer runs these, and so does `tests/fuzz.rs`.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reactor::{Address, CloseReason, Context, EventLoop, Handler, Host, Input, Limits, ListenOptions, Result};

/// An address is shown as text that reads as the same address, or is refused on one line.
pub(crate) fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Address::try_from(text) {
        Ok(address) => {
            let told = address.to_string();
            assert!(!told.contains(char::is_control), "{told:?}");
            assert_eq!(Address::try_from(told), Ok(address));
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    }
}

/// A host made of its halves, a port of two bytes and a name, is what it reads as when it is shown.
pub(crate) fn host(bytes: &[u8]) {
    let Some((port, name)) = bytes.split_first_chunk::<2>() else { return };
    let Ok(name) = std::str::from_utf8(name) else { return };
    match Host::new(name, u16::from_be_bytes(*port)) {
        Ok(host) => {
            assert_eq!(host.port(), u16::from_be_bytes(*port));
            let address = Address::Tcp(host);
            // With the scheme: a host may have the name "tcp".
            assert_eq!(Address::try_from(address.to_string()), Ok(address));
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    }
}

/// However a stream is cut into pieces, whatever the bounds of the loop are, and however slowly the peer reads: the
/// handler's answer is the same.
///
/// The first byte gives the bounds, the second the number of steps; a step is two bytes, how much is sent and what
/// happens then. The rest is the stream.
pub(crate) fn splits(bytes: &[u8]) {
    let Some((&[bounds, steps], rest)) = bytes.split_first_chunk::<2>() else { return };
    let (steps, stream) = rest.split_at(rest.len().min(usize::from(steps) * 2));
    let exchange = Exchange::begin(bounds);
    assert_eq!(exchange.carry(steps, stream), answers_to(stream), "the answer to {}", stream.escape_ascii());
}

/// Answers each frame with its length and its bytes backwards, and at the end what is left over.
///
/// A frame is a line, or `#`, a byte that is a length, and so many bytes.
struct Framed {
    ended: Rc<Cell<Option<&'static str>>>,
}

/// The next frame, if all of it is there.
fn take_frame<'a>(input: &mut Input<'a>) -> Option<&'a [u8]> {
    match *input.as_slice() {
        [b'#', length, ..] => input.take_exact(2 + usize::from(length)).map(|frame| &frame[2..]),
        [b'#'] => None,
        _ => input.take_until(b'\n'),
    }
}

fn answer_to(frame: &[u8]) -> Vec<u8> {
    let mut answer = format!("{}:", frame.len()).into_bytes();
    answer.extend(frame.iter().rev());
    answer
}

/// What a handler that sees all at once answers.
fn answers_to(stream: &[u8]) -> Vec<u8> {
    let mut input = Input::new(stream);
    let mut answers = std::iter::from_fn(|| take_frame(&mut input)).flat_map(answer_to).collect::<Vec<_>>();
    answers.extend(input.take());
    answers
}

impl Handler for Framed {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
        while let Some(frame) = take_frame(input) {
            cx.send(answer_to(frame))?;
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>) -> Result {
        let rest = cx.take_unread();
        cx.send(rest)?;
        cx.close_after_flush()
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, reason: &CloseReason) {
        assert!(self.ended.replace(Some(reason.name())).is_none(), "on_close was called twice");
    }
}

/// A loop and its one client, on one thread: nothing happens but by a step.
struct Exchange {
    event_loop: EventLoop,
    client: UnixStream,
    ended: Rc<Cell<Option<&'static str>>>,
    received: Vec<u8>,
}

impl Exchange {
    fn begin(bounds: u8) -> Self {
        // A name of its own for each thread's loop, for tests run on several.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("reactor-fuzz-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut event_loop = EventLoop::with_limits(limits(bounds), ()).expect("the bounds go together");
        let ended = Rc::new(Cell::new(None));
        let for_handler = Rc::clone(&ended);
        let make = move |_: &_| Framed { ended: Rc::clone(&for_handler) };
        event_loop.listen(format!("unix:@{name}"), &ListenOptions::default(), make).expect("the name is free");
        let address = SocketAddr::from_abstract_name(name).expect("the name is short");
        let client = UnixStream::connect_addr(&address).expect("the loop listens");
        client.set_nonblocking(true).expect("the socket is open");
        Self { event_loop, client, ended, received: Vec::new() }
    }

    /// Sends the stream in the steps' pieces, then its end, and answers all that comes back until the end.
    fn carry(mut self, steps: &[u8], stream: &[u8]) -> Vec<u8> {
        let mut rest = stream;
        for step in steps.chunks_exact(2) {
            let piece;
            (piece, rest) = rest.split_at(rest.len().min(usize::from(step[0])));
            self.send(piece);
            (0..step[1] & 3).for_each(|_| self.turn());
            if step[1] & 4 != 0 {
                self.receive(usize::from(step[1] >> 3) + 1);
            }
        }
        self.send(rest);
        self.client.shutdown(Shutdown::Write).expect("the client is connected");
        for _ in 0..MOST_TURNS {
            self.turn();
            if self.receive(usize::MAX) {
                self.turn();
                assert_eq!(self.ended.get(), Some("eof"));
                return self.received;
            }
        }
        panic!("no end came, and {} bytes before it", self.received.len());
    }

    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::ZERO)).expect("the loop can wait");
    }

    /// Sends all; a full socket is emptied by turns, in which the loop may wait for the client to read.
    fn send(&mut self, mut piece: &[u8]) {
        for _ in 0..MOST_TURNS {
            match (&self.client).write(piece) {
                Ok(sent) => piece = &piece[sent..],
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            if piece.is_empty() {
                return;
            }
            self.turn();
            self.receive(usize::MAX);
        }
        panic!("{} bytes were not taken", piece.len());
    }

    /// Receives at most so many bytes; `true` is the end of the stream.
    fn receive(&mut self, most: usize) -> bool {
        let before = self.received.len();
        match (&self.client).take(most as u64).read_to_end(&mut self.received) {
            Ok(count) => count < most,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error} after {before} bytes");
                false
            }
        }
    }
}

/// Bounds that are small, so that a short stream meets them, in all combinations.
fn limits(bounds: u8) -> Limits {
    let size = |shift: u8, sizes: [usize; 4]| sizes[usize::from(bounds >> shift & 3)];
    let mut limits = Limits::default();
    limits.scratch_min = size(0, [1, 7, 64, 4096]);
    limits.scratch_max = limits.scratch_min.max(size(2, [1, 13, 64, 65_536]));
    limits.high_mark = size(4, [1, 16, 300, 65_536]);
    limits.low_mark = limits.high_mark / 4;
    limits.calls_per_turn = if bounds & 64 == 0 { 1 } else { 16 };
    limits.strict_drain = bounds & 128 != 0;
    limits
}

/// More than a stream of a few thousand bytes takes, a byte a turn.
const MOST_TURNS: usize = 100_000;
