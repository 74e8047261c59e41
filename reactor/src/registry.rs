//! A registry gives every value a key that names it, and nothing else, for ever.

use std::fmt;
use std::mem;

use slab::Slab;

/// A bounded store of values under generational keys, with constant-time insert, lookup and remove.
///
/// A removed value's key goes stale: it names nothing from then on, whatever is inserted later.
/// The values live in a [`Slab`]; beside each slot stands a *generation* that counts its tenants,
/// and a key only opens the slot while the generations agree.
///
/// ```text
/// slots:       | Live(a) | vacant | Live(b) | Retired |
/// generations: |    1    |   7    |    2    |   MAX   |
///                            ^ the slot vacated last is reused first
/// ```
///
/// A slot that has had all its `u32::MAX` tenants is retired: it is not given back to the slab,
/// because another tenant would bring an old key back to life. A slot reused a million times a
/// second lasts 71 minutes; its memory is then lost, its place within the bound is not.
///
/// A slot takes four bytes beyond its `T` if that has a niche of two values or more, and eight bytes
/// beside the niche for the index of the next vacant slot; any other `T` needs a tag as well.
///
/// # Examples
///
/// ```
/// use reactor::registry::Registry;
///
/// let mut names = Registry::new();
/// let ada = names.insert("ada").expect("there is room");
/// assert_eq!(names.get(ada), Some(&"ada"));
///
/// assert_eq!(names.remove(ada), Some("ada"));
/// let bob = names.insert("bob").expect("there is room");
/// assert_eq!(bob.index, ada.index);
/// assert_eq!(names.get(ada), None);
/// ```
pub struct Registry<T> {
    slots: Slab<Slot<T>>,
    /// One for every slot ever used: the generation of the present tenant, or of the next one.
    generations: Vec<u32>,
    /// How many slots are retired; to the slab they are occupied.
    retired: usize,
    max: usize,
}

/// The name of one value in a [`Registry`].
///
/// Any pair of numbers may be looked up; one that no insert returned names nothing, unless it
/// happens to equal a live key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The slot, below [`MAX_SLOTS`]; slots are reused.
    pub index: u32,
    /// The number of the slot's tenant, counted from 1.
    pub generation: u32,
}

impl<T> Registry<T> {
    /// An empty registry of up to [`MAX_SLOTS`] values.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max(MAX_SLOTS)
    }

    /// An empty registry of up to `max` values, or [`MAX_SLOTS`] if that is less.
    ///
    /// Nothing is allocated before the first insert.
    #[must_use]
    pub fn with_max(max: usize) -> Self {
        Self { slots: Slab::new(), generations: Vec::new(), retired: 0, max: max.min(MAX_SLOTS) }
    }

    /// Stores `value` and returns its key.
    ///
    /// # Errors
    ///
    /// Gives `value` back when the registry is full.
    #[inline]
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        let key = self.next_key();
        if self.len() >= self.max || key.index as usize >= MAX_SLOTS {
            return Err(value);
        }
        if self.slots.insert(Slot::Live(value)) == self.generations.len() {
            self.generations.push(FIRST_GENERATION);
        }
        Ok(key)
    }

    /// The key that the next successful [`insert`](Self::insert) returns, if no value is removed
    /// before it, so that a value can hold its own key.
    #[inline]
    #[must_use]
    pub fn next_key(&self) -> Key {
        let index = self.slots.vacant_key();
        let generation = self.generations.get(index).copied().unwrap_or(FIRST_GENERATION);
        Key { index: index as u32, generation }
    }

    /// The value named `key`, or `None` if the key is stale.
    #[inline]
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        if *self.generations.get(key.index as usize)? != key.generation {
            return None;
        }
        self.slots.get(key.index as usize)?.live()
    }

    /// The value named `key`, to change, or `None` if the key is stale.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        if *self.generations.get(key.index as usize)? != key.generation {
            return None;
        }
        self.slots.get_mut(key.index as usize)?.live_mut()
    }

    /// Whether `key` names a value.
    #[inline]
    #[must_use]
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// Takes out the value named `key`, or `None` if the key is stale; it is stale from then on.
    #[inline]
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let index = key.index as usize;
        let generation = self.generations.get_mut(index)?;
        if *generation != key.generation {
            return None;
        }
        let Some(next) = generation.checked_add(1) else {
            return self.retire(index);
        };
        let slot = self.slots.try_remove(index)?;
        *generation = next;
        slot.into_live()
    }

    /// The value in slot `index`, whatever its generation, with its key.
    #[inline]
    #[must_use]
    pub fn at(&self, index: u32) -> Option<(Key, &T)> {
        let &generation = self.generations.get(index as usize)?;
        let value = self.slots.get(index as usize)?.live()?;
        Some((Key { index, generation }, value))
    }

    /// The value in slot `index`, whatever its generation, with its key, to change.
    #[inline]
    #[must_use]
    pub fn at_mut(&mut self, index: u32) -> Option<(Key, &mut T)> {
        let &generation = self.generations.get(index as usize)?;
        let value = self.slots.get_mut(index as usize)?.live_mut()?;
        Some((Key { index, generation }, value))
    }

    /// The value in slot `index`, whatever its generation, to change.
    #[inline]
    #[must_use]
    pub fn slot_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.live_mut()
    }

    /// The key of the value in slot `index`, or `None` if the slot is vacant.
    #[inline]
    #[must_use]
    pub fn key_at(&self, index: u32) -> Option<Key> {
        self.at(index).map(|(key, _)| key)
    }

    /// How many values there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.retired
    }

    /// Whether there is no value.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every value with its key, by rising index; it walks all slots ever used.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.from(0)
    }

    /// Every value in slot `index` or behind it, with its key, by rising index.
    pub fn from(&self, index: u32) -> impl Iterator<Item = (Key, &T)> {
        (index..self.generations.len() as u32).filter_map(|index| self.at(index))
    }

    /// Takes out the last value slot `index` may hold, and the slot with it.
    ///
    /// Its generation stays the last one: that key still finds the slot, and nothing live in it.
    #[cold]
    fn retire(&mut self, index: usize) -> Option<T> {
        let value = mem::replace(self.slots.get_mut(index)?, Slot::Retired).into_live()?;
        self.retired += 1;
        Some(value)
    }
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Registry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// What the slab holds; a vacant slot is the slab's own affair.
enum Slot<T> {
    Live(T),
    /// Worn out: it stays in the slab, so that the slab never offers it again.
    Retired,
}

impl<T> Slot<T> {
    #[inline]
    fn live(&self) -> Option<&T> {
        match self {
            Self::Live(value) => Some(value),
            Self::Retired => None,
        }
    }

    #[inline]
    fn live_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Live(value) => Some(value),
            Self::Retired => None,
        }
    }

    #[inline]
    fn into_live(self) -> Option<T> {
        match self {
            Self::Live(value) => Some(value),
            Self::Retired => None,
        }
    }
}

/// The most slots a registry ever has: an index fits in 22 bits, so that a key packs into 54 bits
/// and leaves ten of a 64-bit token to its user.
pub const MAX_SLOTS: usize = 1 << 22;

const FIRST_GENERATION: u32 = 1;

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;
    use std::collections::HashMap;
    use std::num::NonZeroU64;
    use std::ptr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stale_key_names_nothing_after_its_slot_is_reused() {
        let mut registry = Registry::new();
        let old = registry.insert('a').unwrap();
        assert_eq!(registry.remove(old), Some('a'));
        assert_eq!(registry.remove(old), None);

        let new = registry.insert('b').unwrap();
        assert_eq!(new.index, old.index);
        assert_eq!(registry.get(old), None);
        assert_eq!(registry.get_mut(old), None);
        assert_eq!(registry.remove(old), None);
        assert_eq!(registry.get(new), Some(&'b'));
    }

    #[test]
    fn a_vacant_slot_does_not_open_to_the_key_of_its_next_tenant() {
        let mut registry = Registry::new();
        let first = registry.insert('a').unwrap();
        registry.remove(first);

        let next = registry.next_key();
        assert_eq!(registry.get(next), None);
        assert_eq!(registry.remove(next), None);
        assert_eq!(registry.insert('b'), Ok(next));
    }

    #[test]
    fn a_full_registry_gives_the_value_back() {
        let mut registry = Registry::with_max(2);
        let first = registry.insert(1).unwrap();
        registry.insert(2).unwrap();
        assert_eq!(registry.insert(3), Err(3));

        registry.remove(first);
        assert!(registry.insert(4).is_ok());
        assert_eq!(registry.len(), 2);
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn no_index_outgrows_twenty_two_bits() {
        let mut registry = Registry::with_max(usize::MAX);
        for _ in 0..MAX_SLOTS {
            assert!((registry.insert(()).unwrap().index as usize) < MAX_SLOTS);
        }
        assert_eq!(registry.insert(()), Err(()));
    }

    #[test]
    fn the_last_generation_is_used_and_then_the_slot_retires() {
        let mut registry = Registry::new();
        let [under, worn] = ['u', 'w'].map(|value| registry.insert(value).unwrap());
        let third = registry.insert('t').unwrap();
        registry.remove(under);
        registry.remove(worn);
        registry.generations[worn.index as usize] = u32::MAX;

        let last = registry.insert('x').unwrap();
        assert_eq!((last.index, last.generation), (worn.index, u32::MAX));
        assert_eq!(registry.remove(last), Some('x'));

        let wrapped = Key { generation: 0, ..last };
        for key in [worn, last, wrapped] {
            assert_eq!(registry.get(key), None);
            assert_eq!(registry.remove(key), None);
        }
        assert_eq!(registry.key_at(worn.index), None);

        // The slots vacated before it are still found, and then new ones.
        assert_eq!(registry.insert('y').unwrap().index, under.index);
        assert_eq!(registry.insert('z').unwrap().index, third.index + 1);
        assert_eq!(registry.len(), 3);
    }

    #[test]
    fn a_retired_slot_takes_no_room_from_the_living() {
        let mut registry = Registry::with_max(1);
        let key = registry.insert('a').unwrap();
        registry.generations[0] = u32::MAX;
        assert_eq!(registry.remove(key), None);
        let last = registry.key_at(0).unwrap();
        assert_eq!(registry.remove(last), Some('a'));

        assert_eq!(registry.insert('b').unwrap().index, 1);
        assert_eq!(registry.insert('c'), Err('c'));
    }

    #[test]
    fn a_slot_is_found_by_its_index_alone() {
        let mut registry = Registry::new();
        let [a, b] = [10, 20].map(|value| registry.insert(value).unwrap());
        registry.remove(a);

        assert_eq!(registry.at(a.index), None);
        assert_eq!(registry.at(b.index), Some((b, &20)));
        if let Some((_, value)) = registry.at_mut(b.index) {
            *value += 1;
        }
        assert_eq!(registry.get(b), Some(&21));
        assert_eq!(registry.key_at(b.index), Some(b));
        assert_eq!(registry.key_at(u32::MAX), None);
        assert_eq!(registry.iter().collect::<Vec<_>>(), [(b, &21)]);
    }

    #[test]
    fn a_value_with_two_spare_states_costs_four_bytes_more_than_itself() {
        assert_eq!(bytes_per_slot([(1_u64, 1_u64, true); 2]), size_of::<(u64, u64, bool)>() + 4);
        assert_eq!(bytes_per_slot([(1_u64, Ordering::Less); 2]), size_of::<(u64, Ordering)>() + 4);
        // A niche of one value marks the retired slots, and the vacant ones need a tag.
        assert_eq!(bytes_per_slot([(1_u64, NonZeroU64::MIN); 2]), size_of::<(u64, NonZeroU64)>() + 8 + 4);
    }

    /// How far two neighbours lie apart, and one generation.
    fn bytes_per_slot<T>(values: [T; 2]) -> usize {
        let mut registry = Registry::new();
        let keys = values.map(|value| registry.insert(value).ok().unwrap());
        let [first, second] = keys.map(|key| ptr::from_ref(registry.get(key).unwrap()).addr());
        second - first + size_of_val(&registry.generations[0])
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16),
        Remove(usize),
        WearOut(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => any::<u16>().prop_map(Step::Insert),
            4 => any::<usize>().prop_map(Step::Remove),
            1 => any::<usize>().prop_map(Step::WearOut),
        ]
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn agrees_with_a_map_that_never_reuses_a_key(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            const MAX: usize = 16;
            let mut registry = Registry::with_max(MAX);
            let mut model = HashMap::new();
            let mut issued = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(value) => {
                        let expected = registry.next_key();
                        let Ok(key) = registry.insert(value) else {
                            prop_assert_eq!(model.len(), MAX);
                            continue;
                        };
                        prop_assert_eq!(key, expected);
                        prop_assert!(!issued.contains(&key));
                        issued.push(key);
                        model.insert(key, value);
                    }
                    Step::Remove(pick) if !issued.is_empty() => {
                        let key = issued[pick % issued.len()];
                        prop_assert_eq!(registry.remove(key), model.remove(&key));
                    }
                    Step::WearOut(pick) if !issued.is_empty() => {
                        let index = issued[pick % issued.len()].index as usize;
                        if !registry.slots.contains(index) {
                            let generation = &mut registry.generations[index];
                            *generation = (*generation).max(u32::MAX - 1);
                        }
                    }
                    Step::Remove(_) | Step::WearOut(_) => {}
                }
                for key in &issued {
                    prop_assert_eq!(registry.get(*key), model.get(key));
                    prop_assert_eq!(registry.contains(*key), model.contains_key(key));
                }
                prop_assert_eq!(registry.len(), model.len());
                prop_assert_eq!(registry.is_empty(), model.is_empty());
                let listed: HashMap<_, _> = registry.iter().map(|(k, v)| (k, *v)).collect();
                prop_assert_eq!(&listed, &model);
            }
        }
    }
}
