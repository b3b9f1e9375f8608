//! How often a classifier is right.

use osculate_engine::{Array, Device, Error, Examples, Func, In, Out, Real, Result, Signature, Spec};

/// Most examples looked at together.
const TOGETHER: usize = 256;

/// Fraction of the labels whose logit is the largest, the first of equally large ones; a NaN is never the largest.
///
/// `logits` maps an input to `[classes]`, or to `[…, classes]` for a label `[…]` each, and `params` are its flat parameters.
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
/// Inputs or parameters that are not the function's; labels that are not indices, or not one for every row of the logits.
#[track_caller]
pub fn accuracy<P: Signature, T: Real>(
    logits: &Func<P, Spec, Spec>,
    params: &[T],
    examples: &Examples<(Spec, Spec), T>,
) -> Result<f64> {
    let at = std::panic::Location::caller();
    let fault = |why: String| Error::State(format!("accuracy at {}:{}: {why}", at.file(), at.line()));
    let shape = &logits.outputs().shape;
    let Some(&classes) = shape.last() else {
        return Err(fault(format!("logits [classes] are wanted, not {shape}")));
    };
    let (count, each) = (examples.count(), shape.size() / classes.max(1));
    let (Some(x), Some(y)) = (examples.array(0), examples.array(1)) else {
        return Err(fault("examples of inputs and labels are wanted".into()));
    };
    if !y.values().is_empty() {
        return Err(fault("labels are real numbers, and indices are wanted (`label(classes)`, `Array::index`)".into()));
    }
    if y.indices().len() != count * each {
        let got = y.indices().len() / count.max(1);
        return Err(fault(format!("logits {shape} want {each} labels an example, and there are {got}")));
    }
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
        let mut out = vec![T::zero(); n * each * classes];
        program.run_flat(&[In::Real(params), rows(x, from, n, count)], &mut [Out::Real(&mut out)])?;
        let labels = &y.indices()[from * each..(from + n) * each];
        let rows = out.chunks(classes.max(1)).zip(labels);
        right += rows.filter(|(logits, label)| best(logits) == Some(**label as usize)).count();
        from += n;
    }
    Ok(right as f64 / (count * each) as f64)
}

/// Some of all examples' inputs.
fn rows<'a, T: Real>(x: &'a Array<T>, from: usize, n: usize, count: usize) -> In<'a, T> {
    let (values, indices) = (x.values(), x.indices());
    let size = values.len().max(indices.len()) / count.max(1);
    let range = from * size..(from + n) * size;
    if values.is_empty() { In::Index(&indices[range]) } else { In::Real(&values[range]) }
}

/// Where the largest is, the first of several; nowhere if all are NaN.
fn best<T: Real>(logits: &[T]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (at, value) in logits.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
        if best.is_none_or(|best| *value > logits[best]) {
            best = Some(at);
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
            let want = x.values().chunks(3).zip(&labels).filter(|(x, label)| best(x) == Some(**label as usize)).count();
            let data = Examples::new((spec([3]), label(3)), (x, Array::index([n], labels)?))?;
            assert_eq!(accuracy(&logits, &[1.0; 3], &data)?, want as f64 / n as f64, "{n}");
        }
        assert_eq!([best(&[f64::NAN, 1.0, 2.0, 2.0]), best(&[3.0, f64::NAN])], [Some(2), Some(0)]);
        Ok(())
    }

    #[test]
    fn what_is_no_number_is_no_hit() -> Result<()> {
        assert_eq!(best(&[f64::NAN; 3]), None);
        assert_eq!(best(&[f64::NEG_INFINITY, f64::NAN]), Some(0));
        let logits = Func::trace(spec([3]), spec([3]), |_, w, x| w * x)?;
        for of in 0..3 {
            let x = Array::new([2, 3], vec![f64::NAN; 6])?;
            let data = Examples::new((spec([3]), label(3)), (x, Array::index([2], vec![of; 2])?))?;
            assert_eq!(accuracy(&logits, &[1.0; 3], &data)?, 0.0, "{of}");
        }
        Ok(())
    }

    #[test]
    fn rows_of_logits_have_a_label_each() -> Result<()> {
        let logits = Func::trace(spec([]), spec([2, 3]), |_, w, x| w * x)?;
        let x = Array::new([2, 2, 3], [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [0.0, 2.0, 1.0], [0.0, 0.0, 0.0]].concat())?;
        let data = Examples::new((spec([2, 3]), Spec::index([2], 3)), (x, Array::index([2, 2], vec![2, 1, 1, 0])?))?;
        assert_eq!(accuracy(&logits, &[1.0], &data)?, 0.75);
        Ok(())
    }

    #[test]
    fn labels_that_are_none_are_told_where() -> Result<()> {
        let logits = Func::trace(spec([3]), spec([3]), |_, w, x| w * x)?;
        let x = || Array::new([2, 3], vec![1.0; 6]);
        let said = |told: Result<f64>| told.err().map(|e| e.to_string()).unwrap_or_default();
        let real = Examples::new((spec([3]), spec([])), (x()?, Array::new([2], vec![0.0, 1.0])?))?;
        let error = said(accuracy(&logits, &[1.0; 3], &real));
        assert!(error.contains("accuracy.rs:") && error.contains("labels are real numbers"), "{error}");
        let many = Examples::new((spec([3]), Spec::index([5, 3], 3)), (x()?, Array::index([2, 5, 3], vec![1; 30])?))?;
        let error = said(accuracy(&logits, &[1.0; 3], &many));
        assert!(error.contains("logits [3] want 1 labels an example, and there are 15"), "{error}");
        Ok(())
    }
}
