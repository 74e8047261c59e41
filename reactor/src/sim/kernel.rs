//! The simulated kernel: descriptors, time, and what is going to happen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use crate::sim::datagram::{Datagram, Outside};
use crate::sim::epoll::Epoll;
use crate::sim::faults::Faults;
use crate::sim::inotify::{Change, FILE_EVENTS, Inotify};
use crate::sim::pipe::{Direction, Pipe};
use crate::sim::process::{Process, Programs};
use crate::sim::random::Random;
use crate::sim::remote::Remotes;
use crate::sim::socket::Socket;
use crate::sim::stream::{Side, Stream};
use crate::sim::trace::{Entry, Trace, Traced};
use crate::sim::words::{Id, bits, error, nanos};

/// All that a simulated machine and its network consist of. One thread at a time works with it.
pub(crate) struct Kernel {
    pub(super) seed: u64,
    pub(super) faults: Faults,
    pub(super) random: Random,
    pub(super) trace: Trace,
    /// The thread that makes the call, for the trace.
    pub(super) thread: usize,
    /// Nanoseconds on the clock.
    pub(super) now: u64,
    /// Calls so far.
    pub(super) calls: u64,
    /// Calls that did something: not those that failed, nor waits.
    pub(super) progress: u64,
    /// The same by the names that the trace has for them.
    pub(super) succeeded: BTreeMap<&'static str, u64>,
    last_id: Id,
    /// What the descriptors name, by number.
    descriptors: BTreeMap<i32, Id>,
    /// What has had more than one descriptor, for these are seldom.
    duplicates: BTreeSet<Id>,
    /// How many descriptors there may be.
    pub(super) descriptor_limit: usize,
    pub(super) objects: BTreeMap<Id, Object>,
    pub(super) epolls: BTreeMap<Id, Epoll>,
    pub(super) streams: BTreeMap<Id, Stream>,
    pub(super) pipes: BTreeMap<Id, Pipe>,
    pub(super) processes: BTreeMap<Id, Process>,
    /// What is happening to files.
    pub(super) changes: VecDeque<Change>,
    /// How many events of files may wait.
    pub(super) file_events: usize,
    /// What can be started.
    pub(super) programs: Option<Programs>,
    pub(super) remotes: Remotes,
    pub(super) datagrams_under_way: BTreeMap<Id, Datagram>,
    /// Where datagrams go that leave the machine.
    pub(super) outside: Vec<Outside>,
    /// What is going to happen, by time, and in order where the times are the same.
    timeline: BTreeMap<(u64, Id), Occurrence>,
    /// Signals that were sent and not read, a bit each.
    pub(super) signals: u64,
    /// Until when descriptors or memory are short, and which `errno` says so.
    pub(super) shortage: Option<(u64, i32)>,
    /// Whether timeouts in nanoseconds are known: epoll_pwait2(2).
    pub(super) precise: bool,
    pub(super) last_port: u16,
    /// Something has reached a peer, which the test may look at.
    pub(super) peer_heard: bool,
}

/// What a descriptor can name, but for epoll instances, which have a place of their own.
pub(super) enum Object {
    Epoll,
    /// An eventfd with its count.
    Event(u64),
    /// A signalfd with its set, a bit each.
    Signals(u64),
    Socket(Socket),
    /// An end of a pipe.
    Pipe(Id, Direction),
    /// A pidfd.
    Process(Id),
    Inotify(Box<Inotify>),
}

/// What happens by itself at some time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Occurrence {
    /// What one end has sent arrives at the other.
    Arrival { stream: Id, from: Side },
    /// A reset arrives.
    Reset { stream: Id, to: Side },
    /// The kernel takes bytes again.
    Room { stream: Id, side: Side },
    /// A request to connect reaches the listener.
    Knock { stream: Id, tries: u32 },
    /// A request to connect fails.
    Refusal { stream: Id, errno: i32 },
    /// Nobody has acknowledged for too long.
    Timeout { stream: Id, side: Side },
    /// A datagram arrives; the socket that sent it hears if nobody is there.
    Datagram { datagram: Id, sender: Option<Id> },
    /// The kernel takes datagrams again.
    DatagramRoom { socket: Id },
    /// The program at the other end of a pipe reads or writes.
    Stir { pipe: Id },
    /// The kernel takes bytes for a pipe again.
    PipeRoom { pipe: Id },
    /// The time of a child is over.
    ChildAges { process: Id },
    /// A signal reaches a child.
    Signal { process: Id, signal: i32 },
    /// Something happens to a file.
    FileChange,
}

impl Kernel {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let mut random = Random::new(seed);
        let precise = !random.chance(if faults == Faults::none() { 0.0 } else { 0.1 });
        Self {
            seed,
            faults,
            random,
            trace: Trace::new(),
            thread: 0,
            now: START_NS,
            calls: 0,
            progress: 0,
            succeeded: BTreeMap::new(),
            last_id: 0,
            descriptors: BTreeMap::new(),
            duplicates: BTreeSet::new(),
            descriptor_limit: MAX_DESCRIPTORS,
            objects: BTreeMap::new(),
            epolls: BTreeMap::new(),
            streams: BTreeMap::new(),
            pipes: BTreeMap::new(),
            processes: BTreeMap::new(),
            changes: VecDeque::new(),
            file_events: FILE_EVENTS,
            programs: None,
            remotes: Remotes::default(),
            datagrams_under_way: BTreeMap::new(),
            outside: Vec::new(),
            timeline: BTreeMap::new(),
            signals: 0,
            shortage: None,
            precise,
            last_port: FIRST_PORT,
            peer_heard: false,
        }
    }

    pub(super) fn new_id(&mut self) -> Id {
        self.last_id += 1;
        self.last_id
    }

    /// A call begins: it takes a moment, in which things happen.
    pub(super) fn begin_call(&mut self) {
        self.calls += 1;
        self.now += CALL_NS;
        self.happen();
    }

    /// Notes a call and how it went.
    pub(super) fn note<T: Traced>(&mut self, what: &'static str, of: i64, result: T) -> T {
        let entry = Entry { now: self.now, thread: self.thread, what, of, result: result.traced() };
        self.trace.note(entry);
        result
    }

    /// Whether a fault of this rate happens now.
    pub(super) fn fails(&mut self, rate: fn(&Faults) -> f64) -> bool {
        let rate = rate(&self.faults);
        self.random.chance(rate)
    }

    /// How long something is on its way.
    pub(super) fn delay(&mut self) -> u64 {
        if !self.fails(|faults| faults.delay) {
            return 0;
        }
        let longest = nanos(self.faults.longest_delay);
        self.random.magnitude(longest)
    }

    /// Makes something happen after `delay` nanoseconds.
    pub(super) fn schedule(&mut self, delay: u64, occurrence: Occurrence) {
        let order = self.new_id();
        self.timeline.insert((self.now.saturating_add(delay), order), occurrence);
    }

    /// When something happens next.
    pub(super) fn next_occurrence(&self) -> Option<u64> {
        self.timeline.first_key_value().map(|((time, _), _)| *time)
    }

    /// Whether something is on its way: bytes, connections, resets.
    pub(super) fn has_traffic(&self) -> bool {
        use Occurrence::{ChildAges, Refusal, Timeout};
        let waits = |occurrence: &Occurrence| !matches!(occurrence, Timeout { .. } | Refusal { .. } | ChildAges { .. });
        self.timeline.values().any(waits)
    }

    /// Lets everything happen that is due.
    pub(super) fn happen(&mut self) {
        while let Some(first) = self.timeline.first_entry()
            && first.key().0 <= self.now
        {
            match first.remove() {
                Occurrence::Arrival { stream, from } => self.arrive(stream, from),
                Occurrence::Reset { stream, to } => self.reset_arrives(stream, to),
                Occurrence::Room { stream, side } => self.make_room(stream, side),
                Occurrence::Knock { stream, tries } => self.knock(stream, tries),
                Occurrence::Refusal { stream, errno } => self.refuse(stream, errno),
                Occurrence::Timeout { stream, side } => self.time_out(stream, side),
                Occurrence::Datagram { datagram, sender } => self.datagram_arrives(datagram, sender),
                Occurrence::DatagramRoom { socket } => self.make_datagram_room(socket),
                Occurrence::Stir { pipe } => self.stirs(pipe),
                Occurrence::PipeRoom { pipe } => self.make_pipe_room(pipe),
                Occurrence::ChildAges { process } => self.child_ages(process),
                Occurrence::Signal { process, signal } => self.signal_arrives(process, signal),
                Occurrence::FileChange => self.file_changes(),
            }
        }
    }

    /// Enters an object and gives it the lowest number that is free, as the real one does; see open(2).
    pub(super) fn open(&mut self, object: Object) -> io::Result<i32> {
        self.check_descriptors()?;
        let id = self.new_id();
        self.objects.insert(id, object);
        Ok(self.name(id))
    }

    /// Whether one more descriptor may be made.
    pub(super) fn check_descriptors(&self) -> io::Result<()> {
        if self.descriptors.len() >= self.descriptor_limit { Err(error(libc::EMFILE)) } else { Ok(()) }
    }

    /// The descriptors, counted from 0, and what they name.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (i32, &Object)> {
        self.descriptors.iter().filter_map(|(number, id)| Some((number - FIRST_DESCRIPTOR, self.objects.get(id)?)))
    }

    /// How many descriptors are open.
    pub(super) fn open_descriptors(&self) -> usize {
        self.descriptors.len()
    }

    fn name(&mut self, id: Id) -> i32 {
        let taken = self.descriptors.keys().zip(FIRST_DESCRIPTOR..).take_while(|(taken, free)| *taken == free).count();
        let number = FIRST_DESCRIPTOR + i32::try_from(taken).expect("there are at most a million");
        self.descriptors.insert(number, id);
        number
    }

    /// What a descriptor names.
    pub(super) fn id_of(&self, number: i32) -> io::Result<Id> {
        self.descriptors.get(&number).copied().ok_or_else(|| error(libc::EBADF))
    }

    pub(super) fn object(&mut self, number: i32) -> io::Result<&mut Object> {
        let id = self.id_of(number)?;
        self.objects.get_mut(&id).ok_or_else(|| error(libc::EBADF))
    }

    /// Closes a descriptor; see close(2).
    pub(super) fn close(&mut self, number: i32) {
        let Some(id) = self.descriptors.remove(&number) else { return };
        if self.duplicates.remove(&id) && self.descriptors.values().any(|other| *other == id) {
            self.duplicates.insert(id);
            return;
        }
        for epoll in self.epolls.values_mut() {
            epoll.forget(id);
        }
        match self.objects.remove(&id) {
            Some(Object::Epoll) => drop(self.epolls.remove(&id)),
            Some(Object::Socket(socket)) => self.close_socket(socket),
            Some(Object::Pipe(pipe, direction)) => self.close_pipe_end(pipe, direction),
            Some(Object::Event(_) | Object::Signals(_) | Object::Process(_) | Object::Inotify(_)) | None => {}
        }
    }

    /// Gives an object one more descriptor; see dup(2).
    pub(super) fn duplicate(&mut self, number: i32) -> io::Result<i32> {
        let id = self.id_of(number)?;
        self.check_descriptors()?;
        self.duplicates.insert(id);
        Ok(self.name(id))
    }

    /// Takes back what was made a moment ago.
    pub(super) fn forget_object(&mut self, id: Id) {
        self.objects.remove(&id);
        self.descriptors.retain(|_, named| *named != id);
    }

    /// What the object tells now, as the bits of epoll(7).
    pub(super) fn readiness(&mut self, id: Id) -> u32 {
        match self.objects.get(&id) {
            Some(Object::Event(count)) => {
                bits(if *count > 0 { libc::EPOLLIN | libc::EPOLLOUT } else { libc::EPOLLOUT })
            }
            Some(Object::Signals(set)) => bits(if self.signals & set == 0 { 0 } else { libc::EPOLLIN }),
            Some(Object::Socket(_)) => self.socket_readiness(id),
            Some(&Object::Pipe(pipe, direction)) => self.pipe_readiness(pipe, direction),
            Some(&Object::Process(process)) => self.process_readiness(process),
            Some(Object::Inotify(inotify)) => bits(if inotify.waiting.is_empty() { 0 } else { libc::EPOLLIN }),
            Some(Object::Epoll) | None => 0,
        }
    }

    /// Adds to an eventfd's count.
    pub(super) fn signal_event(&mut self, number: i32, added: u64) -> io::Result<()> {
        let id = self.id_of(number)?;
        let Some(Object::Event(count)) = self.objects.get_mut(&id) else { return Err(error(libc::EINVAL)) };
        *count += added;
        self.notify(id, bits(libc::EPOLLIN));
        Ok(())
    }

    /// Takes an eventfd's count; see eventfd(2).
    pub(super) fn take_count(&mut self, number: i32) -> io::Result<u64> {
        let id = self.id_of(number)?;
        match self.objects.get_mut(&id) {
            Some(Object::Event(0)) => Err(error(libc::EAGAIN)),
            Some(Object::Event(count)) => {
                let taken = std::mem::take(count);
                self.notify(id, bits(libc::EPOLLOUT));
                Ok(taken)
            }
            _ => Err(error(libc::EINVAL)),
        }
    }

    /// Sends a signal to the process.
    pub(super) fn raise(&mut self, signal: i32) {
        self.signals |= 1 << signal;
        let watches = |object: &Object| matches!(object, Object::Signals(set) if set & 1 << signal != 0);
        let told: Vec<Id> = self.objects.iter().filter(|(_, object)| watches(object)).map(|(id, _)| *id).collect();
        told.into_iter().for_each(|id| self.notify(id, bits(libc::EPOLLIN)));
    }

    /// Takes the lowest signal that waits and is in the set; see signalfd(2).
    pub(super) fn read_signal(&mut self, number: i32) -> io::Result<i32> {
        let Object::Signals(set) = *self.object(number)? else { return Err(error(libc::EINVAL)) };
        let waiting = self.signals & set;
        if waiting == 0 {
            return Err(error(libc::EAGAIN));
        }
        let signal = waiting.trailing_zeros();
        self.signals &= !(1 << signal);
        Ok(signal.cast_signed())
    }

    /// Whether something that needs a descriptor or kernel memory cannot be had now, and why.
    pub(super) fn meets_shortage(&mut self) -> io::Result<()> {
        match self.shortage {
            Some((until, errno)) if until > self.now => return Err(error(errno)),
            _ => self.shortage = None,
        }
        if self.fails(|faults| faults.shortage) {
            let longest = nanos(self.faults.longest_shortage);
            let until = self.now + self.random.magnitude(longest);
            let errno = *self.random.pick(&[libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM]);
            self.shortage = Some((until, errno));
            return Err(error(errno));
        }
        Ok(())
    }
}

/// Simulated descriptors are numbers from here: more than `fs.nr_open` can be, so that no real one is among them.
pub(crate) const FIRST_DESCRIPTOR: i32 = 1 << 30;

/// As many descriptors as `fs.nr_open` allows by default.
const MAX_DESCRIPTORS: usize = 1 << 20;

/// A call takes this long, so that time passes in a loop that never sleeps, and things happen between two calls.
const CALL_NS: u64 = 250;

/// The clock does not begin at 0, so that nothing relies on it.
const START_NS: u64 = 1_000_000_000;

/// Ports that nobody has asked for are given from here, as `net.ipv4.ip_local_port_range` says by default.
pub(super) const FIRST_PORT: u16 = 32_768;
