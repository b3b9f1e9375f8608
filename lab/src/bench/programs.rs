//! How long programs take to make: traced, transformed and planned, by the steps of a loop that they unroll.

use std::time::Instant;

use osculate::{Device, Func, Request, Spec, spec};

use crate::error::Result;

type Loss = Func<Vec<Spec>, Vec<Spec>, Spec>;

/// Steps of the loops; moments are made of fewer.
const STEPS: [usize; 5] = [1000, 3000, 10_000, 30_000, 100_000];

/// Elements of a step.
const WIDTH: usize = 8;

/// A loop unrolled: elementwise work, products, and a recurrent network that shares its weights.
fn unrolled(kind: &str, steps: usize) -> Result<Loss> {
    let square = || spec([WIDTH, WIDTH]);
    let params = vec![spec([WIDTH]), square(), square()];
    let data = match kind {
        "recurrence" => spec([steps, WIDTH]),
        _ => spec([WIDTH]),
    };
    Ok(Func::trace(params, vec![data], |tape, p, x| {
        let first = if kind == "recurrence" { tape.full([WIDTH], 0.0) } else { x[0] };
        let last = (0..steps).fold(first, |h, t| match kind {
            "elementwise" => (h * p[0]).sin(),
            "products" => h.dot(p[1]).tanh(),
            _ => (h.dot(p[1]) + x[0].at(0, t).dot(p[2]) + p[0]).tanh(),
        });
        last.sum()
    })?)
}

/// Exponents of the seconds that it takes to make programs, by the steps of their loops.
pub fn growth(exponent: impl Fn(&[f64], &[f64]) -> f64, say: impl Fn(&str, f64) -> Result<()>) -> Result<()> {
    let cpu = &Device::cpu();
    for kind in ["elementwise", "products", "recurrence"] {
        for what in ["value", "gradient", "hvp", "moments"] {
            let steps = if what == "moments" { &STEPS[..4] } else { &STEPS[..] };
            let mut took = Vec::new();
            for &steps in steps {
                let began = Instant::now();
                let loss = unrolled(kind, steps)?;
                match what {
                    "value" => drop(loss.compile::<f32>(cpu)?),
                    "gradient" => drop(loss.value_and_grad()?.compile::<f32>(cpu)?),
                    "hvp" => drop(loss.hvp()?.compile::<f32>(cpu)?),
                    _ => drop(loss.moments::<f32>(8, Request::gradient().and_hvp(), cpu)?),
                }
                took.push(began.elapsed().as_secs_f64());
            }
            let steps: Vec<f64> = steps.iter().map(|&n| n as f64).collect();
            say(&format!("exponent of making {what} in steps, {kind}"), exponent(&steps, &took))?;
        }
    }
    Ok(())
}
