//! `bench peers`: the steps beside those of JAX and PyTorch, taking turns on the same machine.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{Model, What, median, name, steps::Steps};
use crate::error::{Error, Result};
use crate::{names, output};

/// Options of `bench peers`.
#[derive(Args, Debug)]
pub struct Options {
    /// The models.
    #[arg(long, value_delimiter = ',', default_value = "mlp,3c3d,resnet32")]
    model: Vec<Model>,
    /// Turns of each step.
    #[arg(long, default_value_t = 5, value_parser = names::whole(1, u64::MAX), allow_hyphen_values = true)]
    rounds: u64,
    /// Examples in a minibatch.
    #[arg(long, default_value_t = 128, value_parser = names::whole(2, u64::MAX), allow_hyphen_values = true)]
    batch: u64,
    /// The Python that has JAX or PyTorch.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Between turns.
const PAUSE: Duration = Duration::from_millis(300);

/// What is wanted of a step.
struct Goal {
    model: Model,
    what: What,
    /// The fastest peer's time to ours, at least.
    least: f64,
}

const GOALS: [Goal; 9] = [
    Goal { model: Model::Mlp, what: What::Gradient, least: 1.0 },
    Goal { model: Model::Mlp, what: What::GradHvp, least: 1.0 },
    Goal { model: Model::Mlp, what: What::Moments, least: 150.0 },
    Goal { model: Model::ThreeCThreeD, what: What::Gradient, least: 1.25 },
    Goal { model: Model::ThreeCThreeD, what: What::GradHvp, least: 1.25 },
    Goal { model: Model::ThreeCThreeD, what: What::Moments, least: 6.0 },
    Goal { model: Model::Resnet32, what: What::Gradient, least: 1.0 },
    Goal { model: Model::Resnet32, what: What::GradHvp, least: 1.25 },
    Goal { model: Model::Resnet32, what: What::Moments, least: 2.5 },
];

/// A peer that runs a step when it is told to.
struct Peer {
    name: String,
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a script; none if the Python or the package is not there, which is said.
    fn start(options: &Options, package: &str, script: &str) -> Result<Option<Peer>> {
        let threads = rayon::current_num_threads().to_string();
        let mut command = Command::new(&options.python);
        command.args(["-c", script, &options.batch.to_string(), &threads]);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut process = match started {
            Ok(process) => process,
            Err(why) => {
                eprintln!("{package} is left out: {} cannot be run: {why}", options.python.display());
                return Ok(None);
            }
        };
        let (Some(ask), Some(answers)) = (process.stdin.take(), process.stdout.take()) else { return Ok(None) };
        let mut peer = Peer { name: package.into(), process, ask, answers: BufReader::new(answers) };
        match peer.answer() {
            Ok(hello) => {
                peer.name = hello["peer"].as_str().unwrap_or(package).into();
                Ok(Some(peer))
            }
            Err(_) => {
                eprintln!("{package} is left out: {} cannot import it", options.python.display());
                Ok(None)
            }
        }
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|_| Error::Bench(format!("{} stopped without an answer", self.name)))
    }

    /// Milliseconds of so many runs; none if it has no such step.
    fn run(&mut self, model: Model, step: &str, runs: u64) -> Result<Vec<f64>> {
        writeln!(self.ask, "{} {step} {runs}", name(&model))?;
        self.ask.flush()?;
        let answer = self.answer()?;
        Ok(answer.as_array().into_iter().flatten().filter_map(Value::as_f64).collect())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have stopped by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The processor, the threads, and the instructions that are used of it.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let simd = osculate::Device::cpu_instructions();
    format!("{}, {} threads, {simd}, {os} {arch}", model.unwrap_or("processor"), rayon::current_num_threads())
}

/// Measures and prints the table.
pub fn run(options: &Options) -> Result<()> {
    let scripts = [
        ("JAX", include_str!("../../../benches/peers/jax_peer.py")),
        ("PyTorch", include_str!("../../../benches/peers/torch_peer.py")),
    ];
    let mut peers = Vec::new();
    for (package, script) in scripts {
        peers.extend(Peer::start(options, package, script)?);
    }
    let bar = ProgressBar::new(options.model.len() as u64 * 4 * (options.rounds + 1));
    let style = ProgressStyle::with_template("{msg:24} {bar:40} {pos}/{len} ({eta} left)");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut rows = Vec::new();
    for &model in &options.model {
        let mut steps = Steps::new(model, options.batch as usize)?;
        let mut gradient = f64::NAN;
        for (what, step) in
            What::EACH.into_iter().map(|what| (what, name(&what))).chain([(What::Moments, "moments_scan".into())])
        {
            bar.set_message(format!("{} {step}", name(&model)));
            let mut ours = Vec::new();
            let mut theirs = vec![Vec::new(); peers.len()];
            // The first turn compiles and warms up.
            for round in 0..=options.rounds {
                // Short steps several times a turn, of which the first wakes threads and fills caches.
                let runs = |long: bool| if model == Model::Mlp && round > 0 && !long { 21 } else { 1 };
                let warm = |times: Vec<f64>| if times.len() > 1 { times[1..].to_vec() } else { times };
                let turn = (0..runs(false)).map(|_| steps.run(what)).collect::<Result<Vec<f64>>>()?;
                ours.extend(warm(turn));
                for (peer, times) in peers.iter_mut().zip(&mut theirs) {
                    times.extend(warm(peer.run(model, &step, runs(what == What::Moments))?));
                    // Threads that wait for more work spin for a while.
                    std::thread::sleep(PAUSE);
                }
                if round == 0 {
                    ours.clear();
                    theirs.iter_mut().for_each(Vec::clear);
                }
                bar.inc(1);
            }
            let ours = median(&mut ours);
            if what == What::Gradient {
                gradient = ours;
            }
            let theirs: Vec<f64> = theirs.iter_mut().map(|times| median(times)).collect();
            rows.push(Row { model, what, step, ours, own: ours / gradient, theirs });
        }
    }
    bar.finish_and_clear();
    let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    if options.json {
        return rows.iter().try_for_each(|row| output::say(row.json(&names)));
    }
    let own = names.iter().map(|name| format!("{name}, ms"));
    let header = ["model".into(), "step".into(), "osculate, ms".into(), "x own gradient".into()].into_iter().chain(own);
    let header: Vec<String> = header.chain(["fastest peer / osculate".into(), "wanted".into(), "met".into()]).collect();
    output::grid(&header, rows.iter().map(Row::cells))?;
    output::say(format_args!("{}; {} examples, f32, medians of {} turns", machine(), options.batch, options.rounds))
}

/// One line of the table.
struct Row {
    model: Model,
    what: What,
    step: String,
    ours: f64,
    own: f64,
    theirs: Vec<f64>,
}

impl Row {
    /// The fastest peer's time to ours, and what is wanted of it.
    fn ratio(&self) -> Option<(f64, Option<f64>)> {
        let best = self.theirs.iter().copied().filter(|ms| ms.is_finite()).fold(f64::INFINITY, f64::min);
        let wanted = match &self.step[..] {
            "moments_scan" => (self.model == Model::Mlp).then_some(18.0),
            _ => GOALS.iter().find(|g| g.model == self.model && g.what == self.what).map(|goal| goal.least),
        };
        best.is_finite().then_some((best / self.ours, wanted))
    }

    fn cells(&self) -> Vec<String> {
        let ms = |ms: f64| if ms.is_finite() { format!("{ms:.1}") } else { "-".into() };
        let mut cells = vec![name(&self.model), self.step.clone(), ms(self.ours), format!("{:.2}", self.own)];
        cells.extend(self.theirs.iter().map(|&t| ms(t)));
        match self.ratio() {
            None => cells.extend(["-".into(), "-".into(), "-".into()]),
            Some((ratio, None)) => cells.extend([format!("{ratio:.2}"), "-".into(), "-".into()]),
            Some((ratio, Some(wanted))) => {
                let met = if ratio >= wanted { "yes" } else { "no" };
                cells.extend([format!("{ratio:.2}"), format!("{wanted:.2}"), met.into()]);
            }
        }
        cells
    }

    fn json(&self, names: &[&str]) -> Value {
        let peers: serde_json::Map<String, Value> =
            names.iter().zip(&self.theirs).map(|(name, &ms)| (name.to_string(), json!(ms))).collect();
        let (ratio, wanted) = self.ratio().map_or((None, None), |(ratio, wanted)| (Some(ratio), wanted));
        json!({
            "model": name(&self.model), "step": self.step, "osculate_ms": self.ours, "ratio_to_gradient": self.own,
            "peers_ms": peers, "fastest_peer_to_osculate": ratio, "wanted": wanted, "machine": machine(),
        })
    }
}
