//! Draws a chart of latency over load.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report::{Latency, Report, Run};
use super::table::grouped_rate;

/// Draws the open loops of a report into an SVG file.
///
/// # Errors
/// There are fewer than two of them, or the file cannot be written.
pub(crate) fn write(path: &Path, report: &Report) -> Result<(), String> {
    let svg = draw(report)?;
    std::fs::write(path, svg).map_err(|error| format!("--chart {}: {error}", path.display()))
}

/// The chart as SVG, without runs that have no answers.
pub(super) fn draw(report: &Report) -> Result<String, String> {
    let mut runs: Vec<&Run> = report.runs.iter().filter(|run| run.rate.is_some() && run.latency_us.max > 0.0).collect();
    runs.sort_by(|a, b| a.rate.unwrap_or(0.0).total_cmp(&b.rate.unwrap_or(0.0)));
    if runs.len() < 2 {
        return Err("--chart: fewer than two rates were answered, so there is nothing to draw".to_owned());
    }
    let most = report.runs.iter().find(|run| run.rate.is_none()).map(|run| run.checks_per_second);
    let mut svg = String::new();
    let drawn = draw_into(&mut svg, report, &runs, most);
    drawn.map_err(|error| format!("--chart: {error}"))?;
    Ok(svg)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_into(svg: &mut String, report: &Report, runs: &[&Run], most: Option<f64>) -> Drawn {
    let of = |run: &Run, line: &Line| ((line.of)(&run.latency_us) / 1e3).max(LEAST_MS);
    let values = || runs.iter().flat_map(|run| LINES.iter().map(|line| of(run, line)));
    let (low, high) = values().fold((f64::MAX, LEAST_MS), |(low, high), ms| (low.min(ms), high.max(ms)));
    // Whole decades, so that the labels of the scale are 0.1, 1, 10.
    let (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf((high * 1.05).log10().ceil()));
    let right = runs.iter().filter_map(|run| run.rate).chain(most).fold(0.0, f64::max) * 1.03;

    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let text = |size: u32| (FONT, size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(&root)
        .margin_top(64)
        .margin_right(90)
        .margin_left(12)
        .x_label_area_size(50)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..right, (low..high).log_scale())?;
    root.draw(&Text::new("Latency over load", (82, 14), text(22)))?;
    root.draw(&Text::new(subtitle(report), (82, 42), (FONT, 13).into_font().color(&FAINT)))?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(FAINT)
        .label_style(text(13))
        .x_labels(8)
        .x_label_formatter(&|rate| grouped_rate(*rate).replace(".00", ""))
        .y_label_formatter(&|ms| if *ms < 1.0 { format!("{ms}") } else { grouped_rate(*ms).replace(".00", "") })
        .x_desc("checks a second")
        .y_desc("milliseconds (logarithmic)")
        .axis_desc_style(text(14))
        .draw()?;
    if let Some(most) = most {
        let at = |share: f64| (most, 10_f64.powf(low.log10() + (high / low).log10() * share));
        let dashes = (0..40).map(|n| f64::from(n) / 40.0).map(|y| PathElement::new(vec![at(y), at(y + 0.0125)], FAINT));
        chart.draw_series(dashes)?;
        let style = (FONT, 13).into_font().color(&FAINT).pos(Pos::new(HPos::Right, VPos::Top));
        chart.draw_series([Text::new("closed loop ", at(0.985), style)])?;
    }
    let mut labels = Labels::default();
    for line in &LINES {
        let points: Vec<_> = runs.iter().map(|run| (run.rate.unwrap_or(0.0), of(run, line))).collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), line.color.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, line.color.filled())))?;
        if let Some(last) = points.last() {
            let (x, y) = chart.backend_coord(last);
            let style = (FONT, 14).into_font().color(&line.color).pos(Pos::new(HPos::Left, VPos::Center));
            root.draw(&Text::new(line.name, (x + 9, labels.place(y)), style))?;
        }
    }
    root.present()?;
    Ok(())
}

/// One line of the chart.
struct Line {
    name: &'static str,
    of: fn(&Latency) -> f64,
    color: RGBColor,
}

/// Places names at the ends of their lines, the lowest line first, without overlap.
#[derive(Default)]
struct Labels {
    last: Option<i32>,
}

impl Labels {
    fn place(&mut self, y: i32) -> i32 {
        let y = self.last.map_or(y, |last| y.min(last - LINE_HEIGHT));
        self.last = Some(y);
        y
    }
}

fn subtitle(report: &Report) -> String {
    let Some(run) = report.runs.first() else { return String::new() };
    let (connections, streams, keys) = (run.connections, run.streams, report.keys);
    format!(
        "{}: {connections} connections x {streams} streams, {keys} keys ({}); open loop, from when each check was due",
        report.target, report.distribution
    )
}

static LINES: [Line; 4] = [
    Line { name: "p50", of: |latency| latency.p50, color: RGBColor(0x1b, 0x6c, 0xa8) },
    Line { name: "p99", of: |latency| latency.p99, color: RGBColor(0x2a, 0x8f, 0x5c) },
    Line { name: "p99.9", of: |latency| latency.p999, color: RGBColor(0xc2, 0x6a, 0x00) },
    Line { name: "max", of: |latency| latency.max, color: RGBColor(0xb0, 0x2a, 0x4a) },
];
const SIZE: (u32, u32) = (960, 560);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x22, 0x2b, 0x33);
const FAINT: RGBColor = RGBColor(0x66, 0x70, 0x7a);
const GRID: RGBColor = RGBColor(0xdd, 0xe2, 0xe6);
const LINE_HEIGHT: i32 = 16;
/// Below the latency of any answer over a socket.
const LEAST_MS: f64 = 0.001;
