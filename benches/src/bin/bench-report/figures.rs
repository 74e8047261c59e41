//! The committed figures of the hot path: a small text file, with the reason of its last change.

use std::fmt::Write;

use anyhow::{Context, bail};

/// Instructions by script, and what they were counted on.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Why they are as they are.
    pub(crate) reason: String,
    /// `release` or `debug`: others do not compare.
    pub(crate) build: String,
    pub(crate) compiler: String,
    pub(crate) counts: Vec<(String, f64)>,
}

impl Figures {
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut figures = Self::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some((name, value)) = line.split_once(": ") {
                let value = value.to_owned();
                match name {
                    "reason" => figures.reason = value,
                    "build" => figures.build = value,
                    "compiler" => figures.compiler = value,
                    _ => bail!("there is no {name}"),
                }
                continue;
            }
            let (name, count) = line.split_once(' ').with_context(|| format!("`{line}` is no figure"))?;
            let count = count.trim().parse().with_context(|| format!("`{line}` is no figure"))?;
            figures.counts.push((name.to_owned(), count));
        }
        Ok(figures)
    }

    pub(crate) fn to_text(&self) -> String {
        let Self { reason, build, compiler, counts } = self;
        let mut text = format!("{HEADER}reason: {reason}\nbuild: {build}\ncompiler: {compiler}\n\n");
        for (name, count) in counts {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<13}{count:>9.1}");
        }
        text
    }

    pub(crate) fn count_of(&self, script: &str) -> Option<f64> {
        self.counts.iter().find(|(name, _)| name == script).map(|(_, count)| *count)
    }

    /// Takes over what was counted anew, and keeps what was not.
    pub(crate) fn update(&mut self, counted: Self) {
        let kept = std::mem::take(&mut self.counts);
        *self = counted;
        let is_gone = |(script, _): &(String, f64)| self.count_of(script).is_none();
        let kept: Vec<(String, f64)> = kept.into_iter().filter(is_gone).collect();
        self.counts.extend(kept);
    }

    /// The scripts whose count is more than `tolerance` above the one committed, or is not committed at all.
    pub(crate) fn grown_since<'a>(&'a self, committed: &Self, tolerance: f64) -> Vec<&'a str> {
        let has_grown = |script: &str, count: f64| {
            committed.count_of(script).is_none_or(|committed| count > committed * (1.0 + tolerance))
        };
        let grown = self.counts.iter().filter(|(script, count)| has_grown(script, *count));
        grown.map(|(script, _)| script.as_str()).collect()
    }
}

const HEADER: &str = "\
# User instructions of the hot path, by callgrind: see docs/benchmarking.md. A figure may rise only with a reason:
# cargo run --release -p benches --bin bench-report -- guard --update REASON

";

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(message: f64) -> Figures {
        Figures {
            reason: "first: figures".to_owned(),
            build: "release".to_owned(),
            compiler: "rustc 1".to_owned(),
            counts: vec![("message".to_owned(), message), ("visit".to_owned(), 5000.0)],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Figures::parse(&figures(201.5).to_text()).unwrap(), figures(201.5));
        assert!(Figures::parse("message many").is_err());
    }

    #[test]
    fn an_update_keeps_what_was_not_counted() {
        let mut committed = figures(200.0);
        committed.update(Figures { counts: vec![("message".to_owned(), 150.0)], ..figures(0.0) });
        assert_eq!(committed.counts, [("message".to_owned(), 150.0), ("visit".to_owned(), 5000.0)]);
    }

    #[test]
    fn only_growth_beyond_the_tolerance_counts() {
        let committed = figures(200.0);
        assert!(figures(206.0).grown_since(&committed, 0.03).is_empty());
        assert_eq!(figures(206.1).grown_since(&committed, 0.03), ["message"]);
        assert!(figures(100.0).grown_since(&committed, 0.03).is_empty());
        assert_eq!(figures(200.0).grown_since(&Figures::default(), 0.03), ["message", "visit"]);
    }
}
