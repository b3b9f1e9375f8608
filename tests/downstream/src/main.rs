//! A user's crate: per-example Hessian-vector products of a loss of its own, checked against the closed form.

use osculate::{Array, Device, Func, spec};

fn main() -> osculate::Result<()> {
    // Poisson regression: exp(w·x) − y w·x, so H v = exp(w·x) (x·v) x.
    let loss = Func::trace(spec([3]), (spec([3]), spec([])), |_, w, (x, y)| {
        let eta = w.dot(x);
        eta.exp() - y * eta
    })?;
    let n = 4;
    let mut each = loss.hvp()?.vmap(n)?.compile::<f64>(&Device::cpu())?;
    let w = [0.2, -0.4, 0.1];
    let v = [1.0, 0.5, -2.0];
    let x = Array::from_fn([n, 3], |i| (i as f64 * 0.9).sin());
    let y = Array::from_fn([n], |i| i as f64);
    let at = (Array::new([3], w.to_vec())?, Array::new([3], v.to_vec())?);
    let (_, hv) = each.run(&at, &(x.clone(), y))?;
    for (x, hv) in x.values().chunks(3).zip(hv.values().chunks(3)) {
        let dot = |a: &[f64]| a.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
        for (h, x) in hv.iter().zip(x) {
            let want = dot(&w).exp() * dot(&v) * x;
            assert!((h - want).abs() <= 1e-14 * want.abs().max(1.0), "{h} instead of {want}");
        }
        println!("{hv:?}");
    }
    Ok(())
}
