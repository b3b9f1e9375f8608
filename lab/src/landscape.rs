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
    #[arg(long, default_value_t = 0)]
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

/// Segments of the line of one value: through every cell that has corners on both sides.
fn contour(grid: &[Vec<f64>], level: f64, mut segment: impl FnMut([(f64, f64); 2])) {
    for row in 0..CELLS {
        for col in 0..CELLS {
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
            crossings.chunks_exact(2).for_each(|pair| segment([pair[0], pair[1]]));
        }
    }
}

fn draw(
    svg: &mut String,
    surface: &Surface,
    grid: &[Vec<f64>],
    walks: &[Walk],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let [[left, right], [low, high]] = surface.window;
    let entries: Vec<Entry<'_>> = (walks.iter().zip(COLOURS.into_iter().cycle()))
        .map(|(walk, colour)| Entry { name: &walk.name, colour })
        .collect();
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
    // Levels evenly spaced in the logarithm of what is above the least value.
    let highest = grid.iter().flatten().map(|v| v - surface.least).fold(0.0f64, f64::max);
    for level in 0..16 {
        let above = highest * 10f64.powf(-0.4 * f64::from(level));
        let scale =
            |(x, y): (f64, f64)| (left + (right - left) * x / CELLS as f64, low + (high - low) * y / CELLS as f64);
        let mut lines = Vec::new();
        contour(grid, surface.least + above, |pair| lines.push(PathElement::new(pair.map(scale), BLACK.mix(0.25))));
        chart.draw_series(lines)?;
    }
    for (walk, colour) in walks.iter().zip(COLOURS.into_iter().cycle()) {
        // Whoever leaves the window is drawn until then.
        let inside = |p: &&[f64; 2]| (left..=right).contains(&p[0]) && (low..=high).contains(&p[1]);
        let path: Vec<(f64, f64)> = walk.path.iter().take_while(inside).map(|p| (p[0], p[1])).collect();
        let ends = path.last().copied().filter(|_| path.len() == walk.path.len());
        chart.draw_series(LineSeries::new(path, colour.stroke_width(2)))?;
        chart.draw_series(ends.map(|at| Circle::new(at, 4, colour.filled())))?;
    }
    let crosses = surface.minima.iter().map(|&[x, y]| Cross::new((x, y), 6, BLACK.stroke_width(2)));
    chart.draw_series(crosses)?;
    plot::legend(&right_side, &entries)?;
    root.present()?;
    Ok(())
}
