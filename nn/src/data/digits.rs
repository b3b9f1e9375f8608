//! The handwritten digits of the UCI repository, part of the crate.

use osculate_engine::{Array, Error, Examples, Real, Result, Rng, Spec, label, spec};

/// E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (test set), UCI repository 1998, CC BY 4.0.
const CSV: &str = include_str!("digits.csv");

const TRAIN: usize = 1437;

/// Images `[64]` in [0, 1] with labels below 10.
#[derive(Debug, Clone)]
pub struct Digits<T: Real> {
    /// 1,437 examples.
    pub train: Examples<(Spec, Spec), T>,
    /// 360 examples.
    pub test: Examples<(Spec, Spec), T>,
}

/// The 1,797 digits (E. Alpaydin, C. Kaynak, UCI 1998, CC BY 4.0), shuffled with seed 0 and split.
///
/// ```
/// let digits = osculate_nn::digits::<f32>()?;
/// assert_eq!((digits.train.count(), digits.test.count()), (1437, 360));
/// # Ok::<(), osculate_engine::Error>(())
/// ```
///
/// # Errors
/// None.
pub fn digits<T: Real>() -> Result<Digits<T>> {
    let mut rows: Vec<Vec<u32>> = (CSV.lines())
        .map(|line| line.split(',').map(str::parse).collect::<std::result::Result<_, _>>())
        .collect::<std::result::Result<_, _>>()
        .map_err(|e: std::num::ParseIntError| Error::File { file: "digits.csv".into(), why: e.to_string() })?;
    Rng::new(0).shuffle(&mut rows);
    let (train, test) = rows.split_at(TRAIN.min(rows.len()));
    Ok(Digits { train: examples(train)?, test: examples(test)? })
}

fn examples<T: Real>(rows: &[Vec<u32>]) -> Result<Examples<(Spec, Spec), T>> {
    let pixels = rows.iter().flat_map(|row| &row[..row.len() - 1]).map(|&v| T::from_f64(f64::from(v) / 16.0));
    let labels = rows.iter().filter_map(|row| row.last().copied());
    let x = Array::new([rows.len(), 64], pixels.collect())?;
    let y = Array::index([rows.len()], labels.collect())?;
    Examples::new((spec([64]), label(10)), (x, y))
}
