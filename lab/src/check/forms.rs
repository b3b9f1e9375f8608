//! `check forms`: moments of random losses in every form, against the vectors of one example after the other.

use clap::Args;
use osculate::{Array, Device, Examples, Form, Func, Layout, Moments, Request, Spec};
use serde_json::json;

use super::programs::{EXAMPLES, Program};
use crate::error::{Error, Result};
use crate::{interrupt, names, output};

/// Options of `check forms`.
#[derive(Args, Debug)]
pub struct Options {
    /// How many losses.
    #[arg(long, default_value_t = 1000, value_parser = names::whole(1, u64::MAX), allow_hyphen_values = true)]
    programs: u64,
    /// The first loss's seed; the others follow.
    #[arg(long, default_value_t = 0, value_parser = names::whole(0, u64::MAX), allow_hyphen_values = true)]
    seed: u64,
    /// Most operations of a loss.
    #[arg(long, default_value_t = 12, value_parser = names::whole(1, 10_000), allow_hyphen_values = true)]
    nodes: u64,
    /// One JSON object a line: each loss that differs, then the counts.
    #[arg(long)]
    json: bool,
}

/// Largest difference of equals, relative to the largest number of their kind.
const TOLERANCE: f64 = 1e-9;

/// The forms that moments are asked for in.
const FORMS: [Form; 4] = [Form::Cheapest, Form::Factored, Form::Gram, Form::Made];

/// Everything that moments hold, each kind of number with its name.
type Numbers = Vec<(&'static str, Vec<f64>)>;

/// The numbers of every example's gradient g and product Hv, by segments.
fn numbers(layout: &Layout, v: &[f64], gs: &[Vec<f64>], hs: &[Vec<f64>]) -> Numbers {
    let mut all: Numbers = Vec::new();
    for (vectors, names) in [(gs, ["Σg", "Σ(g − ḡ)²", "‖g‖²"]), (hs, ["ΣHv", "Σ(Hv − mean)²", "‖Hv‖²"])]
    {
        let n = vectors.len() as f64;
        let sum = |at: usize| vectors.iter().map(|x| x[at]).sum::<f64>();
        let squares = |at: usize| vectors.iter().map(|x| (x[at] - sum(at) / n).powi(2)).sum::<f64>();
        all.push((names[0], (0..v.len()).map(sum).collect()));
        all.push((names[1], (0..v.len()).map(squares).collect()));
        all.push((names[2], vectors.iter().flat_map(|x| dots(layout, x, x)).collect()));
    }
    all.push(("⟨g, v⟩", gs.iter().flat_map(|g| dots(layout, g, v)).collect()));
    all.push(("⟨g, Hv⟩", gs.iter().zip(hs).flat_map(|(g, h)| dots(layout, g, h)).collect()));
    all.push(("⟨v, Hv⟩", hs.iter().flat_map(|h| dots(layout, h, v)).collect()));
    all
}

/// Inner products by segments.
fn dots(layout: &Layout, x: &[f64], y: &[f64]) -> Vec<f64> {
    let of = |range: std::ops::Range<usize>| x[range.clone()].iter().zip(&y[range]).map(|(a, b)| a * b).sum();
    layout.segments().iter().map(|segment| of(segment.range())).collect()
}

/// The numbers that a minibatch's moments hold, in the order of [`numbers`].
fn told(moments: &Moments<f64>) -> Result<Numbers> {
    let (g, h, inner) = (moments.gradient()?, moments.hvp()?, moments.inner()?);
    let each = |of: &osculate::PerExample| (0..moments.count()).flat_map(|i| of.example(i).to_vec()).collect();
    let deviations = |sums: &osculate::Sums<f64>| sums.deviations.clone().unwrap_or_default();
    Ok(vec![
        ("Σg", g.sum.clone()),
        ("Σ(g − ḡ)²", deviations(g)),
        ("‖g‖²", each(&g.norms)),
        ("ΣHv", h.sum.clone()),
        ("Σ(Hv − mean)²", deviations(h)),
        ("‖Hv‖²", each(&h.norms)),
        ("⟨g, v⟩", each(&inner.slopes)),
        ("⟨g, Hv⟩", each(&inner.crossings)),
        ("⟨v, Hv⟩", each(&inner.curvatures)),
    ])
}

/// Squared deviations that are a smaller part of the squares lose digits: those of tables are differences of sums of squares.
const ROUNDED: f64 = 1e-6;

/// The worst difference between numbers, relative to the largest of their kind.
fn worst(got: &Numbers, all: &Numbers) -> (f64, &'static str) {
    let mut worst = (0.0, "nothing");
    let largest = |numbers: &[f64]| numbers.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    for (at, ((name, got), (_, want))) in got.iter().zip(all).enumerate() {
        // The squared norms follow them.
        let squares =
            if name.contains(")²") { ROUNDED * all.get(at + 1).map_or(0.0, |(_, norms)| largest(norms)) } else { 0.0 };
        // Numbers this small are what is left of larger ones.
        let scale = largest(want).max(squares).max(1e-12);
        let each = got.iter().zip(want).map(|(a, b)| (a - b).abs() / scale);
        // What is no number, or is not there, is as far off as can be.
        let known = each.map(|off| if off.is_nan() { f64::INFINITY } else { off });
        let off = if got.len() == want.len() { known.fold(0.0, f64::max) } else { f64::INFINITY };
        if off > worst.0 {
            worst = (off, *name);
        }
    }
    worst
}

/// The first form whose moments differ beyond rounding, and the number that does; none if all agree, or numbers are not finite.
fn differs(program: &Program) -> Result<Option<String>> {
    let Program { loss, params, direction, data } = program;
    let layout = Layout::of(loss.params(), "params");
    let flat = |arrays: &[Array<f64>]| arrays.iter().flat_map(|x| x.values().to_vec()).collect::<Vec<f64>>();
    let (at, v) = (flat(params), flat(direction));
    let device = Device::cpu();
    let each: Func<_, _, _> = loss.hvp()?.vmap(EXAMPLES)?;
    let (of_g, of_h) = each.compile::<f64>(&device)?.run(&(params.clone(), direction.clone()), data)?;
    let rows = |arrays: &[Array<f64>]| -> Vec<Vec<f64>> {
        let part = |x: &Array<f64>, i: usize| {
            let size = x.values().len() / EXAMPLES;
            x.values()[i * size..(i + 1) * size].to_vec()
        };
        (0..EXAMPLES).map(|i| arrays.iter().flat_map(|x| part(x, i)).collect()).collect()
    };
    let (gs, hs) = (rows(&of_g), rows(&of_h));
    let want = numbers(&layout, &v, &gs, &hs);
    let finite = |numbers: &Numbers| numbers.iter().all(|(_, values)| values.iter().all(|x| x.abs() < 1e100));
    if !finite(&want) {
        return Ok(None);
    }
    let examples: Examples<Vec<Spec>, f64> = Examples::new(loss.data().clone(), data.clone())?;
    let batch = examples.all()?;
    for form in FORMS {
        let request = Request::gradient().and_hvp().and_elementwise().and_inner().in_form(form);
        let mut program = loss.moments::<f64>(EXAMPLES, request, &device)?;
        let mut moments = program.moments();
        program.run(&at, Some(&v), &batch, &mut moments)?;
        let (off, what) = worst(&told(&moments)?, &want);
        if off > TOLERANCE {
            return Ok(Some(format!("{what} in the form {form} is off by {off:.1e}")));
        }
    }
    Ok(None)
}

/// Compares random losses; an error if any differs.
pub fn run(options: &Options) -> Result<()> {
    interrupt::listen();
    let (mut done, mut found) = (0u64, 0u64);
    for seed in (options.seed..=u64::MAX).take(usize::try_from(options.programs).unwrap_or(usize::MAX)) {
        if interrupt::asked() {
            break;
        }
        let program = Program::new(seed, options.nodes as usize)?;
        let why = differs(&program).unwrap_or_else(|error| Some(error.to_string()));
        done += 1;
        if let Some(why) = why {
            found += 1;
            match options.json {
                true => output::say(json!({ "seed": seed, "why": why, "loss": program.loss.graph().to_string() }))?,
                false => output::say(format_args!("loss {seed}: {why}\n{}", program.loss.graph()))?,
            }
        }
    }
    match options.json {
        true => output::say(json!({ "programs": done, "different": found }))?,
        false => output::say(format_args!("{done} losses: {found} different"))?,
    }
    match found {
        _ if done < options.programs => Err(Error::Interrupted),
        0 => Ok(()),
        _ => Err(Error::Check(format!("{found} of {done} losses differ"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_agree() -> Result<()> {
        for seed in 0..150 {
            assert_eq!(differs(&Program::new(seed, 12)?)?, None, "loss {seed}");
        }
        Ok(())
    }
}
