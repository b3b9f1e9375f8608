//! Many curves: a small picture each, before the range of all of them.

use plotters::prelude::*;

use super::{COLOURS, Curve, Drawn, range};

const COLUMNS: usize = 5;
const PANEL: (u32, u32) = (236, 150);

/// Draws each curve alone, in front of the band between the smallest and the largest of all and their median; all panels have the
/// same logarithmic axis.
pub fn draw(svg: &mut String, title: &str, curves: &[Curve]) -> Drawn {
    let rows = curves.len().div_ceil(COLUMNS);
    let size = (PANEL.0 * COLUMNS as u32 + 20, PANEL.1 * rows as u32 + 70);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!("{title} over steps; grey: all runs, and their median");
    let body = root.titled(&title, ("sans-serif", 22))?.margin(4, 4, 8, 8);
    let last = curves.iter().flat_map(|curve| &curve.smooth).map(|p| p.0).fold(1.0, f64::max);
    let values = range(curves);
    let (low, high) = (values.start, values.end);
    let held = |v: f64| v.clamp(low, high);
    let band = band(curves, last);
    for (area, curve) in body.split_evenly((rows, COLUMNS)).iter().zip(curves) {
        let mut chart = ChartBuilder::on(area)
            .caption(shortened(&curve.name), ("sans-serif", 13))
            .margin(4)
            .x_label_area_size(18)
            .y_label_area_size(40)
            .build_cartesian_2d(0.0..last, values.clone().log_scale())?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_labels(3)
            .y_labels(4)
            .x_label_formatter(&|v| format!("{v:.0}"))
            .y_label_formatter(&|v| format!("{v:.0e}"))
            .label_style(("sans-serif", 10))
            .draw()?;
        let above = band.iter().map(|b| (b.step, held(b.most)));
        let below = band.iter().rev().map(|b| (b.step, held(b.least)));
        let outline: Vec<(f64, f64)> = above.chain(below).collect();
        chart.draw_series([Polygon::new(outline, BLACK.mix(0.08))])?;
        let median = band.iter().map(|b| (b.step, held(b.median)));
        chart.draw_series(LineSeries::new(median, BLACK.mix(0.35).stroke_width(1)))?;
        let own = curve.smooth.iter().map(|&(step, v)| (step, held(v)));
        chart.draw_series(LineSeries::new(own, COLOURS[0].stroke_width(2)))?;
    }
    root.present()?;
    Ok(())
}

/// A name that fits above a panel; how many share the curve is told where they do not fit.
pub fn shortened(name: &str) -> String {
    const FITS: usize = 34;
    match name.split_once(" = ") {
        Some((first, rest)) if name.len() > FITS => format!("{first} = {} others", rest.split(" = ").count()),
        _ => name.into(),
    }
}

/// What all curves have about a step.
struct Band {
    step: f64,
    least: f64,
    median: f64,
    most: f64,
}

/// The band in a hundred intervals of steps.
fn band(curves: &[Curve], last: f64) -> Vec<Band> {
    const INTERVALS: usize = 100;
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); INTERVALS];
    for curve in curves {
        for (step, value) in &curve.smooth {
            let interval = &mut values[((step / last * INTERVALS as f64) as usize).min(INTERVALS - 1)];
            // Equal runs share a curve, and each counts.
            interval.extend(std::iter::repeat_n(*value, curve.runs));
        }
    }
    let mut band = Vec::new();
    for (at, mut values) in values.into_iter().enumerate() {
        values.sort_unstable_by(f64::total_cmp);
        if let (Some(&least), Some(&most)) = (values.first(), values.last()) {
            let step = (at as f64 + 0.5) / INTERVALS as f64 * last;
            band.push(Band { step, least, median: values[values.len() / 2], most });
        }
    }
    band
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_runs_count_each() {
        let curve = |value: f64, runs: usize| {
            let points: Vec<(f64, f64)> = (0..100).map(|i| (f64::from(i), value)).collect();
            Curve { name: "a".into(), colour: BLACK, runs, smooth: points.clone(), points }
        };
        // Of 1, 2, 2, 2, 3, 3.5 the upper median is 2; of 1, 2, 3, 3.5, without the equal ones, it would be 3.
        let band = band(&[curve(1.0, 1), curve(2.0, 3), curve(3.0, 1), curve(3.5, 1)], 100.0);
        assert!(band.len() > 90 && band.iter().all(|b| (b.least, b.median, b.most) == (1.0, 2.0, 3.5)));
    }
}
