//! Curves of several runs in one picture.

use std::path::Path;

use osculate::optim::Report;
use osculate::store::write_aside;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::error::{Error, Result};
use crate::train::Run;

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
    Quantity { name: "curvature", label: "curvature along the step, where positive", of: |r| r.curvature },
];

struct Curve<'a> {
    name: &'a str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws every quantity that at least one run has; returns the files.
pub fn all(out: &Path, problem: &str, runs: &[Run]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for quantity in &QUANTITIES {
        // A run has the same colour in every picture.
        let curves: Vec<Curve<'_>> = (runs.iter().zip(COLOURS.into_iter().cycle()))
            .map(|(run, colour)| Curve { name: &run.optimizer, colour, points: points(&run.reports, quantity.of) })
            .filter(|curve| !curve.points.is_empty())
            .collect();
        if curves.is_empty() {
            continue;
        }
        let path = out.join(format!("{problem}-{}.svg", quantity.name));
        let mut svg = String::new();
        let last = curves.iter().flat_map(|curve| &curve.points).map(|p| p.0).fold(1.0, f64::max);
        draw(&mut svg, problem, quantity.label, &curves, 0.0..last).map_err(|e| Error::Plot(e.to_string()))?;
        write_aside(&path, svg.as_bytes()).map_err(|e| Error::file(&path, e))?;
        files.push(path.display().to_string());
    }
    Ok(files)
}

/// Draws positive numbers over steps, both logarithmic; returns the file.
pub fn log_log(out: &Path, name: &str, label: &str, curves: &[(&str, &[f64])]) -> Result<String> {
    let curves: Vec<Curve<'_>> = (curves.iter().zip(COLOURS.into_iter().cycle()))
        .map(|(&(name, values), colour)| {
            let steps = (1..).map(f64::from).zip(values.iter().copied());
            Curve { name, colour, points: steps.filter(|(_, v)| *v > 0.0 && v.is_finite()).collect() }
        })
        .collect();
    let path = out.join(format!("{name}.svg"));
    let mut svg = String::new();
    let last = curves.iter().flat_map(|curve| &curve.points).map(|p| p.0).fold(2.0, f64::max);
    draw(&mut svg, name, label, &curves, (1.0..last).log_scale()).map_err(|e| Error::Plot(e.to_string()))?;
    write_aside(&path, svg.as_bytes()).map_err(|e| Error::file(&path, e))?;
    Ok(path.display().to_string())
}

/// Positive finite values over steps: the axis is logarithmic.
fn points(reports: &[Report], of: fn(&Report) -> Option<f64>) -> Vec<(f64, f64)> {
    let value = |(at, r): (usize, &Report)| of(r).filter(|v| *v > 0.0 && v.is_finite()).map(|v| (at as f64, v));
    reports.iter().enumerate().filter_map(value).collect()
}

fn draw<X>(
    svg: &mut String,
    problem: &str,
    label: &str,
    curves: &[Curve<'_>],
    steps: X,
) -> std::result::Result<(), Box<dyn std::error::Error>>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let (low, high) = all().fold((f64::INFINITY, 0.0f64), |(l, h), p| (l.min(p.1), h.max(p.1)));
    let root = SVGBackend::with_string(svg, (900, 540)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("{problem}: {label}"), ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d(steps, (low / 1.2..high * 1.2).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc(label)
        .x_label_formatter(&|v| format!("{v:.0}"))
        .y_label_formatter(&|v| format!("{v:.0e}"))
        .light_line_style(BLACK.mix(0.05))
        .draw()?;
    for &Curve { name, colour, ref points } in curves {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(1)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}
