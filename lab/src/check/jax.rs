//! `check jax`: random programs in one Python process that has JAX.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::programs::{EXAMPLES, Program};
use crate::error::{Error, Result};
use crate::{interrupt, names, output};

/// Options of `check jax`.
#[derive(Args, Debug)]
pub struct Options {
    /// The Python that has JAX.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// How many programs.
    #[arg(long, default_value_t = 1000, value_parser = names::whole(1, u64::MAX), allow_hyphen_values = true)]
    programs: u64,
    /// The first program's seed; the others follow.
    #[arg(long, default_value_t = 0, value_parser = names::whole(0, u64::MAX), allow_hyphen_values = true)]
    seed: u64,
    /// Most operations of a program.
    #[arg(long, default_value_t = 40, value_parser = names::whole(1, 10_000), allow_hyphen_values = true)]
    nodes: u64,
    /// A folder for those that differ: each is a Python file that runs alone.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// One JSON object a line: each program that differs, then the counts.
    #[arg(long)]
    json: bool,
}

/// Largest difference of equals, relative to the largest number.
const TOLERANCE: f64 = 1e-10;

/// A result is ill-conditioned if it moves by its difference over this when inputs move by 4 units in the last place.
const AMPLIFIED: f64 = 100.0;

/// Reads a program a line, as a JSON text, and answers with its report.
const DRIVER: &str = r#"
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
for at, line in enumerate(sys.stdin):
    if at % 200 == 199:
        jax.clear_caches()
    scope = dict(globals())
    try:
        exec(json.loads(line), scope)
        report = compare(*(scope[name] for name in ("f", "params", "direction", "data", "want")))
        report = {"results": report, "finite": finite(scope["want"])}
    except Exception as error:
        report = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(report), flush=True)
"#;

/// A Python process with the library of [`osculate::jax_library`].
struct Python {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    fn start(options: &Options) -> Result<Python> {
        let script = osculate::jax_library() + DRIVER;
        let mut command = Command::new(&options.python);
        command.args(["-c", &script]).env("JAX_PLATFORMS", "cpu");
        // Every program runs three times, so that compiling takes the time.
        if std::env::var_os("XLA_FLAGS").is_none() {
            command.env("XLA_FLAGS", "--xla_backend_optimization_level=0");
        }
        let mut process = (command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn())
            .map_err(|why| Error::Check(format!("{} cannot be run: {why}", options.python.display())))?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(ask), Some(answers)) => Ok(Python { process, ask, answers: BufReader::new(answers) }),
            _ => Err(Error::Check("Python has no input or output".into())),
        }
    }

    fn answer(&mut self, block: &str) -> Result<Value> {
        let gone = |_| Error::Check("Python ended early: is JAX installed there? Its message stands above".into());
        writeln!(self.ask, "{}", Value::from(block)).map_err(gone)?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(gone)?;
        serde_json::from_str(&line)
            .map_err(|_| Error::Check(format!("Python answered {line:?}: is JAX installed there?")))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // Nothing is lost with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Equal,
    IllConditioned,
    /// The loss itself is infinite or no number: derivatives there are conventions.
    NoNumber,
    NotFinite,
    Different,
}

/// Judges all results of a report; the text names the worst.
fn judge(report: &Value) -> (Verdict, String) {
    if let Some(error) = report["error"].as_str() {
        return (Verdict::Different, error.to_string());
    }
    let mut worst = (Verdict::Equal, String::new());
    let finite = report["finite"].as_bool() == Some(true);
    for (name, found) in report["results"].as_object().into_iter().flatten() {
        let number = |at: usize| found[at].as_f64().unwrap_or(f64::INFINITY);
        let (off, apart, noise) = (number(0), number(1), number(2));
        let verdict = match () {
            () if off <= TOLERANCE && apart == 0.0 => Verdict::Equal,
            () if !finite => Verdict::NoNumber,
            () if apart > 0.0 => Verdict::NotFinite,
            () if off <= AMPLIFIED * noise => Verdict::IllConditioned,
            () => Verdict::Different,
        };
        if verdict as u8 > worst.0 as u8 {
            worst =
                (verdict, format!("{name}: off by {off:.1e}, {apart} not finite on one side, moves by {noise:.1e}"));
        }
    }
    worst
}

/// Compares random programs; an error if any differs.
pub fn run(options: &Options) -> Result<()> {
    interrupt::listen();
    let mut python = Python::start(options)?;
    if let Some(folder) = &options.keep {
        output::folder(folder)?;
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} programs, {eta} left{msg}");
    let bar = ProgressBar::new(options.programs);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut counts = [0u64; 5];
    for seed in (options.seed..=u64::MAX).take(usize::try_from(options.programs).unwrap_or(usize::MAX)) {
        if interrupt::asked() {
            break;
        }
        let program = Program::new(seed, options.nodes as usize)?;
        let Program { loss, params, direction, data } = &program;
        let report = python.answer(&loss.jax_block(params, direction, data, EXAMPLES)?)?;
        let (verdict, why) = judge(&report);
        counts[verdict as usize] += 1;
        if matches!(verdict, Verdict::NotFinite | Verdict::Different) {
            match options.json {
                true => output::say(json!({ "seed": seed, "verdict": format!("{verdict:?}"), "why": why }))?,
                false => bar.suspend(|| output::say(format_args!("program {seed}: {verdict:?}, {why}")))?,
            }
            if let Some(folder) = &options.keep {
                let file = folder.join(format!("program_{seed}.py"));
                let text = loss.jax_check(params, direction, data, EXAMPLES)?;
                fs::write(&file, text).map_err(|e| Error::file(&file, e))?;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let done: u64 = counts.iter().sum();
    let [equal, ill, no_number, not_finite, different] = counts;
    match options.json {
        true => output::say(json!({
            "programs": done, "equal": equal, "ill_conditioned": ill, "loss_not_finite": no_number,
            "not_finite": not_finite, "different": different,
        }))?,
        false => output::say(format_args!(
            "{done} programs: {equal} equal, {ill} ill-conditioned, {no_number} of losses that are not finite, \
             {not_finite} not finite on one side alone, {different} different",
        ))?,
    }
    match not_finite + different {
        _ if done < options.programs => Err(Error::Interrupted),
        0 => Ok(()),
        found => Err(Error::Check(format!("{found} of {done} programs differ"))),
    }
}
