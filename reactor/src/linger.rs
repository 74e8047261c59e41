//! For how long a closed connection is kept, and how often it is asked whether that is still needed.

use std::time::Duration;

/// What is left of the time for which a closed connection lingers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linger {
    left_ms: u32,
    next_look_ms: u16,
    /// The peer sends: a close would make a reset, whatever it has acknowledged.
    talks: bool,
}

impl Linger {
    /// `total` counts up to 49 days.
    pub(crate) fn new(total: Duration, talks: bool) -> Self {
        let left_ms = u32::try_from(total.as_millis()).unwrap_or(u32::MAX);
        Self { left_ms, next_look_ms: FIRST_LOOK_MS, talks }
    }

    /// The peer has sent something.
    pub(crate) fn note_talk(&mut self) {
        self.talks = true;
    }

    /// Whether the peer's end is waited for, and not only that it has got all there was.
    pub(crate) fn awaits_end(self) -> bool {
        self.talks
    }

    /// How long to wait before the next look; `None`: the time is over.
    pub(crate) fn wait(&mut self) -> Option<Duration> {
        let wait = if self.talks { self.left_ms } else { self.left_ms.min(self.next_look_ms.into()) };
        self.left_ms -= wait;
        self.next_look_ms = self.next_look_ms.saturating_mul(2);
        (wait > 0).then(|| Duration::from_millis(wait.into()))
    }
}

/// Most peers acknowledge at once, and delay an acknowledgement for 40 ms otherwise.
const FIRST_LOOK_MS: u16 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(mut linger: Linger) -> Vec<u128> {
        std::iter::from_fn(|| linger.wait()).map(|wait| wait.as_millis()).collect()
    }

    #[test]
    fn looks_come_less_and_less_often_until_the_time_is_over() {
        assert_eq!(waits(Linger::new(Duration::from_millis(500), false)), [20, 40, 80, 160, 200]);
        assert_eq!(waits(Linger::new(Duration::from_millis(10), false)), [10]);
        assert_eq!(waits(Linger::new(Duration::ZERO, false)), []);
        let month = waits(Linger::new(Duration::from_secs(30 * 86_400), false));
        assert_eq!(month.iter().sum::<u128>(), 30 * 86_400_000);
    }

    #[test]
    fn a_peer_that_sends_is_waited_for_without_a_look() {
        assert_eq!(waits(Linger::new(Duration::from_secs(5), true)), [5000]);
        let mut linger = Linger::new(Duration::from_secs(5), false);
        linger.wait();
        linger.note_talk();
        assert!(linger.awaits_end());
        assert_eq!(waits(linger), [4980]);
    }
}
