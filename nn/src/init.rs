//! Random initial values.

use osculate_engine::{Array, Real, Result, Rng, Shape, Signature, Spec};

/// A distribution of initial weights; a matrix is `[inputs, outputs]`, a convolution `[outputs, inputs, sizes…]`.
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
        // A matrix is [inputs, outputs], a convolution [outputs, inputs, sizes…].
        let (inputs, outputs) = match shape[..] {
            [outputs, inputs, ref sizes @ ..] if !sizes.is_empty() => {
                let places: usize = sizes.iter().product();
                ((inputs * places) as f64, (outputs * places) as f64)
            }
            [inputs, outputs] => (inputs as f64, outputs as f64),
            _ => (1.0, 1.0),
        };
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
        Array::from_fn(shape, |_| T::from_f64(draw()))
    }

    /// Values of a whole tree: matrices and convolutions are drawn, leaves named `gamma` are 1, other vectors and scalars 0.
    ///
    /// # Errors
    /// None.
    pub fn tree<T: Real, P: Signature>(self, spec: &P, rng: &mut Rng) -> Result<P::With<Array<T>>> {
        spec.map("params", |path, Spec { shape, .. }| {
            let init = match shape.rank() {
                0 | 1 if path.to_string().ends_with(".gamma") => Init::Constant(1.0),
                0 | 1 => Init::Zeros,
                _ => self,
            };
            Ok(init.array(shape, rng))
        })
    }
}
