//! How much memory may wait in the buffers of a loop, and of all loops of a process together.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sync::{AtomicU64, Ordering};

/// A bound on what waits in the buffers of several loops together: input that handlers left, and output that the kernel has not
/// taken. Clones are the same budget. A server's loops share one by [`ServerBuilder::memory`](crate::ServerBuilder::memory).
///
/// What is done above its marks is what [`Limits::memory_soft`](crate::Limits::memory_soft) and
/// [`Limits::memory_hard`](crate::Limits::memory_hard) say of one loop. Above the hard mark the loops close connections that have
/// more than the average loop, each those with the most first.
///
/// Loops tell each other of 64 KiB at a time, so what waits may pass the hard mark by so much for each loop, by what one call
/// sends, and by what comes while the loop that is to free some is busy. Shared bytes count once for each connection on which they wait.
///
/// ```
/// use reactor::{MemoryBudget, Server};
///
/// let budget = MemoryBudget::new(256 << 20, 512 << 20);
/// let builder = Server::builder().threads(4).memory(&budget);
/// assert_eq!(budget.in_use(), 0);
/// # drop(builder);
/// ```
#[derive(Clone)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
}

struct Shared {
    soft: u64,
    hard: u64,
    in_use: AtomicU64,
    members: Mutex<Vec<Bell>>,
}

/// Wakes a loop.
type Bell = Arc<dyn Fn() + Send + Sync>;

impl MemoryBudget {
    /// A budget with these marks, in bytes. A hard mark below the soft one counts as that one.
    #[must_use]
    pub fn new(soft: usize, hard: usize) -> Self {
        let (soft, hard) = (soft as u64, hard.max(soft) as u64);
        Self { shared: Arc::new(Shared { soft, hard, in_use: AtomicU64::new(0), members: Mutex::default() }) }
    }

    /// Bytes that wait in the buffers of all loops, as far as they have told.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        self.shared.in_use.load(Ordering::Relaxed)
    }

    fn members(&self) -> MutexGuard<'_, Vec<Bell>> {
        // No code that could panic runs under the lock.
        self.shared.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        let bells = self.members().clone();
        bells.iter().for_each(|bell| bell());
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { soft, hard, .. } = *self.shared;
        f.debug_struct("MemoryBudget")
            .field("soft", &soft)
            .field("hard", &hard)
            .field("in_use", &self.in_use())
            .finish()
    }
}

/// The budget of one loop, and its part in one that it shares.
pub(crate) struct LoopBudget {
    soft: u64,
    hard: u64,
    part: Option<Part>,
    /// A soft mark was passed, and has not been looked at since from below.
    pub(crate) pressed: bool,
    /// With so many bytes there is something to do.
    look_at: u64,
}

/// A loop's part in a shared budget.
struct Part {
    budget: MemoryBudget,
    bell: Bell,
    told: u64,
}

/// What is to be done about what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    None,
    /// This loop has too much: down to so many bytes.
    Own(u64),
    /// All together have too much, and this loop no less than the others.
    Shared,
}

impl LoopBudget {
    pub(crate) fn new(soft: usize, hard: usize) -> Self {
        let (soft, hard) = (soft as u64, hard as u64);
        Self { soft, hard, part: None, pressed: false, look_at: soft }
    }

    /// Takes part in a shared budget; `bell` wakes this loop.
    pub(crate) fn join(&mut self, budget: &MemoryBudget, bell: impl Fn() + Send + Sync + 'static) {
        let bell: Bell = Arc::new(bell);
        budget.members().push(Arc::clone(&bell));
        self.part = Some(Part { budget: budget.clone(), bell, told: 0 });
        self.look_at = self.look_at.min(GRANULE);
    }

    /// Whether there is nothing to look at, with so many bytes waiting.
    #[inline]
    pub(crate) fn is_calm(&self, own: u64) -> bool {
        own < self.look_at
    }

    /// Whether the end of a turn is to be looked at.
    #[inline]
    pub(crate) fn watches_turns(&self) -> bool {
        self.pressed || self.part.is_some()
    }

    /// Whether all loops together have passed their soft mark.
    pub(crate) fn is_pressed_by_all(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.budget.in_use() >= part.budget.shared.soft)
    }

    pub(crate) fn is_pressed_with(&self, own: u64) -> bool {
        own >= self.soft || self.is_pressed_by_all()
    }

    /// Looks at how many bytes wait, tells the others, and says what is to be done.
    pub(crate) fn look(&mut self, own: u64) -> Excess {
        self.tell(own);
        self.pressed = self.is_pressed_with(own);
        let next_told = self.part.as_ref().map_or(u64::MAX, |part| part.told.saturating_add(GRANULE));
        let next_mark = if self.pressed { self.hard.saturating_add(1) } else { self.soft };
        self.look_at = next_told.min(next_mark);
        if own > self.hard {
            return Excess::Own(self.soft);
        }
        match &self.part {
            Some(part) if part.budget.in_use() > part.budget.shared.hard => part.excess(own),
            _ => Excess::None,
        }
    }

    /// Tells the others how many bytes wait, if that has changed by much, or matters now, or all are gone.
    fn tell(&mut self, own: u64) {
        let pressed = self.pressed;
        let Some(part) = &mut self.part else { return };
        if own != part.told && (pressed || own == 0 || own.abs_diff(part.told) >= GRANULE) {
            part.tell(own);
        }
    }

    /// Whether what all have is down to the soft mark, once this loop has told what it has.
    pub(crate) fn has_eased(&mut self, own: u64) -> bool {
        let Some(part) = &mut self.part else { return true };
        part.tell(own);
        part.budget.in_use() <= part.budget.shared.soft
    }
}

impl Part {
    fn tell(&mut self, own: u64) {
        let (before, shared) = (std::mem::replace(&mut self.told, own), &self.budget.shared);
        if own >= before {
            shared.in_use.fetch_add(own - before, Ordering::Relaxed);
            return;
        }
        let in_use = shared.in_use.fetch_sub(before - own, Ordering::Relaxed);
        // Those who rest on its account go on. One sees the mark passed downwards, and rings for all.
        if in_use >= shared.soft && in_use - (before - own) < shared.soft {
            self.budget.ring();
        }
    }

    /// All together have too much. Who has no less than the average frees some; there is one.
    fn excess(&self, own: u64) -> Excess {
        let loops = self.budget.members().len() as u64;
        if own > 0 && own.saturating_mul(loops) >= self.budget.in_use() {
            return Excess::Shared;
        }
        self.budget.ring();
        Excess::None
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.tell(0);
        self.budget.members().retain(|bell| !Arc::ptr_eq(bell, &self.bell));
    }
}

/// What a loop tells the others at once, so that they share no line of the cache for every message.
const GRANULE: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_alone_looks_at_its_marks_only() {
        let mut budget = LoopBudget::new(100, 200);
        assert!(budget.is_calm(99) && !budget.is_calm(100) && !budget.watches_turns());
        assert_eq!((budget.look(150), budget.pressed), (Excess::None, true));
        assert!(budget.is_calm(200) && !budget.is_calm(201));
        assert_eq!(budget.look(201), Excess::Own(100));
        assert_eq!((budget.look(99), budget.pressed), (Excess::None, false));
    }

    #[test]
    fn loops_tell_each_other_by_granules_and_take_it_back_as_they_end() {
        let shared = MemoryBudget::new(1 << 20, 2 << 20);
        let mut one = LoopBudget::new(usize::MAX, usize::MAX);
        one.join(&shared, || {});
        assert!(one.is_calm(GRANULE - 1));
        assert_eq!((one.look(GRANULE - 1), shared.in_use()), (Excess::None, 0));
        assert_eq!((one.look(3 * GRANULE), shared.in_use()), (Excess::None, 3 * GRANULE));
        assert_eq!((one.look(0), shared.in_use()), (Excess::None, 0));
        one.look(5 * GRANULE);
        drop(one);
        assert_eq!((shared.in_use(), shared.members().len()), (0, 0));
    }

    #[test]
    fn who_has_more_than_the_average_frees_it_and_who_has_less_rings() {
        let shared = MemoryBudget::new(10 * GRANULE as usize, 20 * GRANULE as usize);
        let rung = Arc::new(AtomicU64::new(0));
        let bell = |rung: &Arc<AtomicU64>| {
            let rung = Arc::clone(rung);
            move || {
                rung.fetch_add(1, Ordering::Relaxed);
            }
        };
        let [mut large, mut small] = [LoopBudget::new(usize::MAX, usize::MAX), LoopBudget::new(usize::MAX, usize::MAX)];
        large.join(&shared, bell(&rung));
        small.join(&shared, bell(&rung));
        assert_eq!(large.look(19 * GRANULE), Excess::None);
        assert_eq!((small.look(2 * GRANULE), rung.load(Ordering::Relaxed)), (Excess::None, 2));
        assert_eq!(large.look(19 * GRANULE), Excess::Shared);
        assert!(!large.has_eased(9 * GRANULE) && large.has_eased(8 * GRANULE));
        // Below the soft mark, who rests is woken.
        large.look(7 * GRANULE);
        assert_eq!(rung.load(Ordering::Relaxed), 4);
    }
}
