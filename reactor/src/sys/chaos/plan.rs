//! What chaos does how often: the value of `REACTOR_CHAOS`.

use std::str::FromStr;

/// A seed, and how often each fault happens.
///
/// Written as `SEED:NAME=RATE,NAME=RATE`, for example `42:short=0.1,eagain=0.05`; what is not named does not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Decides all that is left to chance.
    pub(super) seed: u64,
    /// A recv or send moves only some of the bytes that it could.
    pub(super) short: Rate,
    /// A recv, send or accept answers `EAGAIN` although it could do something.
    pub(super) eagain: Rate,
    /// A recv, send, accept or wait is interrupted.
    pub(super) eintr: Rate,
    /// An accept finds no descriptor or memory: `EMFILE`, `ENFILE`, `ENOBUFS` or `ENOMEM`.
    pub(super) emfile: Rate,
    /// An accept finds the client gone: `ECONNABORTED`.
    pub(super) abort: Rate,
    /// A connection that was accepted or made cannot be watched: `ENOMEM` or `ENOSPC`.
    pub(super) enospc: Rate,
    /// A connection breaks in a recv or send, and the peer gets a reset.
    pub(super) reset: Rate,
    /// A wait takes up to 10 ms longer.
    pub(super) delay: Rate,
    /// The events of a wait come in another order.
    pub(super) shuffle: Rate,
}

/// How often something happens: of 2^32 times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate(u32);

impl Rate {
    /// Whether it happens, given 32 bits by chance.
    pub(super) fn hits(self, random: u32) -> bool {
        random < self.0
    }
}

impl Plan {
    /// The rate of this name.
    fn rate_mut(&mut self, name: &str) -> Option<&mut Rate> {
        Some(match name {
            "short" => &mut self.short,
            "eagain" => &mut self.eagain,
            "eintr" => &mut self.eintr,
            "emfile" => &mut self.emfile,
            "abort" => &mut self.abort,
            "enospc" => &mut self.enospc,
            "reset" => &mut self.reset,
            "delay" => &mut self.delay,
            "shuffle" => &mut self.shuffle,
            _ => return None,
        })
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (seed, rates) = text.split_once(':').ok_or_else(|| format!("{text:?} is no plan; write {EXAMPLE}"))?;
        let seed = seed.parse().map_err(|_| format!("{seed:?} is no seed; write a number, as in {EXAMPLE}"))?;
        let mut plan = Self { seed, ..Self::default() };
        for part in rates.split(',') {
            let (name, rate) = part.split_once('=').ok_or_else(|| format!("{part:?} is no rate; write {EXAMPLE}"))?;
            let place = plan.rate_mut(name).ok_or_else(|| format!("{name:?} is no fault; there are {NAMES}"))?;
            if *place != Rate::default() {
                return Err(format!("{name} is there twice"));
            }
            *place = rate.parse().map_err(|error| format!("{name}={rate}: {error}"))?;
        }
        Ok(plan)
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.parse::<f64>() {
            Ok(rate) if (0.0..=MOST).contains(&rate) => Ok(Self((rate * f64::from(u32::MAX)) as u32)),
            // Not a number is in no range.
            _ => Err("a rate is a number from 0 to 0.9"),
        }
    }
}

/// What always fails never ends.
const MOST: f64 = 0.9;

const EXAMPLE: &str = "SEED:FAULT=RATE,FAULT=RATE, as in 42:short=0.1,eagain=0.05";

const NAMES: &str = "short, eagain, eintr, emfile, abort, enospc, reset, delay and shuffle";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_plan_is_a_seed_and_rates() {
        let plan: Plan = "42:short=0.5,eintr=0,shuffle=0.9".parse().unwrap();
        assert_eq!((plan.seed, plan.eintr, plan.reset), (42, Rate(0), Rate(0)));
        assert!(plan.short.hits(0) && plan.short.hits(u32::MAX / 2 - 1) && !plan.short.hits(u32::MAX / 2 + 1));
        assert!(!plan.eintr.hits(0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("", "\"\" is no plan"),
            ("42", "\"42\" is no plan"),
            ("x:short=0.1", "\"x\" is no seed"),
            ("-1:short=0.1", "\"-1\" is no seed"),
            ("1:", "\"\" is no rate"),
            ("1:short", "\"short\" is no rate"),
            ("1:shrt=0.1", "\"shrt\" is no fault; there are short, eagain"),
            ("1:short=1", "short=1: a rate is a number from 0 to 0.9"),
            ("1:short=-0.1", "from 0 to 0.9"),
            ("1:short=NaN", "from 0 to 0.9"),
            ("1:short=", "from 0 to 0.9"),
            ("1:short=0.1,short=0.2", "short is there twice"),
            ("1:short=0.1,", "\"\" is no rate"),
        ];
        for (text, told) in wrong {
            let error = text.parse::<Plan>().unwrap_err();
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<Plan>();
        }

        #[test]
        fn no_text_that_is_nearly_right_panics(text in "[0-9]{0,22}:((short|eagain|reset|delay)=[0-9.e+-]{0,6},?){0,4}") {
            let _ = text.parse::<Plan>();
        }

        #[test]
        fn every_plan_that_is_right_is_read(seed: u64, short in 0.0..=0.9, reset in 0.0..=0.9) {
            let plan: Plan = format!("{seed}:reset={reset},short={short}").parse().unwrap();
            prop_assert_eq!(plan.seed, seed);
            let near = |rate: Rate, wanted: f64| (f64::from(rate.0) / f64::from(u32::MAX) - wanted).abs() < 1e-6;
            prop_assert!(near(plan.short, short) && near(plan.reset, reset));
        }
    }
}
