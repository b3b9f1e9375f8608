//! What can be trained: a loss of one example, its parameters and its data.

use osculate::nn::{Init, Mlp, accuracy, cross_entropy, digits, weight_decay};
use osculate::{Examples, Expr, Flat, Func, Real, Rng, Signature, Spec, label, spec};

use crate::error::Result;
use crate::names;

/// A classification problem, ready to train.
pub struct Problem<P: Signature, T: Real> {
    pub loss: Func<P, (Spec, Spec), Spec>,
    pub logits: Func<P, Spec, Spec>,
    pub params: Flat<P, T>,
    pub train: Examples<(Spec, Spec), T>,
    pub test: Examples<(Spec, Spec), T>,
}

/// Names and descriptions.
pub const ALL: [(&str, &str); 1] =
    [("digits", "1,797 handwritten digits of 8×8 pixels (embedded), MLP 64-100-10, relu")];

/// Refuses a name that is not there.
pub fn known(name: &str) -> Result<()> {
    if ALL.iter().any(|(known, _)| *known == name) {
        return Ok(());
    }
    Err(names::unknown("problem", name, ALL.map(|(name, _)| name)))
}

fn network<'t>(p: &Mlp<Expr<'t>>, x: Expr<'t>) -> Expr<'t> {
    p.apply(x, |h| h.relu())
}

/// The handwritten digits: a multilayer perceptron with 100 hidden units, as in the experiments of MEKA; weights, not biases, decay by so
/// much within the loss.
pub fn digits_mlp<T: Real>(seed: u64, decay: f64) -> Result<Problem<Mlp<Spec>, T>> {
    let data = digits::<T>()?;
    let model = Mlp::new(&[64, 100, 10]);
    let start = Init::HeNormal.tree::<T, _>(&model, &mut Rng::new(seed))?;
    Ok(Problem {
        loss: Func::trace(model.clone(), (spec([64]), label(10)), |tape, p, (x, y)| {
            let fit = cross_entropy(network(&p, x), y);
            if decay == 0.0 { fit } else { fit + decay * weight_decay(tape, &p, |path| path.ends_with(".w")) }
        })?,
        logits: Func::trace(model.clone(), spec([64]), |_, p, x| network(&p, x))?,
        params: Flat::pack(&model, &start)?,
        train: data.train,
        test: data.test,
    })
}

impl<P: Signature, T: Real> Problem<P, T> {
    /// Fraction of the test examples whose largest logit is their label's.
    pub fn test_accuracy(&self, params: &[T]) -> Result<f64> {
        Ok(accuracy(&self.logits, params, &self.test)?)
    }
}
