//! When to try again: later each time, and not all at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How long to wait before another try: twice as long after each failure, up to a bound, and at random by up to half, so
/// that those who failed together do not come back together.
///
/// Set as [`ConnectOptions::reconnect`](crate::ConnectOptions::reconnect), the loop tries again by itself until the connection is up
/// or [`attempts`](Self::attempts) have failed. To make a connection anew that was up and is lost, ask for the delay in
/// [`on_close`](crate::Handler::on_close):
///
/// ```
/// use reactor::{CloseReason, ConnectOptions, Context, Handler, Input, LoopContext, Reconnect, Result};
///
/// struct Client {
///     /// Times in a row that the connection was lost before anything came.
///     failures: u32,
/// }
///
/// fn connect(cx: &mut LoopContext<'_>, failures: u32) {
///     let options = ConnectOptions::default().reconnect(Reconnect::default());
///     if let Err(error) = cx.connect("backend.example.org:5432", &options, Client { failures }) {
///         eprintln!("{error}");
///     }
/// }
///
/// impl Handler for Client {
///     fn on_data(&mut self, _cx: &mut Context<'_>, input: &mut Input<'_>) -> Result {
///         input.take();
///         self.failures = 0;
///         Ok(())
///     }
///
///     fn on_close(&mut self, cx: &mut Context<'_>, _reason: &CloseReason) {
///         let failures = self.failures + 1;
///         if let Some(delay) = Reconnect::default().next_delay(failures) {
///             let again = cx.run_after(delay, move |cx| connect(cx, failures));
///             again.expect("there is room for a timer");
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconnect {
    /// The longest wait after the first failure; at least a millisecond is waited. Default 100 ms.
    pub first: Duration,
    /// The longest wait of all. Default 30 s.
    pub longest: Duration,
    /// Tries in all, the first included; `None`, the default, is without end: waits are long by then.
    pub attempts: Option<u32>,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(30), attempts: None }
    }
}

impl Reconnect {
    /// Sets [`first`](Self::first).
    #[must_use]
    pub fn first(mut self, delay: Duration) -> Self {
        self.first = delay;
        self
    }

    /// Sets [`longest`](Self::longest).
    #[must_use]
    pub fn longest(mut self, delay: Duration) -> Self {
        self.longest = delay;
        self
    }

    /// Sets [`attempts`](Self::attempts).
    #[must_use]
    pub fn attempts(mut self, count: impl Into<Option<u32>>) -> Self {
        self.attempts = count.into();
        self
    }

    /// How long to wait when so many tries have failed; `None`: no more are to be made. The same arguments give the same
    /// answer. `random` is any word, each as likely as another.
    ///
    /// ```
    /// use std::time::Duration;
    /// use reactor::Reconnect;
    ///
    /// let policy = Reconnect::default().attempts(5);
    /// assert_eq!(policy.delay(1, u64::MAX), Some(Duration::from_millis(100)));
    /// assert_eq!(policy.delay(1, 0), Some(Duration::from_millis(50)));
    /// assert_eq!(policy.delay(4, 0), Some(Duration::from_millis(400)));
    /// assert_eq!(policy.delay(5, 0), None);
    /// ```
    #[must_use]
    pub fn delay(&self, failed: u32, random: u64) -> Option<Duration> {
        if self.attempts.is_some_and(|attempts| failed >= attempts) {
            return None;
        }
        let doublings = failed.saturating_sub(1).min(64);
        let wait = self.first.max(SHORTEST).as_nanos().saturating_mul(1 << doublings);
        let wait = wait.min(self.longest.max(SHORTEST).as_nanos()).min(u64::MAX.into());
        let (least, most) = ((wait / 2).max(SHORTEST.as_nanos()), wait);
        // Both factors have 64 bits.
        let share = ((most - least + 1) * u128::from(random)) >> 64;
        Some(Duration::from_nanos(u64::try_from(least + share).unwrap_or(u64::MAX)))
    }

    /// [`delay`](Self::delay) with a random word.
    #[must_use]
    pub fn next_delay(&self, failed: u32) -> Option<Duration> {
        self.delay(failed, random_word())
    }
}

/// A word that differs from call to call and from process to process; the keys of the standard library's hash maps do.
fn random_word() -> u64 {
    #[cfg(feature = "sim")]
    if let Some(word) = crate::sim::calls::random_word() {
        return word;
    }
    RandomState::new().hash_one(())
}

/// What the loop's timers tell apart.
const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy() -> impl Strategy<Value = Reconnect> {
        let nanos = || prop_oneof![0..1_000_000_000_000_u64, any::<u64>()].prop_map(Duration::from_nanos);
        let duration = || prop_oneof![nanos(), Just(Duration::ZERO), Just(Duration::MAX)];
        (duration(), duration(), any::<Option<u32>>()).prop_map(|(first, longest, attempts)| Reconnect {
            first,
            longest,
            attempts,
        })
    }

    proptest! {
        #[test]
        fn a_wait_is_within_its_bounds(policy in policy(), failed: u32, random: u64) {
            let Some(delay) = policy.delay(failed, random) else {
                prop_assert!(policy.attempts.is_some_and(|attempts| failed >= attempts));
                return Ok(());
            };
            prop_assert!(delay >= SHORTEST);
            prop_assert!(delay <= policy.longest.max(SHORTEST));
            prop_assert_eq!(policy.delay(failed, random), Some(delay));
        }

        #[test]
        fn a_wait_is_random_by_up_to_half(policy in policy(), failed: u32, random: u64) {
            let policy = policy.attempts(None);
            let [least, delay, most] = [0, random, u64::MAX].map(|random| policy.delay(failed, random).unwrap());
            prop_assert!(least <= delay && delay <= most);
            prop_assert!(most / 2 <= least + SHORTEST, "{least:?} to {most:?}");
        }

        #[test]
        fn a_wait_doubles_until_the_longest(policy in policy(), failed in 1..200_u32) {
            let policy = policy.attempts(None);
            let [now, next] = [failed, failed + 1].map(|failed| policy.delay(failed, u64::MAX).unwrap());
            let longest = policy.longest.max(SHORTEST).min(Duration::from_nanos(u64::MAX));
            prop_assert_eq!(next, now.saturating_mul(2).min(longest).max(now.min(longest)));
        }

        #[test]
        fn so_many_attempts_are_made_and_no_more(attempts in 1..50_u32, random: u64) {
            let policy = Reconnect::default().attempts(attempts);
            prop_assert_eq!((1..).take_while(|&failed| policy.delay(failed, random).is_some()).count() as u32, attempts - 1);
        }
    }

    #[test]
    fn random_words_differ() {
        assert_ne!(random_word(), random_word());
    }
}
