//! Writes what was measured as Markdown.

use std::fmt::{self, Write};

use crate::machine::Machine;
use crate::results::{Growth, Metric, Results};

/// The whole report.
pub(crate) fn report(machine: &Machine, servers: &[&str], results: &Results) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_report(&mut text, machine, servers, results);
    text
}

/// A text with the report between its marks, a level deeper and without the plots. `None`: it has no marks.
pub(crate) fn insert(text: &str, report: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    let mut between = String::new();
    for line in report.lines().filter(|line| !line.starts_with("![")) {
        let deeper = if line.starts_with('#') { "#" } else { "" };
        // What had a plot before and after it keeps one empty line.
        if !(line.is_empty() && between.ends_with("\n\n")) {
            let _ = writeln!(between, "{deeper}{line}");
        }
    }
    Some(format!("{before}{BEGIN}\n\n{between}\n{END}{after}"))
}

fn write_report(text: &mut String, machine: &Machine, servers: &[&str], results: &Results) -> fmt::Result {
    writeln!(text, "# Servers side by side\n")?;
    for (name, value) in &machine.facts {
        writeln!(text, "- {name}: {value}")?;
    }
    writeln!(
        text,
        "\nFigures are medians of the rounds, for each message (answers: 16 requests; bulk: MiB; churn: connection with a message)."
    )?;
    writeln!(text, "In brackets: the ratio to {BASE}, the bare loop, in the same run.")?;
    for metric in Metric::ALL {
        write_table(text, metric, servers, results)?;
    }
    for growth in &results.growths {
        write_growth(text, growth)?;
    }
    if !results.notes.is_empty() {
        writeln!(text, "\n## Notes\n")?;
        for note in &results.notes {
            writeln!(text, "- {note}")?;
        }
    }
    Ok(())
}

fn write_table(text: &mut String, metric: Metric, servers: &[&str], results: &Results) -> fmt::Result {
    let mut workloads: Vec<&str> = Vec::new();
    for cell in results.cells.iter().filter(|cell| cell.metric == metric) {
        if !workloads.contains(&cell.workload.as_str()) {
            workloads.push(&cell.workload);
        }
    }
    if workloads.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n## {}\n\n| | {} |", metric.title(), workloads.join(" | "))?;
    writeln!(text, "|---|{}", "---:|".repeat(workloads.len()))?;
    for server in servers {
        write!(text, "| {server} |")?;
        for workload in &workloads {
            let value = results.median(metric, workload, server);
            let base = results.median(metric, workload, BASE).filter(|base| metric.is_compared() && *base > 0.0);
            match (value, base) {
                (Some(value), Some(base)) => write!(text, " {} ({:.2}) |", figure(value), value / base)?,
                (Some(value), None) => write!(text, " {} |", figure(value))?,
                (None, _) => write!(text, " - |")?,
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

fn write_growth(text: &mut String, growth: &Growth) -> fmt::Result {
    writeln!(text, "\n## {}\n\n![{}]({}.svg)\n", growth.title, growth.title, growth.name)?;
    writeln!(text, "{} by {}, as `{}: {}`, and the slope on log axes.\n", growth.y, growth.x, growth.x, growth.y)?;
    for series in &growth.series {
        let points: Vec<String> = series.points.iter().map(|(x, y)| format!("{x}: {}", figure(*y))).collect();
        let slope = series.slope().map_or_else(|| "-".to_owned(), |slope| format!("{slope:.2}"));
        writeln!(text, "- {}: {}; slope {slope}", series.name, points.join(", "))?;
    }
    Ok(())
}

/// Three digits or so: more would pretend.
fn figure(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

const BEGIN: &str = "<!-- bench-report begins -->";
const END: &str = "<!-- bench-report ends -->";

/// The server that the others are compared to.
const BASE: &str = "epoll";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_compares_and_leaves_gaps() {
        let mut results = Results::default();
        results.add(Metric::CpuTime, "bulk", "epoll", 200.0);
        results.add(Metric::CpuTime, "bulk", "mio", 300.0);
        results.add(Metric::CpuTime, "churn", "mio", 7.0);
        let text = report(&Machine { facts: vec![("kernel", "6".to_owned())] }, &["epoll", "mio"], &results);
        assert!(text.contains("| | bulk | churn |"), "{text}");
        assert!(text.contains("| epoll | 200 (1.00) | - |"), "{text}");
        assert!(text.contains("| mio | 300 (1.50) | 7.00 |"), "{text}");
    }

    #[test]
    fn a_report_goes_between_the_marks() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = insert(&text, "# Title\n\n![x](x.svg)\n\nfigures\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\n\n## Title\n\nfigures\n\n{END}\nafter\n"));
        assert_eq!(insert(&new, "# Title\n\nfigures\n").unwrap(), new);
        assert!(insert("no marks", "figures").is_none());
    }
}
