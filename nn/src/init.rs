//! Random initial values.

use osculate_engine::{Array, Real, Result, Rng, Shape, Signature, Spec};

/// A distribution of initial weights; fans are those of the first and last axis of a matrix.
///
/// ```
/// use osculate_engine::{Rng, spec};
/// use osculate_nn::{Dense, Init};
/// let layer = Init::HeNormal.tree::<f32, _>(&Dense::new(100, 10), &mut Rng::new(0))?;
/// assert!(layer.b.values().iter().all(|&b| b == 0.0));
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All the same.
    Constant(f64),
    /// Uniform in ±a.
    Uniform(f64),
    /// Normal of this deviation.
    Normal(f64),
    /// Normal of this deviation, drawn again beyond two of it.
    TruncatedNormal(f64),
    /// Normal of variance 1/inputs (LeCun 1998): for tanh.
    LecunNormal,
    /// Normal of variance 2/inputs (He 2015): for relu.
    HeNormal,
    /// Normal of variance 2/(inputs + outputs) (Glorot 2010).
    XavierNormal,
    /// Uniform of the same variance.
    XavierUniform,
}

impl Init {
    /// Values of one array.
    pub fn array<T: Real>(self, shape: &Shape, rng: &mut Rng) -> Array<T> {
        let inputs = shape.first().copied().unwrap_or(1) as f64;
        let outputs = shape.last().copied().unwrap_or(1) as f64;
        let mut draw = || match self {
            Init::Zeros => 0.0,
            Init::Constant(value) => value,
            Init::Uniform(a) => rng.uniform(-a, a),
            Init::Normal(deviation) => deviation * rng.normal(),
            Init::TruncatedNormal(deviation) => loop {
                let z = rng.normal();
                if z.abs() <= 2.0 {
                    break deviation * z;
                }
            },
            Init::LecunNormal => rng.normal() / inputs.sqrt(),
            Init::HeNormal => rng.normal() * (2.0 / inputs).sqrt(),
            Init::XavierNormal => rng.normal() * (2.0 / (inputs + outputs)).sqrt(),
            Init::XavierUniform => {
                let a = (6.0 / (inputs + outputs)).sqrt();
                rng.uniform(-a, a)
            }
        };
        Array::from_fn(shape, |_| T::narrow(draw()))
    }

    /// Values of a whole tree: vectors and scalars (biases) are 0, the rest is drawn.
    ///
    /// # Errors
    /// None.
    pub fn tree<T: Real, P: Signature>(self, spec: &P, rng: &mut Rng) -> Result<P::With<Array<T>>> {
        spec.map("params", |_, Spec { shape, .. }| {
            Ok(if shape.rank() < 2 { Init::Zeros.array(shape, rng) } else { self.array(shape, rng) })
        })
    }
}
