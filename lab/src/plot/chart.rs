//! A few curves on one pair of axes, their names beside it.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::legend::{self, Entry};
use super::{Curve, Drawn, range};

/// Draws curves over steps, logarithmic in value and, if asked for, in steps.
pub fn draw(svg: &mut String, title: &str, label: &str, curves: &[Curve], log_steps: bool) -> Drawn {
    let last = curves.iter().flat_map(|curve| &curve.smooth).map(|p| p.0).fold(2.0, f64::max);
    match log_steps {
        true => on_axes(svg, title, label, curves, (1.0..last).log_scale()),
        false => on_axes(svg, title, label, curves, 0.0..last),
    }
}

fn on_axes<X>(svg: &mut String, title: &str, label: &str, curves: &[Curve], steps: X) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let entries: Vec<Entry<'_>> = curves.iter().map(|c| Entry { name: &c.name, colour: c.colour }).collect();
    let size = (860 + legend::WIDTH, legend::height(&entries).max(540));
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(860);
    let values = range(curves);
    // What leaves the picture is drawn on its edge: a spike that was left out would be a straight line.
    let (low, high) = (values.start, values.end);
    let held = |&(step, v): &(f64, f64)| (step, v.clamp(low, high));
    let mut chart = ChartBuilder::on(&left)
        .caption(title, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d(steps, values.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc(label)
        .x_label_formatter(&|v| format!("{v:.0}"))
        .y_label_formatter(&|v| format!("{v:.0e}"))
        .light_line_style(BLACK.mix(0.05))
        .draw()?;
    for curve in curves {
        let faint = curve.points.iter().map(held);
        chart.draw_series(LineSeries::new(faint, curve.colour.mix(0.18).stroke_width(1)))?;
    }
    for curve in curves {
        let points = curve.smooth.iter().map(held);
        chart.draw_series(LineSeries::new(points, curve.colour.stroke_width(2)))?;
    }
    legend::draw(&right, &entries)?;
    root.present()?;
    Ok(())
}
