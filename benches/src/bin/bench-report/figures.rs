//! The committed figures of the hot path: a small text file, with the reason of its last change.

use std::fmt::Write;

use anyhow::{Context, bail};

use crate::callgrind::OwnCost;

/// Costs by script, and what they were counted on.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Why they are as they are.
    pub(crate) reason: String,
    pub(crate) toolchain: Toolchain,
    pub(crate) costs: Vec<(String, OwnCost)>,
}

/// What turned the source into instructions. Another one makes others of it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Toolchain {
    /// `release` or `debug`.
    pub(crate) build: String,
    pub(crate) architecture: String,
    pub(crate) compiler: String,
}

impl Figures {
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut figures = Self::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some((name, value)) = line.split_once(": ") {
                let value = value.to_owned();
                match name {
                    "reason" => figures.reason = value,
                    "build" => figures.toolchain.build = value,
                    "architecture" => figures.toolchain.architecture = value,
                    "compiler" => figures.toolchain.compiler = value,
                    _ => bail!("there is no {name}"),
                }
                continue;
            }
            figures.costs.push(parse_cost(line).with_context(|| format!("`{line}` is no figure"))?);
        }
        Ok(figures)
    }

    pub(crate) fn to_text(&self) -> String {
        let Self { reason, toolchain: Toolchain { build, architecture, compiler }, costs } = self;
        let mut text = format!(
            "{HEADER}reason: {reason}\nbuild: {build}\narchitecture: {architecture}\ncompiler: {compiler}\n\n\
             #        instructions     calls\n"
        );
        for (name, OwnCost { instructions, calls }) in costs {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<13}{instructions:>8.1}{calls:>10.4}");
        }
        text
    }

    pub(crate) fn cost_of(&self, script: &str) -> Option<OwnCost> {
        self.costs.iter().find(|(name, _)| name == script).map(|(_, cost)| *cost)
    }

    /// Takes over what was counted anew, and keeps what was not.
    pub(crate) fn update(&mut self, counted: Self) {
        let kept = std::mem::take(&mut self.costs);
        *self = counted;
        let is_gone = |(script, _): &(String, OwnCost)| self.cost_of(script).is_none();
        let kept: Vec<(String, OwnCost)> = kept.into_iter().filter(is_gone).collect();
        self.costs.extend(kept);
    }

    /// The scripts that cost more than `tolerance` above what is committed, or are not committed at all.
    pub(crate) fn grown_since<'a>(&'a self, committed: &Self, tolerance: f64) -> Vec<&'a str> {
        let has_grown = |script: &str, cost: &OwnCost| {
            committed.cost_of(script).is_none_or(|before| {
                cost.instructions > before.instructions * (1.0 + tolerance)
                    || cost.calls > before.calls * (1.0 + tolerance)
            })
        };
        let grown = self.costs.iter().filter(|(script, cost)| has_grown(script, cost));
        grown.map(|(script, _)| script.as_str()).collect()
    }
}

/// A script, its instructions, its calls.
fn parse_cost(line: &str) -> Option<(String, OwnCost)> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next()?.to_owned();
    let mut figure = || words.next()?.parse().ok();
    let cost = OwnCost { instructions: figure()?, calls: figure()? };
    words.next().is_none().then_some((name, cost))
}

const HEADER: &str = "\
# What the hot path costs: user instructions of the program itself, and its calls into the C library, by callgrind.
# See docs/benchmarking.md. A figure may rise only with a reason:
# cargo run --release -p benches --bin bench-report -- guard --update REASON

";

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(instructions: f64, calls: f64) -> OwnCost {
        OwnCost { instructions, calls }
    }

    fn figures(message: OwnCost) -> Figures {
        Figures {
            reason: "first: figures".to_owned(),
            toolchain: Toolchain {
                build: "release".to_owned(),
                architecture: "x86_64".to_owned(),
                compiler: "rustc 1".to_owned(),
            },
            costs: vec![("message".to_owned(), message), ("visit".to_owned(), cost(5000.0, 20.0))],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let figures = figures(cost(201.5, 1.016));
        assert_eq!(Figures::parse(&figures.to_text()).unwrap(), figures);
        for bad in ["message many 1", "message 1", "message 1 2 3", "color: red"] {
            assert!(Figures::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_update_keeps_what_was_not_counted() {
        let mut committed = figures(cost(200.0, 1.0));
        let new = vec![("message".to_owned(), cost(150.0, 1.0))];
        committed.update(Figures { costs: new, ..figures(OwnCost::default()) });
        assert_eq!(
            committed.costs,
            [("message".to_owned(), cost(150.0, 1.0)), ("visit".to_owned(), cost(5000.0, 20.0))]
        );
    }

    #[test]
    fn only_growth_beyond_the_tolerance_counts() {
        let committed = figures(cost(200.0, 1.0));
        assert!(figures(cost(206.0, 1.03)).grown_since(&committed, 0.03).is_empty());
        assert_eq!(figures(cost(206.1, 1.0)).grown_since(&committed, 0.03), ["message"]);
        assert_eq!(figures(cost(200.0, 1.04)).grown_since(&committed, 0.03), ["message"]);
        assert!(figures(cost(100.0, 0.0)).grown_since(&committed, 0.03).is_empty());
        assert_eq!(committed.grown_since(&Figures::default(), 0.03), ["message", "visit"]);
    }
}
