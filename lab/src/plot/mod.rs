//! Pictures of runs: curves of a quantity over steps, and where optimizers went.

mod chart;
mod legend;
mod panels;

use std::path::Path;

use osculate::optim::Report;
use osculate::store::write_aside;
use plotters::prelude::*;

use crate::error::{Error, Result};
use crate::train::Run;

pub use legend::{Entry, WIDTH as LEGEND, draw as legend, height as legend_height};
pub use panels::shortened;

/// Colours that also differ for the colour-blind (Okabe and Ito 2008).
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// A drawing's success, or the error of whichever layer of the plotting crate failed.
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// A quantity of a report.
struct Quantity {
    name: &'static str,
    label: &'static str,
    of: fn(&Report) -> Option<f64>,
}

const QUANTITIES: [Quantity; 5] = [
    Quantity { name: "loss", label: "minibatch loss", of: |r| Some(r.loss) },
    Quantity { name: "step", label: "step size", of: |r| Some(r.step) },
    Quantity { name: "gain", label: "Kalman gain", of: |r| r.gain },
    Quantity { name: "noise", label: "gradient noise (variance of a coordinate)", of: |r| r.gradient_noise },
    Quantity { name: "curvature", label: "curvature along the step", of: |r| r.curvature },
];

/// One or more runs with the same values, over steps.
struct Curve {
    name: String,
    colour: RGBColor,
    /// How many runs have these values.
    runs: usize,
    /// As reported; positive and finite.
    points: Vec<(f64, f64)>,
    /// Without the noise of single minibatches.
    smooth: Vec<(f64, f64)>,
}

/// Draws every quantity that at least one run has; returns the files.
pub fn all(out: &Path, problem: &str, runs: &[Run]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for quantity in &QUANTITIES {
        // A run has the same colour in every picture.
        let series = runs.iter().zip(COLOURS.into_iter().cycle());
        let series = series.map(|(run, colour)| (run.optimizer.as_str(), colour, points(&run.reports, quantity.of)));
        let curves = distinct(series);
        if curves.is_empty() {
            continue;
        }
        let path = out.join(format!("{problem}-{}.svg", quantity.name));
        let label = labelled(quantity, runs);
        let title = format!("{problem}: {label}");
        let mut svg = String::new();
        let drawn = match curves.len() {
            // More are too many for one pair of axes.
            0..=COLOUR_COUNT => chart::draw(&mut svg, &title, &label, &curves, false),
            _ => panels::draw(&mut svg, &title, &curves),
        };
        files.push(written(&path, drawn, &svg)?);
    }
    Ok(files)
}

const COLOUR_COUNT: usize = COLOURS.len();

/// A picture's caption: the quantity's name, and ", where above 0" if the logarithmic axis leaves values out.
fn labelled(quantity: &Quantity, runs: &[Run]) -> String {
    let mut values = runs.iter().flat_map(|run| &run.reports).filter_map(quantity.of);
    let left_out = values.any(|value| value <= 0.0);
    format!("{}{}", quantity.label, if left_out { ", where above 0" } else { "" })
}

/// Draws positive numbers over steps from 1, both logarithmic; returns the file.
pub fn log_log(out: &Path, name: &str, label: &str, curves: &[(&str, &[f64])]) -> Result<String> {
    let series = curves.iter().zip(COLOURS.into_iter().cycle()).map(|(&(name, values), colour)| {
        let steps = (1..).map(f64::from).zip(values.iter().copied());
        (name, colour, steps.filter(|(_, v)| *v > 0.0 && v.is_finite()).collect())
    });
    let mut curves = distinct(series);
    // What was averaged over seeds is smooth, and its steps are not even.
    curves.iter_mut().for_each(|curve| curve.smooth = std::mem::take(&mut curve.points));
    let mut svg = String::new();
    let drawn = chart::draw(&mut svg, name, label, &curves, true);
    written(&out.join(format!("{name}.svg")), drawn, &svg)
}

/// Writes a picture that could be drawn; returns its path.
pub fn written(path: &Path, drawn: Drawn, svg: &str) -> Result<String> {
    drawn.map_err(|e| Error::Plot(e.to_string()))?;
    write_aside(path, svg.as_bytes()).map_err(|e| Error::file(path, e))?;
    Ok(path.display().to_string())
}

/// Positive finite values over steps: the axis is logarithmic.
fn points(reports: &[Report], of: fn(&Report) -> Option<f64>) -> Vec<(f64, f64)> {
    let value = |(at, r): (usize, &Report)| of(r).filter(|v| *v > 0.0 && v.is_finite()).map(|v| (at as f64, v));
    reports.iter().enumerate().filter_map(value).collect()
}

/// Curves with at least one point; equal ones, which would hide each other, are one curve with all names.
fn distinct<'a>(series: impl Iterator<Item = (&'a str, RGBColor, Vec<(f64, f64)>)>) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for (name, colour, points) in series.filter(|(.., points)| !points.is_empty()) {
        match curves.iter_mut().find(|curve| curve.points == points) {
            Some(curve) => {
                curve.name += &format!(" = {name}");
                curve.runs += 1;
            }
            None => curves.push(Curve { name: name.into(), colour, runs: 1, smooth: smoothed(&points), points }),
        }
    }
    curves
}

/// Centred geometric means over a fortieth of the steps, at most 400 of them.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 80;
    let stride = points.len().div_ceil(400).max(1);
    let mean = |at: usize| {
        // As far to one side as to the other: an end is not drawn towards the middle.
        let reach = reach.min(at).min(points.len() - 1 - at);
        let window = &points[at - reach..=at + reach];
        let log = window.iter().map(|p| p.1.ln()).sum::<f64>() / window.len() as f64;
        (points[at].0, log.exp())
    };
    let last = points.len().checked_sub(1);
    (0..points.len()).step_by(stride).chain(last.filter(|last| last % stride != 0)).map(mean).collect()
}

/// The range of values to show: all but the farthest outliers, with some air.
fn range(curves: &[Curve]) -> std::ops::Range<f64> {
    let mut values: Vec<f64> = curves.iter().flat_map(|curve| &curve.smooth).map(|p| p.1).collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| values.get(((values.len().max(1) - 1) as f64 * part) as usize).copied().unwrap_or(1.0);
    let (low, high) = (at(0.01), at(0.99));
    // A run that ends far away must not flatten the others.
    let air = (high / low).powf(0.05).max(1.2);
    low / air..high * air
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_curves_are_one() {
        let curve = |scale: f64| (0..100).map(|i| (f64::from(i), scale * f64::from(i + 1))).collect::<Vec<_>>();
        let series = [("a", BLACK, curve(1.0)), ("b", BLUE, curve(2.0)), ("c", RED, curve(1.0)), ("d", RED, vec![])];
        let curves = distinct(series.into_iter());
        let names: Vec<&str> = curves.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["a = c", "b"]);
    }

    #[test]
    fn what_is_left_out_is_said() {
        use osculate::optim::Status;
        let run = |steps: &[f64]| Run {
            optimizer: "a".into(),
            reports: steps.iter().map(|&step| Report::new(Status::Stepped, 1.0, step)).collect(),
        };
        let said = |steps: &[f64]| QUANTITIES[..2].iter().map(|q| labelled(q, &[run(steps)])).collect::<Vec<_>>();
        assert_eq!(said(&[0.5, 0.25]), ["minibatch loss", "step size"]);
        assert_eq!(said(&[0.5, 0.0]), ["minibatch loss", "step size, where above 0"]);
        assert_eq!(said(&[-0.5]), ["minibatch loss", "step size, where above 0"]);
    }

    #[test]
    fn spikes_reach_the_edge() {
        let mut points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), 1.0 + f64::from(i % 7))).collect();
        (points[500].1, points[501].1) = (1e30, 1e-30);
        let mut svg = String::new();
        chart::draw(&mut svg, "a", "b", &distinct([("a", BLACK, points)].into_iter()), false).expect("a picture");
        // The faint line first: it has every point.
        let line = svg.split("<polyline").find(|line| line.contains("opacity=\"0.18\"")).expect("a line");
        let drawn = line.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("points");
        assert_eq!(drawn.split_whitespace().count(), 1000);
    }

    #[test]
    fn smoothing_keeps_ends_and_constants() {
        let points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), 3.0)).collect();
        let smooth = smoothed(&points);
        assert!(smooth.len() <= 401 && smooth.iter().all(|p| (p.1 - 3.0).abs() < 1e-12));
        assert_eq!((smooth[0].0, smooth[smooth.len() - 1].0), (0.0, 999.0));
        assert_eq!(smoothed(&[(0.0, 2.0)]).len(), 1);
        assert!(smoothed(&[]).is_empty());
    }

    #[test]
    fn one_that_runs_away_does_not_flatten_the_others() {
        let curve = |end: f64| {
            let mut points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), 1.0 + f64::from(i % 7))).collect();
            points[999].1 = end;
            points
        };
        let curves = distinct([("a", BLACK, curve(1.0)), ("b", BLUE, curve(1e300))].into_iter());
        assert!(range(&curves).end < 100.0);
    }
}
