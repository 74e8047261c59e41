//! Draws how a cost grows, as an SVG with logarithmic axes.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::results::Growth;

/// Draws one plot. Without points there is nothing to draw.
pub(crate) fn draw(growth: &Growth, path: &Path) -> anyhow::Result<()> {
    let points = || growth.series.iter().flat_map(|series| &series.points).filter(|(x, y)| *x > 0.0 && *y > 0.0);
    if points().next().is_none() {
        return Ok(());
    }
    // plotters' errors borrow what they tell of.
    try_draw(growth, range(points().map(|p| p.0)), range(points().map(|p| p.1)), path)
        .map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn try_draw(
    growth: &Growth,
    x: std::ops::Range<f64>,
    y: std::ops::Range<f64>,
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, (800, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(&growth.title, ("sans-serif", 20))
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(75)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    let label = |value: &f64| label(*value);
    chart
        .configure_mesh()
        .x_desc(growth.x)
        .y_desc(growth.y)
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .draw()?;
    for (index, series) in growth.series.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let points: Vec<(f64, f64)> = series.points.iter().copied().filter(|(x, y)| *x > 0.0 && *y > 0.0).collect();
        let name = match series.slope() {
            Some(slope) => format!("{}, slope {slope:.2}", series.name),
            None => series.name.clone(),
        };
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    let position = SeriesLabelPosition::UpperLeft;
    chart.configure_series_labels().position(position).background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

/// A little more than the values span: a logarithmic axis of no length cannot be drawn.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    low / 1.3..high * 1.3
}

fn label(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Series;

    #[test]
    fn a_plot_names_its_lines_and_their_slopes() {
        let path = std::env::temp_dir().join(format!("bench-report-plot-{}.svg", std::process::id()));
        let series = |name: &str, points: &[(f64, f64)]| Series { name: name.to_owned(), points: points.to_vec() };
        let growth = Growth {
            name: "idle",
            title: "A message".to_owned(),
            x: "connections",
            y: "ns",
            series: vec![series("poll", &[(64.0, 100.0), (6400.0, 10_000.0)]), series("one", &[(64.0, 100.0)])],
        };
        draw(&growth, &path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(svg.contains("poll, slope 1.00") && svg.contains("A message"), "{svg}");
    }

    #[test]
    fn without_points_nothing_is_drawn() {
        let path = std::env::temp_dir().join(format!("bench-report-no-plot-{}.svg", std::process::id()));
        let growth = Growth { name: "idle", title: String::new(), x: "", y: "", series: Vec::new() };
        draw(&growth, &path).unwrap();
        assert!(!path.exists());
    }
}
