//! Gradients and moments of an embedding table, by its rows: 32 examples of 16 words each, 32 numbers a word.
//!
//! Beside a loop written by hand, which gathers, and adds to a table of zeros; and beside a contraction with one-hot vectors, up to
//! 10,000 rows. Each figure is the median of runs that take turns.

use std::time::Instant;

use osculate::{Array, Batch, Device, Examples, Expr, Func, In, Out, Request, Result, Rng, Spec, spec};

const EXAMPLES: usize = 32;
const WORDS: usize = 16;
const WIDTH: usize = 32;
const RUNS: usize = 9;

type Loss = Func<Spec, (Spec, Spec), Spec>;

/// Half the squared distance of a sum of words, each squashed, from a target.
fn loss(rows: usize, pick: impl for<'t> FnOnce(Expr<'t>, Expr<'t>) -> Expr<'t>) -> Result<Loss> {
    Func::trace(spec([rows, WIDTH]), (Spec::index([WORDS], rows), spec([WIDTH])), |_, table, (words, target)| {
        0.5 * (pick(table, words).tanh().sum_axes(&[0]) - target).square().sum()
    })
}

/// The mean loss, and its gradient into a table.
fn by_hand(table: &[f32], words: &[u32], targets: &[f32], gradient: &mut [f32]) -> f32 {
    gradient.fill(0.0);
    let mut total = 0.0;
    for (words, target) in words.chunks_exact(WORDS).zip(targets.chunks_exact(WIDTH)) {
        let (mut squashed, mut gap) = ([[0.0f32; WIDTH]; WORDS], [0.0f32; WIDTH]);
        for (squashed, &word) in squashed.iter_mut().zip(words) {
            let row = &table[word as usize * WIDTH..][..WIDTH];
            squashed.iter_mut().zip(row).for_each(|(s, x)| *s = x.tanh());
            gap.iter_mut().zip(&*squashed).for_each(|(g, s)| *g += s);
        }
        gap.iter_mut().zip(target).for_each(|(g, t)| *g -= t);
        total += 0.5 * gap.iter().map(|g| g * g).sum::<f32>();
        for (squashed, &word) in squashed.iter().zip(words) {
            let row = &mut gradient[word as usize * WIDTH..][..WIDTH];
            for ((to, s), g) in row.iter_mut().zip(squashed).zip(&gap) {
                *to += g * (1.0 - s * s) / EXAMPLES as f32;
            }
        }
    }
    total / EXAMPLES as f32
}

/// Medians, in milliseconds, of ways that take turns.
fn timed(ways: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let mut times = vec![Vec::new(); ways.len()];
    for run in 0..=RUNS {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            let began = Instant::now();
            way();
            if run > 0 {
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    times.iter().map(|times| times[RUNS / 2]).collect()
}

/// One line of the table.
fn line(rows: usize) -> Result<()> {
    let (rng, device) = (&mut Rng::new(1), Device::cpu());
    let mut vector = || (0..rows * WIDTH).map(|_| 0.3 * rng.normal() as f32).collect::<Vec<f32>>();
    let (table, v) = (vector(), vector());
    let words: Vec<u32> = (0..EXAMPLES * WORDS).map(|_| rng.uniform(0.0, rows as f64) as u32).collect();
    let targets: Vec<f32> = (0..EXAMPLES * WIDTH).map(|_| rng.normal() as f32).collect();
    let picked = loss(rows, |table, words| table.take(words, 0))?;
    let data = (Array::index([EXAMPLES, WORDS], words.clone())?, Array::new([EXAMPLES, WIDTH], targets.clone())?);
    let batch: Batch<f32> = Examples::new(picked.data().clone(), data)?.all()?;

    let mut of_hand = vec![0f32; rows * WIDTH];
    let compiled = |loss: &Loss| loss.mean(EXAMPLES)?.value_and_grad()?.compile::<f32>(&device);
    let (mut gradient, mut made) = (compiled(&picked)?, vec![0f32; rows * WIDTH]);
    let run = |program: &mut osculate::Program<f32, _, _, _>, into: &mut [f32]| {
        let mut value = [0f32];
        let outputs = &mut [Out::Real(&mut value), Out::Real(into)];
        batch.feed([In::Real(&table)], |inputs| program.run_flat(inputs, outputs)).expect("a run");
        value[0]
    };
    // The same numbers first.
    let want = by_hand(&table, &words, &targets, &mut of_hand);
    let got = run(&mut gradient, &mut made);
    assert!((got - want).abs() <= 1e-4 * want, "{got} instead of {want}");
    assert!(made.iter().zip(&of_hand).all(|(a, b)| (a - b).abs() < 1e-4), "another gradient");

    let moments = |request: Request| -> Result<_> {
        let program = picked.moments::<f32>(EXAMPLES, request, &device)?;
        let (into, bytes) = (program.moments(), program.peak_bytes());
        Ok((program, into, bytes))
    };
    let (mut of_g, mut g_into, _) = moments(Request::gradient())?;
    let (mut of_h, mut h_into, bytes) = moments(Request::gradient().and_hvp())?;
    let (mut hand_table, mut made_table) = (of_hand.clone(), made.clone());
    let mut ways: Vec<&mut dyn FnMut()> = Vec::new();
    let mut hand = || _ = std::hint::black_box(by_hand(&table, &words, &targets, &mut hand_table));
    let mut taken = || _ = run(&mut gradient, &mut made_table);
    let mut first = || of_g.run(&table, None, &batch, &mut g_into).expect("a run");
    let mut both = || of_h.run(&table, Some(&v), &batch, &mut h_into).expect("a run");
    ways.extend([&mut hand as &mut dyn FnMut(), &mut taken, &mut first, &mut both]);
    let times = timed(&mut ways);
    let before = if rows <= 10_000 {
        let mut program = compiled(&loss(rows, |table, words| words.one_hot().dot(table))?)?;
        let mut table = made.clone();
        format!("{:.1}", timed(&mut [&mut || _ = run(&mut program, &mut table)])[0])
    } else {
        "-".into()
    };
    println!(
        "{rows:>8} {:>9.3} {:>9.3} {:>6.2} {before:>9} {:>9.3} {:>9.3} {:>7.1} {:>7.1}",
        times[0],
        times[1],
        times[1] / times[0],
        times[2],
        times[3],
        bytes as f64 / 1_048_576.0,
        (rows * WIDTH * 4) as f64 / 1_048_576.0
    );
    Ok(())
}

fn main() -> Result<()> {
    println!(
        "milliseconds: gradient by hand, by take, their ratio, by one-hot vectors; moments of g, of g and Hv; MiB of these, of a table"
    );
    [1_000, 10_000, 50_000, 200_000].into_iter().try_for_each(line)
}
