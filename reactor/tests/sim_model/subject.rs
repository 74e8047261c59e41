//! The handlers of the model: they do at random what handlers do, and keep the ledger.

use std::cell::{RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use reactor::sim::{self, Random};
use reactor::{
    CloseReason, ConnId, ConnectOptions, Context, Handler, Input, Reconnect, Result, SharedBytes, SocketAddress,
    TimerId,
};

use crate::bounds;
use crate::files;
use crate::ledger::{Account, Ledger, Timer};
use crate::room;

/// What the connections of a loop share.
pub(crate) struct Shared {
    pub(crate) ledger: Rc<RefCell<Ledger>>,
    /// A connection that waits for another to relay to.
    pub(crate) lonely: Option<(ConnId, usize)>,
    /// What the loop's limits say: a producer sends as long as less waits.
    pub(crate) low_mark: usize,
    /// Where proxies connect to, one address for each client.
    pub(crate) remotes: Vec<SocketAddress>,
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
    /// Gets what is broadcast.
    Member,
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

#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) number: usize,
    role: Role,
    fate: Fate,
    fate_at: usize,
    pub(crate) random: Random,
    pub(crate) partner: Option<(ConnId, usize)>,
    /// Once so many bytes have come, the loop is to relay the others.
    pub(crate) relay_at: Option<usize>,
    resume: Option<TimerId>,
    /// The timer at which a relayed connection meets its fate.
    doom: Option<TimerId>,
    ledger: Rc<RefCell<Ledger>>,
    /// Another handler has taken its place.
    replaced: bool,
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
        let relays = matches!(role, Role::Relay | Role::Proxy) && random.chance(0.6);
        let relay_at = relays.then(|| if random.chance(0.5) { 0 } else { random.magnitude(20_000) as usize });
        Self {
            number,
            role,
            fate,
            fate_at,
            random,
            partner: None,
            relay_at,
            resume: None,
            doom: None,
            ledger: Rc::clone(ledger),
            replaced: false,
            whims,
        }
    }

    pub(crate) fn ledger(&self) -> RefMut<'_, Ledger> {
        assert!(!self.replaced, "connection {} has another handler", self.number);
        self.ledger.borrow_mut()
    }

    pub(crate) fn account(&self) -> RefMut<'_, Account> {
        RefMut::map(self.ledger(), |ledger| &mut ledger.accounts[self.number])
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
        self.account().paused = true;
        if !for_partner && self.resume.is_none() {
            let delay = Duration::from_micros(self.random.magnitude(200_000));
            self.resume = Some(self.set_timer(cx, delay)?);
        }
        Ok(())
    }

    fn set_timer(&mut self, cx: &mut Context<'_, Shared>, delay: Duration) -> Result<TimerId> {
        let set_at = sim::now();
        let set = cx.set_timer(delay);
        self.account().failed |= set.is_err();
        let id = set?;
        self.account().timers.push(Timer { id, set_at, deadline: set_at + delay });
        Ok(id)
    }

    /// Sends bytes of the output stream, in one piece or several.
    fn send(&mut self, cx: &mut Context<'_, Shared>, bytes: &[u8]) -> Result {
        let pieces = if self.random.chance(self.whims) { 1 + self.random.index(5) } else { 1 };
        for piece in bytes.chunks(bytes.len().div_ceil(pieces).max(1)) {
            self.account().offered += piece.len();
            if self.random.chance(self.whims) {
                cx.send_shared(piece.to_vec())?;
            } else {
                cx.send(piece)?;
            }
            self.account().sent += piece.len();
        }
        Ok(())
    }

    fn pass_on(&mut self, cx: &mut Context<'_, Shared>, bytes: &[u8]) {
        let Some((id, number)) = self.partner else { return };
        self.ledger().accounts[number].offered += bytes.len();
        if cx.send_to(id, bytes) {
            self.ledger().accounts[number].sent += bytes.len();
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
        let mut ledger = self.ledger();
        ledger.accounts[number].paused = false;
        ledger.accounts[number].output = ledger.accounts[self.number].input;
        ledger.accounts[self.number].output = ledger.accounts[number].input;
        drop(ledger);
        self.partner = Some((id, number));
    }

    fn connect_back(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        let input = self.account().input;
        self.ledger().proxied.push(input.0);
        let number = self.ledger().open(input, input);
        let random = Random::new(self.random.bits());
        let handler = Self::back(number, (cx.id(), self.number), random, &self.ledger);
        let mut options = ConnectOptions::default().deadline(Duration::from_millis(1 + self.random.below(20_000)));
        if self.random.chance(0.3) {
            let first = Duration::from_millis(self.random.magnitude(1000));
            options.reconnect = Some(Reconnect::default().first(first).attempts(1 + self.random.below(4) as u32));
        }
        options.rates = bounds::rates(&mut self.random, 50_000);
        options.timeouts = bounds::timeouts(&mut self.random);
        let target = cx.state().remotes[input.0].clone();
        let connected = cx.connect(target, &options, handler);
        self.account().failed |= connected.is_err();
        let id = connected?;
        self.ledger().accounts[number].id = Some(id);
        self.partner = Some((id, number));
        Ok(())
    }

    /// A producer sends until what it sends has to wait.
    fn produce(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        let Role::Producer(total) = self.role else { return Ok(()) };
        while cx.queued() <= cx.state().low_mark {
            let (pattern, sent) = self.ledger().output(self.number);
            let left = total - sent;
            if left == 0 {
                let mut account = self.account();
                (account.finished, account.asked) = (true, true);
                return cx.close_after_flush();
            }
            let count = left.min(self.random.magnitude(files::PIECE as u64) as usize);
            if left >= LENT && self.random.chance(self.whims) {
                self.account().offered += left;
                cx.send_shared(in_pages(&pattern.bytes(sent, left))?)?;
                self.account().sent += left;
            } else if self.random.chance(self.whims) {
                self.account().offered += count;
                let (file, range) = files::piece(pattern, sent, count);
                cx.send_file(file, range)?;
                self.account().sent += count;
            } else {
                let bytes = pattern.bytes(sent, count);
                self.send(cx, &bytes)?;
            }
        }
        cx.want_drained();
        Ok(())
    }

    /// The partner has nothing more to expect from here.
    fn leave_partner(&mut self, cx: &mut Context<'_, Shared>) {
        if let Some((id, number)) = self.partner
            && let Some(mut partner) = cx.peer(id)
        {
            partner.close_after_flush();
            self.ledger().accounts[number].asked = true;
        }
    }

    fn meet_fate(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        if self.account().consumed < self.fate_at {
            return Ok(());
        }
        let fate = std::mem::replace(&mut self.fate, Fate::None);
        self.meet(cx, fate)
    }

    /// A fate that does not wait for bytes.
    pub(crate) fn meet_fate_in_time(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        // A relay has no end of its own, so to finish it is nothing.
        if self.fate != Fate::None && self.fate != Fate::Finish {
            let delay = Duration::from_micros(self.random.magnitude(10_000_000));
            self.doom = Some(self.set_timer(cx, delay)?);
        }
        Ok(())
    }

    fn meet(&mut self, cx: &mut Context<'_, Shared>, fate: Fate) -> Result {
        let mut account = self.account();
        account.finished |=
            self.role != Role::Member && matches!(fate, Fate::CloseAfterFlush | Fate::ShutdownWrite | Fate::Finish);
        account.asked |= fate != Fate::None;
        account.mute |= fate == Fate::ShutdownWrite;
        drop(account);
        match fate {
            Fate::None => Ok(()),
            Fate::CloseAfterFlush => cx.close_after_flush(),
            Fate::Finish => cx.finish(),
            Fate::Close => {
                cx.close();
                Ok(())
            }
            Fate::ShutdownWrite => {
                cx.shutdown_write();
                Ok(())
            }
            Fate::Abort => {
                cx.abort();
                Ok(())
            }
            Fate::Fail => {
                self.account().failed = true;
                Err(io::Error::other("on purpose"))
            }
            Fate::Panic => {
                self.ledger().panics_on_purpose += 1;
                self.account().panics = true;
                panic!("on purpose")
            }
        }
    }

    fn leave_room(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        let mut account = self.account();
        account.member_since = None;
        // All that was broadcast so far is to arrive.
        (account.finished, account.asked, account.sent) = (!account.asked, true, account.offered);
        drop(account);
        assert!(cx.leave(room::ROOM), "a member can leave");
        cx.close_after_flush()
    }

    /// What a callback does besides.
    fn whim(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        if !self.random.chance(self.whims) {
            return Ok(());
        }
        match self.random.below(10) {
            0 => cx.want_drained(),
            5 => cx.set_rates(bounds::rates(&mut self.random, 50_000)),
            6 => cx.set_timeouts(bounds::timeouts(&mut self.random)),
            7 => {
                // Nothing is done after this, but what another one does.
                let mut twin = self.clone();
                twin.random = Random::new(self.random.bits());
                cx.replace_handler(twin);
                self.replaced = true;
            }
            8 => room::broadcast(cx, self.random.magnitude(3000) as usize),
            9 if self.account().member_since.is_some() => return self.leave_room(cx),
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
                let timer = self.account().timers.last().copied();
                if let Some(timer) = timer.filter(|timer| ![self.resume, self.doom].contains(&Some(timer.id))) {
                    assert!(cx.cancel_timer(timer.id), "a timer that runs can be cancelled");
                    self.account().timers.pop();
                }
            }
            _ => {
                cx.pause();
                cx.resume();
                self.account().paused = false;
            }
        }
        Ok(())
    }
}

impl Handler<Shared> for Subject {
    fn on_open(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        self.ledger().opened(self.number, cx.id());
        self.account().echoes = self.role == Role::Echo;
        match self.role {
            Role::Relay => self.pair(cx),
            Role::Proxy => self.connect_back(cx)?,
            Role::Member => {
                cx.join(room::ROOM)?;
                let mut ledger = self.ledger();
                let place = ledger.room;
                (ledger.accounts[self.number].member_since, ledger.accounts[self.number].first) = (Some(place), place);
            }
            Role::Producer(_) => {
                if self.random.chance(0.5) {
                    self.pause(cx, true)?;
                }
                self.produce(cx)?;
            }
            Role::Echo | Role::Back => {}
        }
        self.relay(cx)?;
        self.whim(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_, Shared>, input: &mut Input<'_>) -> Result {
        self.ledger().shown(self.number, input.as_slice());
        let count = self.take(cx, input)?;
        let bytes = &input.as_slice()[..count];
        input.consume(count);
        self.account().consumed += count;
        match self.role {
            Role::Echo if self.account().mute => {}
            Role::Echo => self.send(cx, bytes)?,
            Role::Producer(_) | Role::Member => {}
            Role::Relay | Role::Proxy | Role::Back => self.pass_on(cx, bytes),
        }
        self.meet_fate(cx)?;
        self.relay(cx)?;
        self.whim(cx)
    }

    fn on_eof(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        self.ledger().ended(self.number);
        if let Role::Producer(_) = self.role {
            return Ok(());
        }
        if self.relay_at.is_some() && self.random.chance(0.5) {
            // It tells the end of the other side too, if it can still be.
            self.relay_at = Some(0);
            self.relay(cx)?;
        }
        if self.account().relayed_to.is_some() {
            return Ok(());
        }
        self.leave_partner(cx);
        self.account().finished = self.role != Role::Member;
        self.account().asked = true;
        cx.close_after_flush()
    }

    fn on_drained(&mut self, cx: &mut Context<'_, Shared>) -> Result {
        self.ledger().called(self.number, "on_drained");
        self.produce(cx)?;
        self.whim(cx)
    }

    fn on_timer(&mut self, cx: &mut Context<'_, Shared>, timer: TimerId) -> Result {
        self.ledger().fired(self.number, timer, sim::now());
        if self.doom == Some(timer) {
            self.doom = None;
            let fate = std::mem::replace(&mut self.fate, Fate::None);
            return self.meet(cx, fate);
        }
        if self.resume != Some(timer) {
            return self.whim(cx);
        }
        self.resume = None;
        self.account().paused = false;
        cx.resume();
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, Shared>, _deadline: Instant) -> Result {
        self.ledger().called(self.number, "on_shutdown");
        if self.random.chance(0.3) {
            return Ok(());
        }
        self.account().asked = true;
        cx.finish()
    }

    fn on_close(&mut self, cx: &mut Context<'_, Shared>, reason: &CloseReason) {
        self.ledger().closed(self.number, reason);
        let me = cx.id();
        if cx.state().lonely.is_some_and(|(id, _)| id == me) {
            cx.state().lonely = None;
        }
        let relayed = self.account().relayed_to.is_some();
        if !relayed || self.random.chance(0.2) {
            self.leave_partner(cx);
        }
    }
}

/// Of so many bytes in pages and more the kernel is lent the pages.
const LENT: usize = 32 << 10;

fn in_pages(bytes: &[u8]) -> io::Result<SharedBytes> {
    let fill = |pages: &mut [u8]| {
        pages.copy_from_slice(bytes);
        Ok(())
    };
    SharedBytes::in_pages(bytes.len(), fill)
}
