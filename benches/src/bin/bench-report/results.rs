//! What was measured: samples by metric, workload and server, and how costs grow.

use std::collections::HashMap;
use std::fmt::Write;

/// What a figure says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    CpuTime,
    UserShare,
    WallTime,
    UserInstructions,
    KernelInstructions,
    CallgrindInstructions,
    SystemCalls,
    Waits,
    Latency50,
    Latency90,
    Latency99,
    Latency999,
    ConnectionMemory,
    StartMemory,
}

impl Metric {
    /// All, in the order in which a report tells them.
    pub(crate) const ALL: [Self; 14] = [
        Self::CpuTime,
        Self::UserShare,
        Self::WallTime,
        Self::UserInstructions,
        Self::KernelInstructions,
        Self::CallgrindInstructions,
        Self::SystemCalls,
        Self::Waits,
        Self::Latency50,
        Self::Latency90,
        Self::Latency99,
        Self::Latency999,
        Self::ConnectionMemory,
        Self::StartMemory,
    ];

    /// The heading, with the unit.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::CpuTime => "Processor time of the server, ns",
            Self::UserShare => "Share of user code in that time as ticks sampled it, %",
            Self::WallTime => "Time by the clock, ns",
            Self::UserInstructions => "User instructions, by the processor's counter",
            Self::KernelInstructions => "Kernel instructions, by the processor's counter",
            Self::CallgrindInstructions => "User instructions, by callgrind",
            Self::SystemCalls => "System calls",
            Self::Waits => "Of these, waits for events",
            Self::Latency50 => "Latency, median, us",
            Self::Latency90 => "Latency, 90th percentile, us",
            Self::Latency99 => "Latency, 99th percentile, us",
            Self::Latency999 => "Latency, 99.9th percentile, us",
            Self::ConnectionMemory => "User memory of an idle connection, bytes",
            Self::StartMemory => "Resident memory at start, KiB",
        }
    }

    /// Whether to tell how it compares to the bare loop's.
    pub(crate) fn is_compared(self) -> bool {
        !matches!(self, Self::UserShare | Self::Waits)
    }
}

/// The samples of one figure.
pub(crate) struct Cell {
    pub(crate) metric: Metric,
    pub(crate) workload: String,
    pub(crate) server: String,
    samples: Vec<f64>,
}

impl Cell {
    /// The one in the middle: what a disturbed round says does not count.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.samples.len() / 2;
        if self.samples.len() % 2 == 1 {
            return self.samples[middle];
        }
        (self.samples[middle - 1] + self.samples[middle]) / 2.0
    }
}

/// How a cost grows with something.
pub(crate) struct Growth {
    /// Also the name of its plot's file.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) series: Vec<Series>,
}

/// One line of a plot.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Series {
    /// The exponent of growth: the slope of the straight line through the points on log axes. 0 is constant, 1 linear.
    pub(crate) fn slope(&self) -> Option<f64> {
        let logs: Vec<(f64, f64)> =
            self.points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0).map(|(x, y)| (x.ln(), y.ln())).collect();
        let count = logs.len() as f64;
        let (mean_x, mean_y) =
            (logs.iter().map(|p| p.0).sum::<f64>() / count, logs.iter().map(|p| p.1).sum::<f64>() / count);
        let spread: f64 = logs.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
        let along: f64 = logs.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
        (logs.len() > 1 && spread > 0.0).then(|| along / spread)
    }
}

/// Everything that was measured, and what there is to say about it.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) cells: Vec<Cell>,
    pub(crate) growths: Vec<Growth>,
    pub(crate) notes: Vec<String>,
    /// Of user code and of all, by workload and server.
    ticks: HashMap<(String, String), (u64, u64)>,
}

impl Results {
    /// Adds a sample.
    pub(crate) fn add(&mut self, metric: Metric, workload: &str, server: &str, sample: f64) {
        let index = match self.position(metric, workload, server) {
            Some(index) => index,
            None => {
                let (workload, server) = (workload.to_owned(), server.to_owned());
                self.cells.push(Cell { metric, workload, server, samples: Vec::new() });
                self.cells.len() - 1
            }
        };
        let samples = &mut self.cells[index].samples;
        samples.insert(samples.partition_point(|other| *other < sample), sample);
    }

    /// Adds ticks of user code and of all: a sample has too few of them, all samples together may have enough.
    pub(crate) fn add_ticks(&mut self, workload: &str, server: &str, (user, all): (u64, u64)) {
        let name = (workload.to_owned(), server.to_owned());
        let ticks = self.ticks.entry(name).or_default();
        *ticks = (ticks.0 + user, ticks.1 + all);
        let (user, all) = *ticks;
        if all >= ENOUGH_TICKS {
            self.cells
                .retain(|cell| (cell.metric, &*cell.workload, &*cell.server) != (Metric::UserShare, workload, server));
            self.add(Metric::UserShare, workload, server, user as f64 / all as f64 * 100.0);
        }
    }

    pub(crate) fn median(&self, metric: Metric, workload: &str, server: &str) -> Option<f64> {
        self.position(metric, workload, server).map(|index| self.cells[index].median())
    }

    /// Says something once.
    pub(crate) fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// All figures, a line each.
    pub(crate) fn to_csv(&self) -> String {
        let mut csv = "metric,workload,server,median,least,most,samples\n".to_owned();
        for cell in &self.cells {
            let (least, most) = (cell.samples[0], cell.samples[cell.samples.len() - 1]);
            let title = cell.metric.title();
            let Cell { workload, server, samples, .. } = cell;
            let count = samples.len();
            // Writing to a string does not fail. No name has a quotation mark in it.
            let _ = writeln!(csv, "\"{title}\",{workload},{server},{:.3},{least:.3},{most:.3},{count}", cell.median());
        }
        csv
    }

    /// All points of all plots, a line each.
    pub(crate) fn growth_to_csv(&self) -> String {
        let mut csv = "growth,series,x,y\n".to_owned();
        for growth in &self.growths {
            for series in &growth.series {
                for (x, y) in &series.points {
                    let _ = writeln!(csv, "{},{},{x},{y:.3}", growth.name, series.name);
                }
            }
        }
        csv
    }

    fn position(&self, metric: Metric, workload: &str, server: &str) -> Option<usize> {
        let is_it = |cell: &Cell| cell.metric == metric && cell.workload == workload && cell.server == server;
        self.cells.iter().position(is_it)
    }
}

/// Below it a share in percent would be made up.
const ENOUGH_TICKS: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbed_round_does_not_count() {
        let mut results = Results::default();
        for sample in [10.0, 900.0, 11.0] {
            results.add(Metric::CpuTime, "bulk", "mio", sample);
        }
        assert_eq!(results.median(Metric::CpuTime, "bulk", "mio"), Some(11.0));
        assert!(results.to_csv().contains(",bulk,mio,11.000,10.000,900.000,3"));
    }

    #[test]
    fn the_slope_is_the_exponent_of_growth() {
        let series =
            |f: fn(f64) -> f64| Series { name: String::new(), points: [1.0, 10.0, 100.0].map(|x| (x, f(x))).to_vec() };
        assert!((series(|x| 3.0 * x).slope().unwrap() - 1.0).abs() < 1e-9);
        assert!(series(|_| 5.0).slope().unwrap().abs() < 1e-9);
        assert_eq!(Series { name: String::new(), points: vec![(1.0, 1.0)] }.slope(), None);
    }
}
