//! A hierarchical timing wheel orders deadlines in constant time through links that others store.

use std::mem;

/// Nodes in order of deadline, then of insertion, over link storage that the caller owns.
///
/// Time is a `u64` of ticks of any unit. `elapsed` is the tick reached so far; a node waits in the
/// level of the highest six-bit group in which its deadline differs from `elapsed`:
///
/// ```text
/// level   10 ..     2      1      0
/// tick    0b.. | 000000 000101 011010   elapsed
///         0b.. | 000000 001001 110000   deadline: level 1, slot 9
///                       ^^^^^^
/// ```
///
/// So all of level 0 is due before any of level 1, and so on up; within a level, slots are due in
/// order and never wrap. When `elapsed` enters a slot, the slot's nodes cascade to lower levels.
/// Nodes of one deadline share a slot at all times and lists are appended to, so that they keep
/// their order on the way down. Eleven levels cover the whole `u64`.
///
/// Every list is circular through a head, which is why a node unlinks without knowing its list. The
/// heads stand with the nodes, so that a link is found in one way whatever it is of: every branch and
/// every instruction here is one that waits for memory less, when there are a million nodes.
///
/// A bitmap per level tells which slots have nodes, and one more which levels do: a loop asks for the
/// next deadline every turn, and mostly there is none. The due list counts as a level beyond the last.
pub(crate) struct Wheel {
    elapsed: u64,
    occupied: [u64; LEVELS + 1],
    occupied_levels: u32,
}

/// Where the links live: [`HEADS`] heads, each of them [`Link::head`] at first, and from index [`FIRST_NODE`] on the nodes.
pub(crate) trait Links {
    /// The link of head or node `index`, which only the wheel changes.
    fn link(&mut self, index: u32) -> &mut Link;

    /// The tick at which node `index` is due.
    ///
    /// It may be moved later while the node is linked, without telling the wheel: the node then
    /// waits anew, behind what was inserted meanwhile. Moved earlier, it takes a new insert.
    fn deadline(&self, index: u32) -> u64;
}

/// A node's place in one list of the wheel; by default in none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    prev: u32,
    next: u32,
}

impl Wheel {
    /// An empty wheel that has reached tick `elapsed`.
    pub(crate) fn new(elapsed: u64) -> Self {
        Self { elapsed, occupied: [0; LEVELS + 1], occupied_levels: 0 }
    }

    /// Links node `index` behind the others of its deadline, out of its former place if it had one.
    ///
    /// A deadline that has passed counts as the tick reached, which is due at the next `advance`.
    #[inline]
    pub(crate) fn insert(&mut self, links: &mut impl Links, index: u32) {
        // Looked up before other links are written to, which for all the compiler knows might change it.
        let deadline = links.deadline(index);
        let link = *links.link(index);
        if link.is_linked() {
            self.unlink(links, link);
        }
        self.place(links, index, deadline);
    }

    /// [`insert`](Self::insert) for a node that is in no list, and due at `deadline`.
    #[inline]
    pub(crate) fn place(&mut self, links: &mut impl Links, index: u32, deadline: u64) {
        let deadline = deadline.max(self.elapsed);
        // Equal ticks differ in no group; the lowest bit makes that level 0.
        let level = ((self.elapsed ^ deadline) | 1).ilog2() / GROUP_BITS;
        let slot = (deadline >> (level * GROUP_BITS)) as u32 % SLOTS;
        self.append(links, level * SLOTS + slot, index);
    }

    /// Unlinks node `index`, from the due list too; nothing happens if it is not linked.
    #[inline]
    pub(crate) fn remove(&mut self, links: &mut impl Links, index: u32) {
        let link = *links.link(index);
        if link.is_linked() {
            *links.link(index) = Link::default();
            self.unlink(links, link);
        }
    }

    /// The tick at which to call `advance`, or `None` if nothing is linked.
    ///
    /// It is never later than the first deadline. It is earlier when that is 64 ticks away or more,
    /// for then the first slot has to cascade; and it is the tick reached while nodes are due.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if self.has_due() {
            return Some(self.elapsed);
        }
        self.first_slot().map(|(_, start)| start)
    }

    /// Moves every node whose deadline is at most `now` behind those already due.
    ///
    /// A `now` before the tick reached counts as that tick. The cost is in the nodes moved, not in
    /// the ticks passed.
    pub(crate) fn advance(&mut self, links: &mut impl Links, now: u64) {
        let now = now.max(self.elapsed);
        while let Some((head, start)) = self.first_slot() {
            if start > now {
                break;
            }
            self.elapsed = start;
            self.cascade(links, head);
        }
        self.elapsed = now;
    }

    /// Unlinks and returns the first due node.
    ///
    /// What is inserted between two calls is not due before the next `advance`, so a drain ends.
    #[inline]
    pub(crate) fn pop_due(&mut self, links: &mut impl Links) -> Option<u32> {
        if !self.has_due() {
            return None;
        }
        let first = links.link(DUE).next;
        self.remove(links, first);
        Some(first)
    }

    #[inline]
    fn has_due(&self) -> bool {
        self.occupied_levels & DUE_LEVEL != 0
    }

    /// The head of the earliest occupied slot and the first tick of that slot.
    #[inline]
    fn first_slot(&self) -> Option<(u32, u64)> {
        let levels = self.occupied_levels & !DUE_LEVEL;
        if levels == 0 {
            return None;
        }
        let level = levels.trailing_zeros();
        let slot = self.occupied[level as usize].trailing_zeros();
        let shift = level * GROUP_BITS;
        // The topmost level has nothing above it.
        let above = u64::MAX.checked_shl(shift + GROUP_BITS).unwrap_or(0);
        let start = self.elapsed & above | u64::from(slot) << shift;
        Some((level * SLOTS + slot, start))
    }

    /// Empties the slot whose first tick has been reached, to lower levels or to the due list.
    fn cascade(&mut self, links: &mut impl Links, head: u32) {
        let mut node = links.link(head).next;
        *links.link(head) = Link::head(head);
        self.mark_vacant(head);

        let ticks = head < SLOTS;
        while node != head {
            let next = links.link(node).next;
            let deadline = links.deadline(node);
            if ticks && deadline <= self.elapsed {
                self.append(links, DUE, node);
            } else {
                self.place(links, node, deadline);
            }
            node = next;
        }
    }

    #[inline]
    fn append(&mut self, links: &mut impl Links, head: u32, index: u32) {
        let last = mem::replace(&mut links.link(head).prev, index);
        *links.link(index) = Link { prev: last, next: head };
        links.link(last).next = index;
        if last == head {
            self.mark_occupied(head);
        }
    }

    /// Takes what stood at `link` out of its list.
    #[inline]
    fn unlink(&mut self, links: &mut impl Links, Link { prev, next }: Link) {
        links.link(prev).next = next;
        links.link(next).prev = prev;
        // Both neighbours are the head: nothing is left.
        if prev == next {
            self.mark_vacant(prev);
        }
    }

    // Out of line, for most slots have other nodes: what is short is inlined where it is used.
    #[cold]
    #[inline(never)]
    fn mark_occupied(&mut self, head: u32) {
        let (level, slot) = (head / SLOTS, head % SLOTS);
        self.occupied[level as usize] |= 1 << slot;
        self.occupied_levels |= 1 << level;
    }

    #[cold]
    #[inline(never)]
    fn mark_vacant(&mut self, head: u32) {
        let (level, slot) = (head / SLOTS, head % SLOTS);
        let slots = &mut self.occupied[level as usize];
        *slots &= !(1 << slot);
        if *slots == 0 {
            self.occupied_levels &= !(1 << level);
        }
    }
}

impl Link {
    /// The link of head `index` of an empty list.
    pub(crate) fn head(index: u32) -> Self {
        Self { prev: index, next: index }
    }

    /// Whether the node is in the wheel: waiting, or due and not yet popped.
    #[inline]
    pub(crate) fn is_linked(self) -> bool {
        self.next != UNLINKED
    }
}

impl Default for Link {
    #[inline]
    fn default() -> Self {
        Self { prev: UNLINKED, next: UNLINKED }
    }
}

const GROUP_BITS: u32 = 6;

const SLOTS: u32 = 1 << GROUP_BITS;

const LEVELS: usize = u64::BITS.div_ceil(GROUP_BITS) as usize;

/// One for each slot, level by level, and one for the due list.
pub(crate) const HEADS: usize = LEVELS * SLOTS as usize + 1;

/// The nodes' indices start here, above those of the heads.
pub(crate) const FIRST_NODE: u32 = HEADS as u32;

/// The head of the list of nodes that are due.
const DUE: u32 = FIRST_NODE - 1;

/// Tells in `occupied_levels` that nodes are due.
const DUE_LEVEL: u32 = 1 << LEVELS;

/// In place of an index: in no list.
const UNLINKED: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    /// The heads, and then the nodes.
    struct Nodes(Vec<(Link, u64)>);

    impl Default for Nodes {
        fn default() -> Self {
            Self((0..FIRST_NODE).map(|head| (Link::head(head), 0)).collect())
        }
    }

    impl Links for Nodes {
        fn link(&mut self, index: u32) -> &mut Link {
            &mut self.0[index as usize].0
        }

        fn deadline(&self, index: u32) -> u64 {
            self.0[index as usize].1
        }
    }

    impl Nodes {
        fn insert(&mut self, wheel: &mut Wheel, deadline: u64) -> u32 {
            let index = self.0.len() as u32;
            self.0.push((Link::default(), deadline));
            wheel.insert(self, index);
            index
        }

        fn drain(&mut self, wheel: &mut Wheel) -> Vec<u32> {
            std::iter::from_fn(|| wheel.pop_due(self)).collect()
        }

        fn due(&mut self, wheel: &mut Wheel, now: u64) -> Vec<u32> {
            wheel.advance(self, now);
            self.drain(wheel)
        }
    }

    fn boundaries() -> impl Iterator<Item = u64> {
        (0..u64::BITS)
            .step_by(6)
            .flat_map(|shift| [1 << shift, 2 << shift, (1 << shift) + 1, (1 << shift) - 1])
            .chain([u64::MAX - 1, u64::MAX])
    }

    #[test]
    fn a_node_is_due_at_its_deadline_and_not_a_tick_before() {
        for start in [0, 1, 63, 64, 4095, 1 << 40] {
            for after in boundaries() {
                let deadline = after.saturating_add(start);
                let mut wheel = Wheel::new(start);
                let mut nodes = Nodes::default();
                let node = nodes.insert(&mut wheel, deadline);
                if deadline > start {
                    assert_eq!(nodes.due(&mut wheel, deadline - 1), []);
                }
                assert_eq!(nodes.due(&mut wheel, deadline), [node], "{start} {after}");
                assert_eq!(wheel.next_deadline(), None);
            }
        }
    }

    #[test]
    fn following_next_deadline_reaches_every_boundary_in_few_steps() {
        let mut wheel = Wheel::new(0);
        let mut nodes = Nodes::default();
        for deadline in boundaries() {
            nodes.insert(&mut wheel, deadline);
        }
        let mut popped = Vec::new();
        let mut steps = 0;
        while let Some(now) = wheel.next_deadline() {
            steps += 1;
            for node in nodes.due(&mut wheel, now) {
                assert_eq!(nodes.deadline(node), now);
                popped.push(now);
            }
        }
        let mut expected: Vec<_> = boundaries().collect();
        expected.sort_unstable();
        assert_eq!(popped, expected);
        assert!(steps <= expected.len() * LEVELS);
    }

    #[test]
    fn next_deadline_is_exact_within_64_ticks_and_the_slots_start_beyond() {
        let mut wheel = Wheel::new(0);
        let mut nodes = Nodes::default();
        nodes.insert(&mut wheel, 5 * 64 + 7);
        assert_eq!(wheel.next_deadline(), Some(5 * 64));
        nodes.insert(&mut wheel, 63);
        assert_eq!(wheel.next_deadline(), Some(63));
        wheel.advance(&mut nodes, 63);
        assert_eq!(wheel.next_deadline(), Some(63), "due and not popped");
        nodes.drain(&mut wheel);
        wheel.advance(&mut nodes, 5 * 64);
        assert_eq!(wheel.next_deadline(), Some(5 * 64 + 7));
    }

    #[test]
    fn equal_deadlines_keep_their_order_through_cascades() {
        let deadline = (3 << 18) + (2 << 12) + (1 << 6) + 5;
        let mut wheel = Wheel::new(0);
        let mut nodes = Nodes::default();
        let mut expected = Vec::new();
        for now in [0, 3 << 18, (3 << 18) + (2 << 12), deadline - 5, deadline] {
            wheel.advance(&mut nodes, now);
            for _ in 0..3 {
                expected.push(nodes.insert(&mut wheel, deadline));
                nodes.insert(&mut wheel, deadline + 1);
            }
        }
        assert_eq!(nodes.due(&mut wheel, deadline), expected);
    }

    #[test]
    fn a_jump_over_years_drains_in_order_of_deadline() {
        let mut wheel = Wheel::new(0);
        let mut nodes = Nodes::default();
        let year = 365 * 24 * 3600 * 1000;
        let deadlines = [7 * year, 3, year + 1, 64, year, 4096, 2 * year];
        let mut sorted = deadlines.map(|deadline| (deadline, nodes.insert(&mut wheel, deadline)));
        sorted.sort_unstable();
        let expected = sorted.map(|(_, node)| node);
        assert_eq!(nodes.due(&mut wheel, u64::MAX), expected);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn the_end_of_time_still_takes_nodes() {
        let mut wheel = Wheel::new(u64::MAX);
        let mut nodes = Nodes::default();
        let [past, end] = [0, u64::MAX].map(|deadline| nodes.insert(&mut wheel, deadline));
        assert_eq!(wheel.next_deadline(), Some(u64::MAX));
        assert_eq!(nodes.due(&mut wheel, u64::MAX), [past, end]);
    }

    #[test]
    fn a_past_deadline_is_due_at_the_next_advance_even_if_time_stands_still() {
        let mut wheel = Wheel::new(1000);
        let mut nodes = Nodes::default();
        let past = nodes.insert(&mut wheel, 3);
        assert_eq!(nodes.drain(&mut wheel), []);
        assert_eq!(wheel.next_deadline(), Some(1000));
        assert_eq!(nodes.due(&mut wheel, 1000), [past]);
    }

    #[test]
    fn time_running_backwards_is_time_standing_still() {
        let mut wheel = Wheel::new(1000);
        let mut nodes = Nodes::default();
        let [now, later] = [1000, 1001].map(|deadline| nodes.insert(&mut wheel, deadline));
        assert_eq!(nodes.due(&mut wheel, 0), [now]);
        assert_eq!(nodes.due(&mut wheel, 1001), [later]);
    }

    #[test]
    fn an_insertion_during_a_drain_waits_for_the_next_advance() {
        let mut wheel = Wheel::new(0);
        let mut nodes = Nodes::default();
        let [a, b] = [10, 10].map(|deadline| nodes.insert(&mut wheel, deadline));
        wheel.advance(&mut nodes, 10);
        assert_eq!(wheel.pop_due(&mut nodes), Some(a));
        let past = nodes.insert(&mut wheel, 5);
        wheel.insert(&mut nodes, a);
        assert_eq!(nodes.drain(&mut wheel), [b]);
        assert_eq!(nodes.due(&mut wheel, 10), [past, a]);
    }

    #[test]
    fn a_due_node_can_still_be_removed() {
        let mut wheel = Wheel::new(0);
        let mut nodes = Nodes::default();
        let [a, b, c] = [10; 3].map(|deadline| nodes.insert(&mut wheel, deadline));
        wheel.advance(&mut nodes, 10);
        wheel.remove(&mut nodes, b);
        assert!(!nodes.link(b).is_linked());
        wheel.remove(&mut nodes, b);
        assert_eq!(nodes.drain(&mut wheel), [a, c]);

        let last = nodes.insert(&mut wheel, 11);
        wheel.advance(&mut nodes, 11);
        wheel.remove(&mut nodes, last);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn removing_the_last_node_of_a_slot_clears_its_bit() {
        for deadline in boundaries() {
            let mut wheel = Wheel::new(0);
            let mut nodes = Nodes::default();
            let [a, b] = [deadline; 2].map(|deadline| nodes.insert(&mut wheel, deadline));
            wheel.remove(&mut nodes, a);
            assert!(wheel.next_deadline().is_some());
            wheel.remove(&mut nodes, b);
            assert_eq!((wheel.occupied, wheel.occupied_levels), ([0; LEVELS + 1], 0));
        }
    }

    #[test]
    fn a_deadline_moved_later_is_honoured_without_moving_the_node() {
        let mut wheel = Wheel::new(0);
        let mut nodes = Nodes::default();
        // From within a cascading slot, from a single tick, and within one advance.
        let [far, near, hop] = [5000, 10, 11].map(|deadline| nodes.insert(&mut wheel, deadline));
        nodes.0[far as usize].1 = 90_000;
        nodes.0[near as usize].1 = 70;
        nodes.0[hop as usize].1 = 20;
        let other = nodes.insert(&mut wheel, 15);
        assert_eq!(nodes.due(&mut wheel, 69), [other, hop]);
        assert_eq!(nodes.due(&mut wheel, 89_999), [near]);
        assert_eq!(nodes.due(&mut wheel, 90_000), [far]);
    }

    #[test]
    fn a_linked_node_is_moved_by_another_insert() {
        let mut wheel = Wheel::new(0);
        let mut nodes = Nodes::default();
        let [a, b] = [10, 10].map(|deadline| nodes.insert(&mut wheel, deadline));
        wheel.insert(&mut nodes, a);
        assert_eq!(nodes.due(&mut wheel, 10), [b, a]);
    }
}
