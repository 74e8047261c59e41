//! The slots of a timer queue: what is known of one timer lies in one line of the cache.

use crate::registry::{Key, MAX_SLOTS};
use crate::wheel::{FIRST_NODE, Link, Links};

/// A bounded store of timers under generational keys, and of the heads of their wheel.
///
/// It is what a [`Registry`](crate::registry::Registry) is, with generations and vacancies in the slots: among a million
/// timers in random order, what costs is each line of memory that is touched, so a timer is to be in one. Its slot is half
/// a line, or some whole halves if the value takes more than twelve bytes.
///
/// Nothing is allocated before the first insert.
pub(crate) struct TimerSlots<T> {
    /// The heads, from [`FIRST_NODE`] on the timers.
    slots: Vec<Slot<T>>,
    /// The slot vacated last; `NONE` if there is none.
    vacant: u32,
    live: usize,
    max: usize,
}

#[repr(align(32))]
struct Slot<T> {
    /// In a vacant slot the one that was vacated before it.
    deadline: u64,
    link: Link,
    /// Of the present tenant, or of the next one.
    generation: u32,
    /// `None` in heads, and in slots that are vacant or worn out.
    value: Option<T>,
}

impl<T> TimerSlots<T> {
    /// Slots for up to `max` timers, or [`MAX_SLOTS`] if that is less.
    pub(crate) fn with_max(max: usize) -> Self {
        Self { slots: Vec::new(), vacant: NONE, live: 0, max: max.min(MAX_SLOTS) }
    }

    /// Stores a timer, which is not linked yet; `None` if there is no room.
    #[inline]
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> Option<Key> {
        if self.live >= self.max {
            return None;
        }
        let index = self.vacant;
        let Some(slot) = self.slots.get_mut(index as usize) else { return self.push(deadline, value) };
        self.vacant = slot.deadline as u32;
        slot.deadline = deadline;
        slot.value = Some(value);
        self.live += 1;
        Some(Key { index, generation: slot.generation })
    }

    /// Stores a timer in a slot that is new.
    #[cold]
    fn push(&mut self, deadline: u64, value: T) -> Option<Key> {
        if self.slots.is_empty() {
            let head = |index| Slot { deadline: 0, link: Link::head(index), generation: 0, value: None };
            self.slots.extend((0..FIRST_NODE).map(head));
        }
        let index = self.slots.len() as u32;
        // Slots that are worn out count too.
        if (index - FIRST_NODE) as usize >= MAX_SLOTS {
            return None;
        }
        self.slots.push(Slot { deadline, link: Link::default(), generation: FIRST_GENERATION, value: Some(value) });
        self.live += 1;
        Some(Key { index, generation: FIRST_GENERATION })
    }

    /// Takes out the timer at `index`, which has left the wheel.
    #[inline]
    pub(crate) fn remove(&mut self, index: u32) -> Option<(Key, T)> {
        let slot = self.slots.get_mut(index as usize)?;
        let value = slot.value.take()?;
        let key = Key { index, generation: slot.generation };
        self.live -= 1;
        // A slot that is worn out is lost: another tenant would bring an old key back to life.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            slot.deadline = self.vacant.into();
            self.vacant = index;
        }
        Some((key, value))
    }

    /// The deadline of the timer named `key`, or `None` if the key is stale.
    #[inline]
    pub(crate) fn deadline_of(&self, key: Key) -> Option<u64> {
        let slot = self.slots.get(key.index as usize)?;
        slot.is_of(key).then_some(slot.deadline)
    }

    /// The same to change, before the timer is linked anew.
    #[inline]
    pub(crate) fn deadline_mut(&mut self, key: Key) -> Option<&mut u64> {
        let slot = self.slots.get_mut(key.index as usize)?;
        slot.is_of(key).then_some(&mut slot.deadline)
    }

    /// How many timers there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.live
    }
}

impl<T> Slot<T> {
    #[inline]
    fn is_of(&self, key: Key) -> bool {
        self.generation == key.generation && self.value.is_some()
    }
}

impl<T> Links for TimerSlots<T> {
    #[inline]
    fn link(&mut self, index: u32) -> &mut Link {
        &mut self.slots[index as usize].link
    }

    #[inline]
    fn deadline(&self, index: u32) -> u64 {
        self.slots[index as usize].deadline
    }
}

const FIRST_GENERATION: u32 = 1;

/// In place of an index: no slot.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    #[test]
    fn a_slot_of_a_token_is_half_a_line_of_the_cache() {
        assert_eq!(size_of::<Slot<NonZeroU64>>(), 32);
        assert_eq!(size_of::<Slot<u32>>(), 32);
        assert_eq!(size_of::<Slot<&str>>(), 64);
    }

    #[test]
    fn the_slot_vacated_last_is_reused_first() {
        let mut slots = TimerSlots::with_max(10);
        let [a, b, _] = ['a', 'b', 'c'].map(|value| slots.insert(0, value).unwrap());
        assert_eq!(slots.remove(a.index), Some((a, 'a')));
        assert_eq!(slots.remove(b.index), Some((b, 'b')));
        assert_eq!(slots.remove(b.index), None);
        let reused = ['d', 'e', 'f'].map(|value| slots.insert(0, value).unwrap().index);
        assert_eq!(reused, [b.index, a.index, FIRST_NODE + 3]);
        assert_eq!(slots.len(), 4);
    }

    #[test]
    fn a_vacant_slot_does_not_open_to_the_key_of_its_next_tenant() {
        let mut slots = TimerSlots::with_max(10);
        let old = slots.insert(7, 'a').unwrap();
        slots.remove(old.index);
        let next = Key { generation: old.generation + 1, ..old };
        assert_eq!(slots.deadline_of(next), None);
        assert_eq!(slots.insert(8, 'b'), Some(next));
        assert_eq!(slots.deadline_of(next), Some(8));
        assert_eq!(slots.deadline_of(old), None);
    }

    #[test]
    fn no_key_opens_a_head() {
        let mut slots = TimerSlots::with_max(10);
        slots.insert(7, 'a').unwrap();
        for index in 0..FIRST_NODE {
            assert_eq!(slots.deadline_of(Key { index, generation: 0 }), None);
            assert_eq!(slots.remove(index), None);
        }
    }

    #[test]
    fn a_worn_out_slot_is_not_used_again_and_takes_no_room_from_the_living() {
        let mut slots = TimerSlots::with_max(1);
        let first = slots.insert(0, 'a').unwrap();
        slots.slots[first.index as usize].generation = u32::MAX;
        let (last, _) = slots.remove(first.index).unwrap();
        assert_eq!(last.generation, u32::MAX);
        assert_eq!(slots.deadline_of(last), None);

        let next = slots.insert(0, 'b').unwrap();
        assert_eq!(next, Key { index: first.index + 1, generation: FIRST_GENERATION });
        assert_eq!(slots.insert(0, 'c'), None);
    }

    #[test]
    fn no_queue_has_more_slots_than_a_registry() {
        let mut slots = TimerSlots::with_max(usize::MAX);
        for _ in 0..MAX_SLOTS {
            assert!(slots.insert(0, ()).is_some());
        }
        assert_eq!(slots.insert(0, ()), None);
    }
}
