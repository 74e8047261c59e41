//! Whose turn it is: the threads of a simulation run one at a time, and time jumps when all of them sleep.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::sim::faults::Faults;
use crate::sim::kernel::Kernel;
use crate::sim::words::{Id, nanos};

/// A simulated machine and its threads.
pub(crate) struct World {
    state: Mutex<State>,
    /// What the virtual clock counts from.
    origin: Instant,
}

/// What the threads share. The one that runs has it.
pub(crate) struct State {
    pub(crate) kernel: Kernel,
    threads: Vec<Thread>,
    running: usize,
    /// Why the simulation is over, once it is: calls fail from then on, so that all threads come to their end.
    over: Option<String>,
    pub(super) call_limit: u64,
    /// A wait of the test's own thread ends when something reaches a peer.
    stepping: bool,
}

struct Thread {
    name: String,
    status: Status,
    /// It watches, and has looked since something last happened.
    looked: bool,
    turn: Arc<Condvar>,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Runnable,
    /// For events, or for the time.
    Polling {
        epoll: Id,
        deadline: Option<u64>,
    },
    Sleeping {
        until: u64,
    },
    /// For another thread to do something, or for the time.
    Parked {
        until: Option<u64>,
    },
    /// For the others to come to rest, to look at how things stand.
    Watching,
    Ended,
}

/// The simulation that a thread is part of.
#[derive(Clone)]
struct Place {
    world: Arc<World>,
    thread: usize,
}

thread_local! {
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// Whether the calling thread is part of a simulation.
pub(crate) fn is_current() -> bool {
    place().is_some()
}

fn place() -> Option<Place> {
    // A thread that is ending has no place any more.
    PLACE.try_with(|place| place.borrow().clone()).ok().flatten()
}

/// Makes a call of the simulated kernel; `None` if the calling thread is not part of a simulation.
pub(crate) fn call<T>(make: impl FnOnce(&mut Kernel) -> T) -> Option<T> {
    let place = place()?;
    Some(place.world.call(place.thread, make))
}

impl World {
    /// Makes a world whose first thread is the calling one.
    pub(super) fn enter(seed: u64, faults: Faults) -> Arc<Self> {
        assert!(!is_current(), "this thread is part of a simulation already");
        let state = State {
            kernel: Kernel::new(seed, faults),
            threads: vec![Thread::new("the test")],
            running: 0,
            over: None,
            call_limit: CALL_LIMIT,
            stepping: false,
        };
        let world = Arc::new(Self { state: Mutex::new(state), origin: Instant::now() });
        PLACE.set(Some(Place { world: Arc::clone(&world), thread: 0 }));
        world
    }

    /// Ends the simulation. Threads that are left find their calls failing.
    pub(super) fn leave(&self) {
        PLACE.set(None);
        self.lock().end("the simulation is over".to_owned());
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn call<T>(&self, thread: usize, make: impl FnOnce(&mut Kernel) -> T) -> T {
        let mut state = self.lock();
        state.kernel.thread = thread;
        state.kernel.begin_call();
        let result = make(&mut state.kernel);
        state.kernel.happen();
        result
    }

    /// [`call`](Self::call) of the calling thread, or of the test's own if it is not part of this simulation (any more).
    pub(super) fn call_as_current<T>(&self, make: impl FnOnce(&mut Kernel) -> T) -> T {
        self.call(place().map_or(0, |place| place.thread), make)
    }

    fn instant(&self) -> Instant {
        self.origin + Duration::from_nanos(self.lock().kernel.now)
    }

    /// Lets another thread run, perhaps, and comes back when it is this one's turn again.
    fn hand_over<'a>(&'a self, mut state: MutexGuard<'a, State>, me: usize) -> MutexGuard<'a, State> {
        state.pick_next();
        self.await_turn(state, me)
    }

    fn await_turn<'a>(&'a self, mut state: MutexGuard<'a, State>, me: usize) -> MutexGuard<'a, State> {
        while state.running != me && state.over.is_none() {
            let turn = Arc::clone(&state.threads[me].turn);
            state = turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.kernel.thread = me;
        state
    }

    /// Blocks until what the status says has come.
    fn block<'a>(&'a self, mut state: MutexGuard<'a, State>, me: usize, status: Status) -> MutexGuard<'a, State> {
        state.threads[me].status = status;
        let mut state = self.hand_over(state, me);
        state.threads[me].status = Status::Runnable;
        state
    }

    /// See epoll_wait(2).
    fn wait(&self, me: usize, epoll: i32, room: usize, timeout_ns: Option<u64>) -> io::Result<Vec<(u32, u64)>> {
        let mut state = self.lock();
        state.kernel.thread = me;
        state.kernel.begin_call();
        state.stall();
        if state.threads.len() > 1 {
            state = self.hand_over(state, me);
        }
        let epoll = state.kernel.epoll_id(epoll)?;
        let deadline = timeout_ns.map(|timeout| state.deadline(timeout));
        loop {
            state.check(me)?;
            let events = state.kernel.take_events(epoll, room);
            let late = deadline.is_some_and(|deadline| deadline <= state.kernel.now);
            if !events.is_empty() || late || me == 0 && state.stepping && state.kernel.peer_heard {
                return Ok(events);
            }
            if state.kernel.fails(|faults| faults.interrupt) {
                return Err(io::Error::from_raw_os_error(libc::EINTR));
            }
            state.kernel.sleep_on(epoll, true);
            state = self.block(state, me, Status::Polling { epoll, deadline });
            state.kernel.sleep_on(epoll, false);
        }
    }

    /// Blocks until another thread does something that may have been waited for.
    fn park(&self, me: usize, until: Option<u64>) {
        let state = self.lock();
        if state.over.is_none() {
            let state = self.block(state, me, Status::Parked { until });
            state.check_here(me);
        }
    }

    pub(super) fn sleep(&self, duration: Duration) {
        let me = place().map_or(0, |place| place.thread);
        let state = self.lock();
        let until = state.kernel.now.saturating_add(nanos(duration));
        let state = self.block(state, me, Status::Sleeping { until });
        state.check_here(me);
    }

    /// Makes a step of the test's own thread, in which a wait ends when something reaches a peer.
    pub(super) fn step<T>(&self, step: impl FnOnce() -> T) -> T {
        let mut state = self.lock();
        (state.stepping, state.kernel.peer_heard) = (true, false);
        drop(state);
        let result = step();
        self.lock().stepping = false;
        result
    }

    /// Blocks until `holds`, which is looked at whenever all other threads sleep.
    pub(super) fn watch(&self, mut holds: impl FnMut() -> bool) {
        let me = place().map_or(0, |place| place.thread);
        while !holds() {
            let state = self.block(self.lock(), me, Status::Watching);
            state.check_here(me);
        }
    }
}

impl State {
    /// Picks who runs next: of those who can one by chance, else who watches; and if nobody can, time passes.
    fn pick_next(&mut self) {
        while self.over.is_none() {
            let runnable: Vec<usize> = (0..self.threads.len()).filter(|&thread| self.can_run(thread)).collect();
            if let Some(next) = self.pick(&runnable) {
                self.look_again();
                return self.run(next);
            }
            let looks = |thread: &Thread| thread.status == Status::Watching && !thread.looked;
            if let Some(watcher) = self.threads.iter().position(looks) {
                self.threads[watcher].looked = true;
                return self.run(watcher);
            }
            self.pass_time();
        }
    }

    fn pick(&mut self, runnable: &[usize]) -> Option<usize> {
        if runnable.len() < 2 { runnable.first().copied() } else { Some(*self.kernel.random.pick(runnable)) }
    }

    fn run(&mut self, next: usize) {
        self.running = next;
        self.threads[next].turn.notify_one();
    }

    fn can_run(&self, thread: usize) -> bool {
        let due = |time: u64| time <= self.kernel.now;
        match self.threads[thread].status {
            Status::Runnable => true,
            Status::Polling { epoll, deadline } => {
                let looks = thread == 0 && self.stepping && self.kernel.peer_heard;
                looks || !self.kernel.sleeps_on(epoll) || deadline.is_some_and(due)
            }
            Status::Sleeping { until } => due(until),
            Status::Parked { until } => until.is_some_and(due),
            Status::Watching | Status::Ended => false,
        }
    }

    /// Nobody can run: the clock jumps to what comes next.
    fn pass_time(&mut self) {
        let deadline = |thread: &Thread| match thread.status {
            Status::Polling { deadline, .. } => deadline,
            Status::Sleeping { until } => Some(until),
            Status::Parked { until } => until,
            _ => None,
        };
        let deadlines = self.threads.iter().filter_map(deadline);
        let Some(next) = deadlines.chain(self.kernel.next_occurrence()).min() else {
            return self.end("the loop sleeps for ever: nobody can run, and nothing will happen".to_owned());
        };
        self.kernel.now = self.kernel.now.max(next);
        self.kernel.happen();
        self.look_again();
    }

    /// Something has happened: who watches looks again.
    fn look_again(&mut self) {
        self.threads.iter_mut().for_each(|thread| thread.looked = false);
    }

    /// Who waits for another thread looks again.
    fn unpark(&mut self) {
        for thread in &mut self.threads {
            if matches!(thread.status, Status::Parked { .. }) {
                thread.status = Status::Runnable;
            }
        }
        self.look_again();
    }

    /// Ends the simulation, for a reason.
    pub(super) fn end(&mut self, reason: String) {
        if self.over.is_none() {
            self.over = Some(reason);
            self.threads.iter().for_each(|thread| thread.turn.notify_one());
        }
    }

    /// Whether the simulation goes on; the test's own thread is told by a panic, with all that is known.
    fn check(&mut self, me: usize) -> io::Result<()> {
        if self.kernel.calls > self.call_limit {
            self.end(format!(
                "no end in sight after {} calls: the loop spins, or the program is endless",
                self.call_limit
            ));
        }
        self.check_here(me);
        match &self.over {
            Some(reason) => Err(io::Error::other(reason.clone())),
            None => Ok(()),
        }
    }

    fn check_here(&self, me: usize) {
        if let Some(reason) = &self.over
            && me == 0
            && !std::thread::panicking()
        {
            panic!("{reason}\n{}", self.dump());
        }
    }

    /// How things stand, for who has to find out why they do.
    pub(super) fn dump(&self) -> String {
        let mut text = format!("seed {}\n", self.kernel.seed);
        for (index, thread) in self.threads.iter().enumerate() {
            text += &format!("  thread {index}, {}: {:?}\n", thread.name, thread.status);
        }
        text + &self.kernel.dump()
    }

    /// The process is not run for some time, now and then.
    fn stall(&mut self) {
        if self.kernel.fails(|faults| faults.stall) {
            let longest = nanos(self.kernel.faults.longest_stall);
            self.kernel.now += self.kernel.random.magnitude(longest);
            self.kernel.happen();
        }
    }

    /// When a wait ends that may last so long.
    fn deadline(&mut self, timeout_ns: u64) -> u64 {
        let late = if timeout_ns > 0 && self.kernel.fails(|faults| faults.oversleep) {
            self.kernel.random.magnitude(OVERSLEEP_NS)
        } else {
            0
        };
        self.kernel.now.saturating_add(timeout_ns).saturating_add(late)
    }
}

impl Thread {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), status: Status::Runnable, looked: false, turn: Arc::default() }
    }
}

/// The virtual clock, in a simulation.
pub(crate) fn now_ns() -> Option<u64> {
    let place = place()?;
    let now = place.world.lock().kernel.now;
    Some(now)
}

/// The same moment as an instant.
pub(crate) fn instant() -> Option<Instant> {
    Some(place()?.world.instant())
}

/// See epoll_wait(2), with a timeout in nanoseconds.
pub(crate) fn wait(epoll: i32, room: usize, timeout_ns: Option<u64>) -> io::Result<Vec<(u32, u64)>> {
    let place = place().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
    place.world.wait(place.thread, epoll, room, timeout_ns)
}

/// Whether the calling thread is part of a simulation that is not over.
pub(crate) fn goes_on() -> bool {
    place().is_some_and(|place| place.world.lock().over.is_none())
}

/// Blocks until another thread of the simulation calls [`unpark`], or until this time.
pub(crate) fn park(until: Option<u64>) {
    if let Some(place) = place() {
        place.world.park(place.thread, until);
    }
}

/// Something has happened that other threads may wait for.
pub(crate) fn unpark() {
    if let Some(place) = place() {
        place.world.lock().unpark();
    }
}

/// A thread of the simulation that is to be started: made by who starts it, begun by itself.
pub(crate) struct Newcomer(Place);

/// The life of a thread of the simulation; its end lets others run.
pub(crate) struct Life(Place);

/// Enters a thread; `None` if the calling thread is not part of a simulation.
pub(crate) fn enter_thread(name: &str) -> Option<Newcomer> {
    let Place { world, .. } = place()?;
    let mut state = world.lock();
    state.threads.push(Thread::new(name));
    let thread = state.threads.len() - 1;
    drop(state);
    Some(Newcomer(Place { world, thread }))
}

impl Newcomer {
    pub(crate) fn number(&self) -> usize {
        self.0.thread
    }

    /// The thread begins, once it is its turn.
    pub(crate) fn begin(self) -> Life {
        PLACE.set(Some(self.0.clone()));
        drop(self.0.world.await_turn(self.0.world.lock(), self.0.thread));
        Life(self.0)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let mut state = self.0.world.lock();
        state.threads[self.0.thread].status = Status::Ended;
        state.unpark();
        state.pick_next();
        drop(state);
        PLACE.set(None);
    }
}

/// A thread could not be started.
pub(crate) fn abandon_thread(thread: usize) {
    if let Some(place) = place() {
        place.world.lock().threads[thread].status = Status::Ended;
    }
}

/// Sleeps in virtual time.
pub(super) fn sleep_here(duration: Duration) {
    place().expect("the calling thread is part of a simulation").world.sleep(duration);
}

/// Blocks until a thread of the simulation has ended.
pub(crate) fn await_end(thread: usize) {
    let Some(place) = place() else { return };
    loop {
        let ended = place.world.lock().has_ended(thread);
        if ended {
            return;
        }
        place.world.park(place.thread, None);
    }
}

impl State {
    fn has_ended(&self, thread: usize) -> bool {
        self.over.is_some() || self.threads[thread].status == Status::Ended
    }
}

/// A wait ends late by at most this.
const OVERSLEEP_NS: u64 = 20_000_000;

/// More calls than a simulation makes that has an end.
const CALL_LIMIT: u64 = 20_000_000;
