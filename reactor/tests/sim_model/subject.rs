//! The handlers of the model: they do at random what handlers do, and keep the ledger.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use reactor::sim::{self, Random};
use reactor::{CloseReason, ConnId, ConnectOptions, Context, Handler, Input, Result, SocketAddress, TimerId};

use crate::ledger::{Ledger, Timer};
use crate::run;

/// What the connections of a loop share.
pub(crate) struct Shared {
    pub(crate) ledger: Rc<RefCell<Ledger>>,
    /// A connection that waits for another to relay to.
    pub(crate) lonely: Option<(ConnId, usize)>,
    /// What the loop's limits say: a producer sends as long as less waits.
    pub(crate) low_mark: usize,
    /// Where a proxy connects to.
    pub(crate) remote: SocketAddress,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends back what it receives.
    Echo,
    /// Sends so many bytes of its own, closes, and leaves its input.
    Producer(usize),
    /// Passes on what it receives to another connection of the loop.
    Relay,
    /// Passes on to a connection that it makes.
    Proxy,
    /// The other end of a proxy.
    Back,
}

/// What a connection does once it has received so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    None,
    CloseAfterFlush,
    Finish,
    Close,
    ShutdownWrite,
    Abort,
    Fail,
    Panic,
}

pub(crate) struct Subject {
    number: usize,
    role: Role,
    fate: Fate,
    fate_at: usize,
    random: Random,
    partner: Option<(ConnId, usize)>,
    resume: Option<TimerId>,
    ledger: Rc<RefCell<Ledger>>,
    /// It has ended its output.
    mute: bool,
    /// How likely it does something besides its work.
    whims: f64,
}

impl Subject {
    pub(crate) fn new(number: usize, role: Role, mut random: Random, ledger: &Rc<RefCell<Ledger>>) -> Self {
        let fates = [
            Fate::CloseAfterFlush,
            Fate::Finish,
            Fate::Close,
            Fate::ShutdownWrite,
            Fate::Abort,
            Fate::Fail,
            Fate::Panic,
        ];
        let fate = if random.chance(0.4) { *random.pick(&fates) } else { Fate::None };
        let fate_at = random.magnitude(20_000) as usize;
        let whims = *random.pick(&[0.0, 0.1, 0.5]);
        Self {
            number,
            role,
            fate,
            fate_at,
            random,
            partner: None,
            resume: None,
            mute: false,
            ledger: Rc::clone(ledger),
            whims,
        }
    }

    /// A back connection, whose partner is known from the start.
    fn back(number: usize, partner: (ConnId, usize), random: Random, ledger: &Rc<RefCell<Ledger>>) -> Self {
        let mut subject = Self::new(number, Role::Back, random, ledger);
        (subject.partner, subject.fate) = (Some(partner), Fate::None);
        subject
    }

    /// Looks at some of the input, answers how many bytes are taken.
    fn take(&mut self, cx: &mut Context<'_, Shared>, input: &mut Input<'_>) -> Result<usize> {
        let all = input.len();
        let stuck = self.role == Role::Relay && self.partner.is_none();
        let count = if stuck {
            0
        } else if self.random.chance(self.whims) {
            self.random.index(all + 1)
        } else {
            all
        };
        if count < all || self.random.chance(self.whims / 4.0) {
            self.pause(cx, stuck)?;
        }
        Ok(count)
    }

    /// Pauses; a timer ends that, or a partner.
    fn pause(&mut self, cx: &mut Context<'_, Shared>, for_partner: bool) -> Result {
        cx.pause();
        self.ledger.borrow_mut().accounts[self.number].paused = true;
        if !for_partner && self.resume.is_none() {
            let delay = Duration::from_micros(self.random.magnitude(200_000));
            self.resume = Some(self.set_timer(cx, delay)?);
        }
        Ok(())
    }

    fn set_timer(&mut self, cx: &mut Context<'_, Shared>, delay: Duration) -> Result<TimerId> {
        let set_at = sim::now();
        let set = cx.set_timer(delay);
        self.ledger.borrow_mut().accounts[self.number].failed |= set.is_err();
        let id = set?;
        self.ledger.borrow_mut().accounts[self.number].timers.push(Timer { id, set_at, deadline: set_at + delay });
        Ok(id)
    }

    /// Sends bytes of the output stream, in one piece or several.
    fn send(&mut self, cx: &mut Context<'_, Shared>, bytes: &[u8]) -> Result {
        let pieces = if self.random.chance(self.whims) { 1 + self.random.index(5) } else { 1 };
        for piece in bytes.chunks(bytes.len().div_ceil(pieces).max(1)) {
            self.ledger.borrow_mut().accounts[self.number].offered += piece.len();
            cx.send(piece)?;
            self.ledger.borrow_mut().accounts[self.number].sent += piece.len();
        }
        Ok(())
    }

    fn pass_on(&mut self, cx: &mut Context<'_, Shared>, bytes: &[u8]) {
        let Some((id, number)) = self.partner else { return };
        self.ledger.borrow_mut().accounts[number].offered += bytes.len();
        if cx.send_to(id, bytes) {
            self.ledger.borrow_mut().accounts[number].sent += bytes.len();
        }
    }

    /// Finds another relay, or waits for one.
    fn pair(&mut self, cx: &mut Context<'_, Shared>) {
        let me = (cx.id(), self.number);
        let Some((id, number)) = cx.state().lonely.take() else {
            cx.state().lonely = Some(me);
            return;
        };
        let paired = cx.with(id, |other: &mut Self, cx| {
            other.partner = Some(me);
            cx.resume();
        });
        if paired.is_none() {
            cx.state().lonely = Some(me);
            return;
        }
        let mut ledger = self.ledger.borrow_mut();
        ledger.accounts[number].paused = false;
        ledger.accounts[number].output = ledger.accounts[self.number].input;
        ledger.accounts[self.number].output = ledger.accounts[number].input;
        self.partner = Some((id, number));
    }

    fn connect_back(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        let input = self.ledger.borrow().accounts[self.number].input;
        let number = self.ledger.borrow_mut().open(input, input);
        let random = Random::new(self.random.bits());
        let handler = Self::back(number, (cx.id(), self.number), random, &self.ledger);
        let options = ConnectOptions::default().deadline(Duration::from_millis(1 + self.random.below(20_000)));
        let target = cx.state().remote.clone();
        let connected = cx.connect(target, &options, handler);
        self.ledger.borrow_mut().accounts[self.number].failed |= connected.is_err();
        let id = connected?;
        self.ledger.borrow_mut().accounts[number].id = Some(id);
        self.partner = Some((id, number));
        Ok(())
    }

    /// A producer sends until what it sends has to wait.
    fn produce(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        let Role::Producer(total) = self.role else { return Ok(()) };
        while cx.queued() <= cx.state().low_mark {
            let (pattern, sent) = self.ledger.borrow().output(self.number);
            let left = total - sent;
            if left == 0 {
                self.ledger.borrow_mut().accounts[self.number].finished = true;
                return cx.close_after_flush();
            }
            let count = left.min(self.random.magnitude(5000) as usize);
            let bytes = pattern.bytes(sent, count);
            self.send(cx, &bytes)?;
        }
        cx.want_drained();
        Ok(())
    }

    /// The partner has nothing more to expect from here.
    fn leave_partner(&mut self, cx: &mut Context<'_, Shared>) {
        if let Some((id, _)) = self.partner
            && let Some(mut partner) = cx.peer(id)
        {
            partner.close_after_flush();
        }
    }

    fn meet_fate(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        if self.ledger.borrow().accounts[self.number].consumed < self.fate_at {
            return Ok(());
        }
        let fate = std::mem::replace(&mut self.fate, Fate::None);
        let finished = matches!(fate, Fate::CloseAfterFlush | Fate::ShutdownWrite | Fate::Finish);
        self.ledger.borrow_mut().accounts[self.number].finished |= finished;
        match fate {
            Fate::None => Ok(()),
            Fate::CloseAfterFlush => cx.close_after_flush(),
            Fate::Finish => cx.finish(),
            Fate::Close => {
                cx.close();
                Ok(())
            }
            Fate::ShutdownWrite => {
                self.mute = true;
                cx.shutdown_write();
                Ok(())
            }
            Fate::Abort => {
                cx.abort();
                Ok(())
            }
            Fate::Fail => {
                self.ledger.borrow_mut().accounts[self.number].failed = true;
                Err(io::Error::other("on purpose"))
            }
            Fate::Panic => {
                self.ledger.borrow_mut().panics_on_purpose += 1;
                self.ledger.borrow_mut().accounts[self.number].panics = true;
                panic!("on purpose")
            }
        }
    }

    /// What a callback does besides.
    fn whim(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        if !self.random.chance(self.whims) {
            return Ok(());
        }
        match self.random.below(7) {
            0 => cx.want_drained(),
            5 => cx.set_rates(run::rates(&mut self.random, 50_000)),
            6 => cx.set_timeouts(run::timeouts(&mut self.random)),
            1 => {
                // Twice the same time: the first goes first.
                let delay = Duration::from_millis(self.random.magnitude(100));
                self.set_timer(cx, delay)?;
                self.set_timer(cx, delay)?;
            }
            2 => {
                let delay = Duration::from_micros(self.random.magnitude(60_000_000));
                self.set_timer(cx, delay)?;
            }
            3 => {
                let timer = self.ledger.borrow().accounts[self.number].timers.last().copied();
                if let Some(timer) = timer.filter(|timer| Some(timer.id) != self.resume) {
                    assert!(cx.cancel_timer(timer.id), "a timer that runs can be cancelled");
                    self.ledger.borrow_mut().accounts[self.number].timers.pop();
                }
            }
            _ => {
                cx.pause();
                cx.resume();
                self.ledger.borrow_mut().accounts[self.number].paused = false;
            }
        }
        Ok(())
    }
}

impl Handler<Shared> for Subject {
    fn on_open(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        self.ledger.borrow_mut().opened(self.number, cx.id());
        self.ledger.borrow_mut().accounts[self.number].echoes = self.role == Role::Echo;
        match self.role {
            Role::Relay => self.pair(cx),
            Role::Proxy => self.connect_back(cx)?,
            Role::Producer(_) => {
                if self.random.chance(0.5) {
                    self.pause(cx, true)?;
                }
                self.produce(cx)?;
            }
            Role::Echo | Role::Back => {}
        }
        self.whim(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_, Shared>, input: &mut Input<'_>) -> Result {
        self.ledger.borrow_mut().shown(self.number, input.as_slice());
        let count = self.take(cx, input)?;
        let bytes = &input.as_slice()[..count];
        input.consume(count);
        self.ledger.borrow_mut().accounts[self.number].consumed += count;
        match self.role {
            Role::Echo if self.mute => {}
            Role::Echo => self.send(cx, bytes)?,
            Role::Producer(_) => {}
            Role::Relay | Role::Proxy | Role::Back => self.pass_on(cx, bytes),
        }
        self.meet_fate(cx)?;
        self.whim(cx)
    }

    fn on_eof(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        self.ledger.borrow_mut().ended(self.number);
        if let Role::Producer(_) = self.role {
            return Ok(());
        }
        self.leave_partner(cx);
        self.ledger.borrow_mut().accounts[self.number].finished = true;
        cx.close_after_flush()
    }

    fn on_drained(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        self.ledger.borrow_mut().called(self.number, "on_drained");
        self.produce(cx)?;
        self.whim(cx)
    }

    fn on_timer(&mut self, cx: &mut Context<'_, Shared>, timer: TimerId) -> Result {
        self.ledger.borrow_mut().fired(self.number, timer, sim::now());
        if self.resume != Some(timer) {
            return self.whim(cx);
        }
        self.resume = None;
        self.ledger.borrow_mut().accounts[self.number].paused = false;
        cx.resume();
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, Shared>, _deadline: Instant) -> Result {
        self.ledger.borrow_mut().called(self.number, "on_shutdown");
        if self.random.chance(0.3) { Ok(()) } else { cx.finish() }
    }

    fn on_close(&mut self, cx: &mut Context<'_, Shared>, reason: &CloseReason) {
        self.ledger.borrow_mut().closed(self.number, reason);
        let me = cx.id();
        if cx.state().lonely.is_some_and(|(id, _)| id == me) {
            cx.state().lonely = None;
        }
        self.leave_partner(cx);
    }
}
