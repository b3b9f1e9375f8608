//! `landscape`: where optimizers go on a surface, drawn over its contours.

use std::path::PathBuf;

use clap::Args;
use osculate::nn::problems::{SURFACES, Surface, noise};
use osculate::optim::{Minibatches, Oracle, Status};
use osculate::{Batch, Device, Examples, Rng, Spec};
use plotters::prelude::*;
use serde_json::json;

use crate::error::{Error, Result};
use crate::plot::{self, COLOURS, Entry};
use crate::{interrupt, names, output, train};

/// Which surface, and who walks on it.
#[derive(Args, Debug)]
pub struct Options {
    /// The surface: rosenbrock, beale, branin, matyas, goldstein-price or three-hump-camel.
    surface: String,
    /// Optimizers, separated by commas, or `all`.
    #[arg(long, value_delimiter = ',', default_value = "meka,lradapt-adam,kafisto,ogr-centred,adam,sgd")]
    optimizer: Vec<String>,
    /// Sets an option of every optimizer that has it, or of one (`sgd.rate=0.001`).
    #[arg(long, value_name = "[OPTIMIZER.]OPTION=VALUE")]
    set: Vec<String>,
    /// Steps of each.
    #[arg(long, default_value_t = 200, value_parser = names::whole(1, 100_000), allow_hyphen_values = true)]
    steps: u64,
    /// Standard deviation of one example's gradient.
    #[arg(long, default_value_t = 0.0, value_parser = names::not_negative, allow_hyphen_values = true)]
    noise: f64,
    /// Examples in a minibatch.
    #[arg(long, default_value_t = 16, value_parser = names::whole(2, 4096), allow_hyphen_values = true)]
    batch: u64,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0, value_parser = names::whole(0, u64::MAX), allow_hyphen_values = true)]
    seed: u64,
    /// Folder for the picture (SVG).
    #[arg(long, default_value_os_t = crate::default_out())]
    out: PathBuf,
    /// Print the rows, with their paths, as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

/// One optimizer's way.
struct Walk {
    name: String,
    path: Vec<[f64; 2]>,
    value: f64,
    /// Steps that were not taken as the rule asked.
    not_taken: usize,
}

/// Minibatches that noise is drawn for; they come round again after that.
const BATCHES: usize = 256;

/// Walks and draws.
pub fn run(options: &Options) -> Result<()> {
    interrupt::listen();
    let surface = SURFACES
        .iter()
        .find(|surface| surface.name == options.surface)
        .ok_or_else(|| names::unknown("surface", &options.surface, SURFACES.iter().map(|surface| surface.name)))?;
    output::folder(&options.out)?;
    let loss = surface.loss()?;
    let n = options.batch as usize;
    let examples = noise(n * BATCHES, 2, options.noise, &mut Rng::new(options.seed))?;
    let all = examples.all()?;
    let silent = noise(1, 2, 0.0, &mut Rng::new(0))?.all()?;
    let mut exact = Minibatches::<_, f64>::new(&loss, &Device::cpu());
    let mut walks = Vec::new();
    for (name, mut optimizer) in train::chosen::<f64>(&options.optimizer, &options.set, 2)? {
        let (mut at, mut path, mut not_taken) = (surface.start, vec![surface.start], 0);
        let (mut oracles, mut batch) = (Minibatches::new(&loss, &Device::cpu()), Batch::default());
        for step in 0..options.steps as usize {
            minibatch(&examples, step, n, &mut batch)?;
            let report = optimizer.step(&mut at, &mut oracles.on(&batch).of(&all))?;
            not_taken += usize::from(report.status != Status::Stepped);
            path.push(at);
            if interrupt::asked() {
                break;
            }
        }
        let value = exact.on(&silent).loss(&at)?;
        walks.push(Walk { name, path, value, not_taken });
        if interrupt::asked() {
            break;
        }
    }
    let file = options.out.join(format!("landscape-{}.svg", surface.name));
    let mut value = |at: [f64; 2]| exact.on(&silent).loss(&at).unwrap_or(f64::NAN);
    let grid = grid(surface, &mut value);
    let mut svg = String::new();
    let drawn = draw(&mut svg, surface, &grid, &walks);
    let picture = plot::written(&file, drawn, &svg)?;
    let header = ["optimizer", "surface", "f - least", "x", "y", "not taken"].map(String::from);
    output::grid(
        &header,
        walks.iter().map(|walk| {
            let [x, y] = walk.path[walk.path.len() - 1];
            let above = format!("{:.3e}", walk.value - surface.least);
            let place = [x, y].map(|v| if v.abs() < 1e6 { format!("{v:.5}") } else { format!("{v:.1e}") });
            [
                walk.name.clone(),
                surface.name.into(),
                above,
                place[0].clone(),
                place[1].clone(),
                walk.not_taken.to_string(),
            ]
            .into()
        }),
    )?;
    output::say(format_args!("picture: {picture}"))?;
    if options.json {
        let rows: Vec<_> = (walks.iter())
            .map(|w| json!({ "optimizer": w.name, "above_least": w.value - surface.least, "path": w.path }))
            .collect();
        output::say(json!({ "surface": surface.name, "rows": rows }))?;
    }
    if interrupt::asked() { Err(Error::Interrupted) } else { Ok(()) }
}

fn minibatch(examples: &Examples<Spec, f64>, step: usize, n: usize, batch: &mut Batch<f64>) -> Result<()> {
    let first = step % BATCHES * n;
    let rows: Vec<usize> = (first..first + n).collect();
    Ok(examples.gather(&rows, batch)?)
}

/// Cells a side.
const CELLS: usize = 160;

/// Values on a grid over the window, row by row.
fn grid(surface: &Surface, value: &mut dyn FnMut([f64; 2]) -> f64) -> Vec<Vec<f64>> {
    let at = |[low, high]: [f64; 2], i: usize| low + (high - low) * i as f64 / CELLS as f64;
    let [x, y] = surface.window;
    (0..=CELLS).map(|row| (0..=CELLS).map(|col| value([at(x, col), at(y, row)])).collect()).collect()
}

/// Segments of the line of one value, in parts of the window: through every cell that has corners on both sides.
fn contour(grid: &[Vec<f64>], level: f64, mut segment: impl FnMut([(f64, f64); 2])) {
    let cells = grid.len().saturating_sub(1);
    for row in 0..cells {
        for col in 0..cells {
            let corners = [(0, 0), (0, 1), (1, 1), (1, 0)];
            let values = corners.map(|(dy, dx)| grid[row + dy][col + dx] - level);
            let mut crossings = Vec::with_capacity(4);
            for i in 0..4 {
                let (a, b) = (values[i], values[(i + 1) % 4]);
                if (a < 0.0) != (b < 0.0) {
                    let part = a / (a - b);
                    let (from, to) = (corners[i], corners[(i + 1) % 4]);
                    let mix = |p: usize, q: usize| p as f64 + part * (q as f64 - p as f64);
                    crossings.push((col as f64 + mix(from.1, to.1), row as f64 + mix(from.0, to.0)));
                }
            }
            let part = |(x, y): (f64, f64)| (x / cells as f64, y / cells as f64);
            crossings.chunks_exact(2).for_each(|pair| segment([part(pair[0]), part(pair[1])]));
        }
    }
}

/// What drawing can fail with.
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// One picture of all ways, or a small one of each where there are more than colours.
fn draw(svg: &mut String, surface: &Surface, grid: &[Vec<f64>], walks: &[Walk]) -> Drawn {
    if walks.len() > COLOURS.len() { panels(svg, surface, grid, walks) } else { together(svg, surface, grid, walks) }
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// Lines at levels evenly spaced in the logarithm of what is above the least value, four tenths of a power of 10 apart or `every` times that.
fn contours(chart: &mut Chart<'_, '_>, surface: &Surface, grid: &[Vec<f64>], every: usize) -> Drawn {
    let [[left, right], [low, high]] = surface.window;
    let highest = grid.iter().flatten().map(|v| v - surface.least).fold(0.0f64, f64::max);
    for level in (0..16).step_by(every) {
        let above = highest * 10f64.powf(-0.4 * f64::from(level));
        let scale = |(x, y): (f64, f64)| (left + (right - left) * x, low + (high - low) * y);
        let mut lines = Vec::new();
        contour(grid, surface.least + above, |pair| lines.push(PathElement::new(pair.map(scale), BLACK.mix(0.25))));
        chart.draw_series(lines)?;
    }
    Ok(())
}

/// Where a step out of the window crosses its edge.
fn edge(surface: &Surface, from: (f64, f64), to: (f64, f64)) -> (f64, f64) {
    let part = |from: f64, to: f64, [low, high]: [f64; 2]| match () {
        _ if to > high => (high - from) / (to - from),
        _ if to < low => (low - from) / (to - from),
        _ => 1.0,
    };
    let part = part(from.0, to.0, surface.window[0]).min(part(from.1, to.1, surface.window[1]));
    (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1))
}

/// A way as far as it stays in the window, and a dot at its end if it does; `size` is the dot's, in pixels.
fn way(chart: &mut Chart<'_, '_>, surface: &Surface, walk: &Walk, colour: RGBColor, size: i32) -> Drawn {
    let [[left, right], [low, high]] = surface.window;
    let inside = |p: &&[f64; 2]| (left..=right).contains(&p[0]) && (low..=high).contains(&p[1]);
    let mut path: Vec<(f64, f64)> = walk.path.iter().take_while(inside).map(|p| (p[0], p[1])).collect();
    let ends = path.last().copied().filter(|_| path.len() == walk.path.len());
    // The step that leaves the window is drawn up to the edge.
    if let (Some(&from), Some(&to)) = (path.last(), walk.path.get(path.len())) {
        path.push(edge(surface, from, (to[0], to[1])));
    }
    chart.draw_series(LineSeries::new(path, colour.stroke_width(2)))?;
    chart.draw_series(ends.map(|at| Circle::new(at, size, colour.filled())))?;
    Ok(())
}

/// Where the surface is least; `size` in pixels.
fn minima(chart: &mut Chart<'_, '_>, surface: &Surface, size: i32) -> Drawn {
    let crosses = surface.minima.iter().map(|&[x, y]| Cross::new((x, y), size, BLACK.stroke_width(2)));
    chart.draw_series(crosses)?;
    Ok(())
}

/// A small picture of each way, over few contours of a coarse grid.
fn panels(svg: &mut String, surface: &Surface, grid: &[Vec<f64>], walks: &[Walk]) -> Drawn {
    const COLUMNS: usize = 6;
    const PANEL: (u32, u32) = (200, 190);
    /// Cells of the grid that become one.
    const COARSE: usize = 4;
    let grid: Vec<Vec<f64>> =
        grid.iter().step_by(COARSE).map(|row| row.iter().step_by(COARSE).copied().collect()).collect();
    let [[left, right], [low, high]] = surface.window;
    // Those that went the same way share a panel.
    let mut ways: Vec<(String, &Walk)> = Vec::new();
    for walk in walks {
        match ways.iter_mut().find(|(_, other)| other.path == walk.path) {
            Some((name, _)) => *name += &format!(" = {}", walk.name),
            None => ways.push((walk.name.clone(), walk)),
        }
    }
    let rows = ways.len().div_ceil(COLUMNS);
    let root = SVGBackend::with_string(svg, (PANEL.0 * COLUMNS as u32 + 20, PANEL.1 * rows as u32 + 60));
    let root = root.into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!("{}; a dot where the last step ends, within the window", surface.name);
    let body = root.titled(&title, ("sans-serif", 22))?.margin(4, 4, 8, 8);
    for (area, (name, walk)) in body.split_evenly((rows, COLUMNS)).iter().zip(&ways) {
        let mut chart = ChartBuilder::on(area)
            .caption(plot::shortened(name), ("sans-serif", 13))
            .margin(4)
            .x_label_area_size(18)
            .y_label_area_size(28)
            .build_cartesian_2d(left..right, low..high)?;
        chart.configure_mesh().disable_mesh().x_labels(3).y_labels(4).label_style(("sans-serif", 10)).draw()?;
        contours(&mut chart, surface, &grid, 2)?;
        way(&mut chart, surface, walk, COLOURS[0], 3)?;
        minima(&mut chart, surface, 4)?;
    }
    root.present()?;
    Ok(())
}

fn together(svg: &mut String, surface: &Surface, grid: &[Vec<f64>], walks: &[Walk]) -> Drawn {
    let [[left, right], [low, high]] = surface.window;
    let entries: Vec<Entry<'_>> =
        (walks.iter().zip(COLOURS)).map(|(walk, colour)| Entry { name: &walk.name, colour }).collect();
    let root =
        SVGBackend::with_string(svg, (840 + plot::LEGEND, plot::legend_height(&entries).max(760))).into_drawing_area();
    root.fill(&WHITE)?;
    let (left_side, right_side) = root.split_horizontally(840);
    let mut chart = ChartBuilder::on(&left_side)
        .caption(surface.name, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(left..right, low..high)?;
    chart.configure_mesh().x_desc("x").y_desc("y").light_line_style(BLACK.mix(0.0)).draw()?;
    contours(&mut chart, surface, grid, 1)?;
    for (walk, colour) in walks.iter().zip(COLOURS) {
        way(&mut chart, surface, walk, colour, 4)?;
    }
    minima(&mut chart, surface, 6)?;
    plot::legend(&right_side, &entries)?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_out_of_the_window_end_at_its_edge() {
        let surface = &SURFACES[0];
        let [[left, right], [low, high]] = surface.window;
        let middle = (0.5 * (left + right), 0.5 * (low + high));
        assert_eq!(edge(surface, middle, (middle.0, high + 1e300)), (middle.0, high));
        assert_eq!(edge(surface, middle, (left - 5.0, middle.1)), (left, middle.1));
        let (x, y) = edge(surface, middle, (right + 10.0, low - 1000.0));
        assert!((y - low).abs() < 1e-9 && x > middle.0 && x < right);
    }
}
