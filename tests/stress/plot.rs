//! Plots of rows over time, as SVG: one panel below the other, each with its own scale.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const PANEL: f64 = 170.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 24.0;
/// Readable on light and dark pages.
const COLOURS: [&str; 3] = ["#2a7de1", "#e07b00", "#3a9d5d"];
const INK: &str = "#808080";

/// A row: its name, and its points (minutes, value) in order of time.
pub type Row = (&'static str, Vec<(f64, f64)>);

/// A panel with up to three rows on one scale, which begins at 0.
pub struct Panel {
    /// What is shown, with its unit.
    pub title: &'static str,
    /// The rows.
    pub rows: Vec<Row>,
}

/// Draws the panels.
pub fn svg(panels: &[Panel]) -> String {
    let height = PANEL * panels.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"{INK}\">\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        draw(panel, PANEL * index as f64, &mut out);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(panel: &Panel, top: f64, out: &mut String) {
    let points = || panel.rows.iter().flat_map(|(_, points)| points);
    let minutes = ceiling(points().map(|(x, _)| *x).fold(0.0, f64::max));
    let most = ceiling(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let (x0, x1) = (LEFT, WIDTH - RIGHT);
    let (y0, y1) = (top + PANEL - BOTTOM, top + TOP);
    let x = |minute: f64| x0 + (x1 - x0) * minute / minutes;
    let y = |value: f64| y0 - (y0 - y1) * value / most;
    let mut text = |at: (f64, f64), anchor: &str, text: &str| {
        let (x, y) = at;
        let _ =
            writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
    };
    text((x0, y1 - 12.0), "start", panel.title);
    for part in 0..=4 {
        let part = f64::from(part) / 4.0;
        text((x0 - 6.0, y(most * part) + 4.0), "end", &number(most * part));
        text((x(minutes * part), y0 + 15.0), "middle", &number(minutes * part));
    }
    for (index, (name, points)) in panel.rows.iter().enumerate() {
        let last = points.last().map_or(0.0, |(_, value)| *value);
        let label = format!("<tspan fill=\"{}\">{name}: {}</tspan>", COLOURS[index], number(last));
        // Names must not cover each other.
        text((x1 + 8.0, y1 + 14.0 * index as f64 + 4.0), "start", &label);
    }
    for part in 0..=4 {
        let at = y(most * f64::from(part) / 4.0);
        let _ = writeln!(
            out,
            "<path d=\"M{x0:.1} {at:.1}H{x1:.1}\" stroke=\"{INK}\" stroke-opacity=\"0.3\"/>"
        );
    }
    for (index, (_, points)) in panel.rows.iter().enumerate() {
        let _ = write!(out, "<polyline fill=\"none\" stroke=\"{}\" points=\"", COLOURS[index]);
        for (minute, value) in points {
            let _ = write!(out, "{:.1},{:.1} ", x(*minute), y(*value));
        }
        out.push_str("\"/>\n");
    }
}

/// The next round number: 1, 2, 4, 5, 6 or 8 times a power of ten.
fn ceiling(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.map(|step| step * power).into_iter().find(|step| *step >= most).unwrap_or(most)
}

fn number(value: f64) -> String {
    if value.fract().abs() < 1e-9 || value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_every_point_of_every_row_inside_its_panel() {
        let rows = vec![("a", vec![(0.0, 0.0), (10.0, 50.0)]), ("b", vec![(5.0, 25.0)])];
        let text = svg(&[
            Panel { title: "first", rows },
            Panel { title: "second", rows: vec![("c", vec![(1.0, 3.0)])] },
        ]);
        assert!(text.contains("points=\"70.0,146.0 710.0,34.0 \""), "{text}");
        assert!(text.contains("points=\"390.0,90.0 \""), "half way, half high: {text}");
        assert!(text.contains(">a: 50<") && text.contains(">second<"), "{text}");
        assert_eq!(text.matches("<polyline").count(), 3);
    }

    #[test]
    fn scales_end_at_round_numbers() {
        let pairs = [(0.0, 1.0), (1.0, 1.0), (1.1, 2.0), (33.0, 40.0), (810.0, 1000.0)];
        for (most, end) in pairs {
            assert!((ceiling(most) - end).abs() < 1e-9, "{most}: {}", ceiling(most));
        }
    }
}
