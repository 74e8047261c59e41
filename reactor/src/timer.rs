//! A timer queue holds millions of timers and hands back the ones that are due, in order.

use std::fmt;
use std::num::NonZeroU64;

use crate::registry::Key;
use crate::timer_slots::TimerSlots;
use crate::wheel::{FIRST_NODE, Wheel};

/// A bounded set of values, each waiting for a tick, on a hierarchical timing wheel.
///
/// It has no clock: the owner says what time it is with [`advance`](Self::advance) and then takes
/// what is due with [`pop_due`](Self::pop_due). Ticks are a `u64` of any unit, counted from 0; the
/// event loop's are milliseconds since it started.
///
/// Insert, cancel and reset take constant time whatever the number of timers. Timers are due in
/// order of deadline; those of one deadline in order of insertion. No timer is early, and a
/// cancelled one is never returned. A timer takes 32 bytes, half a line of the cache, if
/// `Option<T>` has at most twelve, and the heads of the wheel take 22 KiB from the first timer on.
///
/// # Examples
///
/// ```
/// use reactor::timer::TimerQueue;
///
/// let mut timers = TimerQueue::new();
/// let tea = timers.insert(180_000, "tea").expect("there is room");
/// let egg = timers.insert(360_000, "egg").expect("there is room");
/// timers.cancel(egg);
///
/// timers.advance(179_999);
/// assert_eq!(timers.pop_due(), None);
/// timers.advance(180_000);
/// assert_eq!(timers.pop_due(), Some((tea, "tea")));
/// assert!(timers.is_empty());
/// ```
pub struct TimerQueue<T> {
    wheel: Wheel,
    slots: TimerSlots<T>,
}

/// The name of one timer in a [`TimerQueue`], stale for ever once the timer fired or was cancelled.
///
/// It shows as its slot and how many timers have used the slot: `12v3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId(NonZeroU64);

impl<T> TimerQueue<T> {
    /// An empty queue at tick 0, of up to [`MAX_SLOTS`](crate::registry::MAX_SLOTS) timers.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max(usize::MAX)
    }

    /// An empty queue at tick 0, of up to `max` timers, or
    /// [`MAX_SLOTS`](crate::registry::MAX_SLOTS) if that is less.
    #[must_use]
    pub fn with_max(max: usize) -> Self {
        Self { wheel: Wheel::new(0), slots: TimerSlots::with_max(max) }
    }

    /// Arms a timer, or drops `value` and returns `None` when the queue is full.
    ///
    /// A `deadline_tick` that has passed counts as the tick reached: it is due at the next
    /// [`advance`](Self::advance), never in a drain that is under way.
    #[inline]
    pub fn insert(&mut self, deadline_tick: u64, value: T) -> Option<TimerId> {
        let key = self.slots.insert(deadline_tick, value)?;
        self.wheel.place(&mut self.slots, key.index, deadline_tick);
        Some(TimerId::pack(key))
    }

    /// Disarms a timer, even one that is due and not yet popped, and returns its value.
    #[inline]
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let key = id.unpack();
        self.slots.deadline_of(key)?;
        self.wheel.remove(&mut self.slots, key.index);
        self.slots.remove(key.index).map(|(_, value)| value)
    }

    /// The tick a timer waits for, as it was given.
    #[inline]
    #[must_use]
    pub fn deadline(&self, id: TimerId) -> Option<u64> {
        self.slots.deadline_of(id.unpack())
    }

    /// Re-arms a timer in place, behind all others of equal deadline; `false` if `id` is stale.
    ///
    /// A timer that is due and not yet popped waits again.
    #[inline]
    pub fn reset(&mut self, id: TimerId, deadline_tick: u64) -> bool {
        let key = id.unpack();
        let Some(deadline) = self.slots.deadline_mut(key) else {
            return false;
        };
        *deadline = deadline_tick;
        self.wheel.insert(&mut self.slots, key.index);
        true
    }

    /// The tick at which to call [`advance`](Self::advance), or `None` without timers.
    ///
    /// It is never later than the first deadline. It is earlier, and nothing may be due then, when
    /// that deadline is 64 ticks away or more; and it is the tick reached while timers are due.
    #[inline]
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.wheel.next_deadline()
    }

    /// Makes every timer with a deadline of at most `now` due, behind those already due.
    ///
    /// A `now` before the tick reached counts as that tick. The cost is in the timers that move,
    /// not in the ticks passed: a jump over years is as cheap as a step.
    #[inline]
    pub fn advance(&mut self, now: u64) {
        self.wheel.advance(&mut self.slots, now);
    }

    /// Takes the first due timer out; its id is stale from then on.
    #[inline]
    pub fn pop_due(&mut self) -> Option<(TimerId, T)> {
        let index = self.wheel.pop_due(&mut self.slots)?;
        let (key, value) = self.slots.remove(index)?;
        Some((TimerId::pack(key), value))
    }

    /// How many timers are armed, the due ones included.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no timer is armed.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for TimerQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerQueue")
            .field("len", &self.len())
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}

impl TimerId {
    #[inline]
    fn pack(key: Key) -> Self {
        let bits = u64::from(key.generation) << 32 | u64::from(key.index);
        Self(NonZeroU64::new(bits).expect("a generation is never 0"))
    }

    #[inline]
    fn unpack(self) -> Key {
        Key { index: self.0.get() as u32, generation: (self.0.get() >> 32) as u32 }
    }
}

impl fmt::Debug for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimerId({self})")
    }
}

impl fmt::Display for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { index, generation } = self.unpack();
        write!(f, "{}v{generation}", index - FIRST_NODE)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    fn drain<T>(timers: &mut TimerQueue<T>) -> Vec<T> {
        std::iter::from_fn(|| timers.pop_due()).map(|(_, value)| value).collect()
    }

    #[test]
    fn an_id_has_a_niche() {
        assert_eq!(size_of::<Option<TimerId>>(), 8);
    }

    #[test]
    fn an_id_shows_its_slot_and_generation() {
        let mut timers = TimerQueue::new();
        let old = timers.insert(1, ()).unwrap();
        timers.cancel(old);
        let new = timers.insert(1, ()).unwrap();
        assert_eq!(old.to_string(), "0v1");
        assert_eq!(format!("{new:?}"), "TimerId(0v2)");
    }

    #[test]
    fn a_fired_or_cancelled_timer_has_a_stale_id() {
        let mut timers = TimerQueue::new();
        let [fired, cancelled] = [1, 2].map(|tick| timers.insert(tick, tick).unwrap());
        assert_eq!(timers.cancel(cancelled), Some(2));
        timers.advance(2);
        assert_eq!(timers.pop_due(), Some((fired, 1)));
        assert_eq!(timers.pop_due(), None);

        timers.insert(3, 3);
        timers.insert(4, 4);
        for stale in [fired, cancelled] {
            assert_eq!(timers.cancel(stale), None);
            assert_eq!(timers.deadline(stale), None);
            assert!(!timers.reset(stale, 9));
        }
        assert_eq!(timers.len(), 2);
    }

    #[test]
    fn a_full_queue_takes_no_timer_until_one_leaves() {
        let mut timers = TimerQueue::with_max(1);
        let first = timers.insert(1, 'a').unwrap();
        assert_eq!(timers.insert(2, 'b'), None);
        timers.cancel(first);
        assert!(timers.insert(2, 'b').is_some());
    }

    #[test]
    fn a_timer_cancelled_while_due_does_not_fire() {
        let mut timers = TimerQueue::new();
        timers.insert(5, 'a');
        let b = timers.insert(5, 'b').unwrap();
        timers.advance(5);
        assert_eq!(timers.pop_due().unwrap().1, 'a');
        assert_eq!(timers.cancel(b), Some('b'));
        assert_eq!(timers.pop_due(), None);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn a_timer_reset_while_due_waits_again() {
        let mut timers = TimerQueue::new();
        let a = timers.insert(5, 'a').unwrap();
        timers.advance(5);
        assert!(timers.reset(a, 7));
        assert_eq!(timers.pop_due(), None);
        timers.advance(7);
        assert_eq!(timers.pop_due(), Some((a, 'a')));
    }

    #[test]
    fn a_timer_that_rearms_itself_at_once_does_not_hold_up_the_drain() {
        let mut timers = TimerQueue::new();
        timers.insert(0, 'a');
        for now in [0, 0, 1] {
            timers.advance(now);
            while let Some((_, value)) = timers.pop_due() {
                timers.insert(0, value);
            }
        }
        assert_eq!(timers.len(), 1);
    }

    #[test]
    fn a_reset_timer_goes_behind_its_equals() {
        let mut timers = TimerQueue::new();
        let a = timers.insert(5, 'a').unwrap();
        timers.insert(5, 'b');
        assert!(timers.reset(a, 5));
        assert_eq!(timers.deadline(a), Some(5));
        timers.advance(5);
        assert_eq!(drain(&mut timers), ['b', 'a']);
    }

    /// What a timer queue is, without the speed: a sorted map, and a queue of what is due.
    #[derive(Default)]
    struct Model {
        now: u64,
        order: u32,
        /// By deadline and order of arming: the timer's number.
        waiting: BTreeMap<(u64, u32), usize>,
        due: VecDeque<usize>,
    }

    impl Model {
        fn arm(&mut self, deadline: u64, timer: usize) {
            self.waiting.insert((deadline.max(self.now), self.order), timer);
            self.order += 1;
        }

        fn disarm(&mut self, timer: usize) -> bool {
            let before = self.len();
            self.waiting.retain(|_, waiting| *waiting != timer);
            self.due.retain(|due| *due != timer);
            self.len() < before
        }

        fn advance(&mut self, now: u64) {
            self.now = self.now.max(now);
            while let Some(first) = self.waiting.first_entry() {
                if first.key().0 > self.now {
                    break;
                }
                self.due.push_back(first.remove());
            }
        }

        fn len(&self) -> usize {
            self.waiting.len() + self.due.len()
        }

        /// The first tick at which something is due.
        fn first(&self) -> Option<u64> {
            if !self.due.is_empty() {
                return Some(self.now);
            }
            self.waiting.keys().next().map(|(deadline, _)| *deadline)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        InsertIn(u64),
        Cancel(usize),
        Reset(usize, u64),
        Advance(u64),
        AdvanceToNext,
        Pop,
        Drain,
    }

    /// Ticks around the levels' boundaries, few enough for deadlines to coincide.
    fn tick() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => 0..130u64,
            3 => (0..11u32, 0..4u64, 0..3u64)
                .prop_map(|(level, times, more)| (times << (6 * level)).wrapping_add(more)),
            1 => (u64::MAX - 2)..=u64::MAX,
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => tick().prop_map(Step::Insert),
            6 => tick().prop_map(Step::InsertIn),
            3 => any::<usize>().prop_map(Step::Cancel),
            3 => (any::<usize>(), tick()).prop_map(|(pick, in_ticks)| Step::Reset(pick, in_ticks)),
            3 => (0..300u64).prop_map(Step::Advance),
            1 => tick().prop_map(Step::Advance),
            3 => Just(Step::AdvanceToNext),
            3 => Just(Step::Pop),
            1 => Just(Step::Drain),
        ]
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn agrees_with_a_sorted_map(steps in prop::collection::vec(step(), 0..300)) {
            let mut timers = TimerQueue::new();
            let mut model = Model::default();
            let mut ids = Vec::new();
            for step in steps {
                let mut pops = 0;
                match step {
                    Step::Insert(deadline) => {
                        model.arm(deadline, ids.len());
                        ids.push(timers.insert(deadline, ids.len()).unwrap());
                    }
                    Step::InsertIn(ticks) => {
                        let deadline = model.now.saturating_add(ticks);
                        model.arm(deadline, ids.len());
                        ids.push(timers.insert(deadline, ids.len()).unwrap());
                    }
                    Step::Cancel(pick) if !ids.is_empty() => {
                        let timer = pick % ids.len();
                        let armed = model.disarm(timer);
                        prop_assert_eq!(timers.cancel(ids[timer]), armed.then_some(timer));
                    }
                    Step::Reset(pick, ticks) if !ids.is_empty() => {
                        let timer = pick % ids.len();
                        let deadline = model.now.saturating_add(ticks);
                        let armed = model.disarm(timer);
                        if armed {
                            model.arm(deadline, timer);
                        }
                        prop_assert_eq!(timers.reset(ids[timer], deadline), armed);
                        prop_assert_eq!(timers.deadline(ids[timer]), armed.then_some(deadline));
                    }
                    Step::Advance(ticks) => {
                        let now = model.now.saturating_add(ticks);
                        model.advance(now);
                        timers.advance(now);
                    }
                    Step::AdvanceToNext => {
                        let now = timers.next_deadline().unwrap_or(model.now);
                        model.advance(now);
                        timers.advance(now);
                    }
                    Step::Pop => pops = 1,
                    Step::Drain => pops = model.due.len() + 1,
                    Step::Cancel(_) | Step::Reset(..) => {}
                }
                for _ in 0..pops {
                    let expected = model.due.pop_front().map(|timer| (ids[timer], timer));
                    prop_assert_eq!(timers.pop_due(), expected);
                }
                prop_assert_eq!(timers.len(), model.len());
                prop_assert_eq!(timers.is_empty(), model.len() == 0);
                prop_assert_eq!(timers.next_deadline().is_some(), model.first().is_some());
                prop_assert!(timers.next_deadline() <= model.first());
                prop_assert!(timers.next_deadline().is_none_or(|next| next >= model.now));
            }
        }
    }
}
