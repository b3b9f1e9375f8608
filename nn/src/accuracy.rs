//! How often a classifier is right.

use osculate_engine::{Array, Device, Error, Examples, Func, In, Out, Real, Result, Signature, Spec};

/// Most examples looked at together.
const TOGETHER: usize = 256;

/// Fraction of the examples whose largest logit is their label's, the first of equally large ones; a NaN is never the largest.
///
/// `logits` maps an input to `[classes]`, and `params` are its flat parameters.
///
/// ```
/// use osculate_engine::{Array, Examples, Func, label, spec};
/// use osculate_nn::accuracy;
/// let logits = Func::trace(spec([2]), spec([2]), |_, w, x| w * x)?;
/// let x = Array::new([3, 2], vec![1.0, 2.0, 2.0, 1.0, 0.0, 5.0])?;
/// let data = Examples::new((spec([2]), label(2)), (x, Array::index([3], vec![1, 1, 1])?))?;
/// assert_eq!(accuracy(&logits, &[1.0, 1.0], &data)?, 2.0 / 3.0);
/// # Ok::<(), osculate_engine::Error>(())
/// ```
///
/// # Errors
/// Inputs or parameters that are not the function's.
pub fn accuracy<P: Signature, T: Real>(
    logits: &Func<P, Spec, Spec>,
    params: &[T],
    examples: &Examples<(Spec, Spec), T>,
) -> Result<f64> {
    let (count, classes) = (examples.count(), logits.outputs().shape.size());
    let (Some(x), Some(y)) = (examples.array(0), examples.array(1)) else {
        return Err(Error::State("accuracy: examples of inputs and labels are wanted".into()));
    };
    let mut right = 0;
    let mut from = 0;
    let mut program = None;
    while from < count {
        let n = TOGETHER.min(count - from);
        // One program for whole groups, one for the rest.
        if program.as_ref().is_none_or(|(size, _)| *size != n) {
            program = Some((n, logits.vmap(n)?.compile::<T>(&Device::cpu())?));
        }
        let Some((_, program)) = &mut program else { break };
        let mut out = vec![T::zero(); n * classes];
        program.run_flat(&[In::Real(params), rows(x, from, n, count)], &mut [Out::Real(&mut out)])?;
        let labels = &y.indices()[from..from + n];
        right +=
            out.chunks(classes.max(1)).zip(labels).filter(|(logits, label)| best(logits) == **label as usize).count();
        from += n;
    }
    Ok(right as f64 / count as f64)
}

/// Some of all examples' inputs.
fn rows<'a, T: Real>(x: &'a Array<T>, from: usize, n: usize, count: usize) -> In<'a, T> {
    let (values, indices) = (x.values(), x.indices());
    let size = values.len().max(indices.len()) / count.max(1);
    let range = from * size..(from + n) * size;
    if values.is_empty() { In::Index(&indices[range]) } else { In::Real(&values[range]) }
}

/// Where the largest is, the first of several.
fn best<T: Real>(logits: &[T]) -> usize {
    let mut best = 0;
    for (at, value) in logits.iter().enumerate() {
        if *value > logits[best] || logits[best].is_nan() {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use osculate_engine::{label, spec};

    use super::*;

    #[test]
    fn groups_and_their_rest_are_counted() -> Result<()> {
        let logits = Func::trace(spec([3]), spec([3]), |_, w, x| w * x)?;
        for n in [1, 255, 256, 257, 700] {
            let x = Array::from_fn([n, 3], |i| ((i * 7919) % 31) as f64);
            let labels: Vec<u32> = (0..n).map(|i| (i % 3) as u32).collect();
            let want = x.values().chunks(3).zip(&labels).filter(|(x, label)| best(x) == **label as usize).count();
            let data = Examples::new((spec([3]), label(3)), (x, Array::index([n], labels)?))?;
            assert_eq!(accuracy(&logits, &[1.0; 3], &data)?, want as f64 / n as f64, "{n}");
        }
        assert_eq!([best(&[f64::NAN, 1.0, 2.0, 2.0]), best(&[3.0, f64::NAN])], [2, 0]);
        Ok(())
    }
}
