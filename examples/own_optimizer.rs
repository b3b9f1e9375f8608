//! A whole optimizer of one's own: sign descent, whose step is a rate times the sign of an averaged gradient (Bernstein et al. 2018).
//!
//! `cargo run --release --example own_optimizer`

use osculate::nn::{Batches, Init, Mlp, accuracy, cross_entropy, digits};
use osculate::optim::{Error, Minibatches, Optimizer, Oracle, Report, Result, Status};
use osculate::store::Store;
use osculate::{Batch, Device, Flat, Func, Real, Rng, finite, label, spec};

/// m ← βm + (1 − β)g, θ ← θ − η sign m.
struct SignDescent<T> {
    rate: f64,
    decay: f64,
    mean: Vec<T>,
    gradient: Vec<T>,
}

impl<T: Real> SignDescent<T> {
    fn new(len: usize, rate: f64) -> SignDescent<T> {
        SignDescent { rate, decay: 0.9, mean: vec![T::zero(); len], gradient: vec![T::zero(); len] }
    }
}

impl<T: Real> Optimizer<T> for SignDescent<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        if params.len() != self.mean.len() {
            return Err(Error::Length { want: self.mean.len(), got: params.len() });
        }
        let (loss, size) = oracle.checked_gradient(params, &mut self.gradient)?;
        if !size.is_finite() {
            return Ok(Report::not_finite(loss)); // nothing is changed
        }
        let (decay, rate) = (T::from_f64(self.decay), T::from_f64(self.rate));
        for ((x, m), g) in params.iter_mut().zip(&mut self.mean).zip(&self.gradient) {
            *m = decay * *m + (T::one() - decay) * *g;
            // At 0 there is no sign: `signum` of num-traits has one of both zeros.
            if *m != T::zero() {
                *x += -rate * m.signum();
            }
        }
        Ok(Report::new(Status::Stepped, loss, self.rate))
    }

    fn save(&self) -> Store {
        let mut store = Store::new("example.sign_descent");
        store.put("mean", &self.mean);
        store
    }

    fn load(&mut self, state: &Store) -> Result<()> {
        state.must_be("example.sign_descent")?;
        let mean: Vec<T> = state.get("mean", self.mean.len())?;
        if !finite(&mean) {
            return Err(osculate::Error::State("mean holds a number that is not finite".into()).into());
        }
        self.mean = mean;
        Ok(())
    }
}

fn main() -> Result<()> {
    let data = digits::<f32>()?;
    let model = Mlp::new(&[64, 100, 10]);
    let logits = Func::trace(model.clone(), spec([64]), |_, p, x| p.apply(x, |h| h.relu()))?;
    let loss =
        Func::trace(model.clone(), (spec([64]), label(10)), |_, p, (x, y)| cross_entropy(p.apply(x, |h| h.relu()), y))?;
    let mut params = Flat::pack(&model, &Init::HeNormal.tree(&model, &mut Rng::new(0))?)?;
    let mut optimizer = SignDescent::new(params.values().len(), 1e-3);
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let (mut batches, mut batch) = (Batches::new(data.train.count(), 128, 0), Batch::default());
    for step in 0..240 {
        data.train.gather(batches.next_rows(), &mut batch)?;
        let report = optimizer.step(params.values_mut(), &mut oracles.on(&batch))?;
        if step % 60 == 0 {
            println!("step {step:>3}: loss {:.4}", report.loss);
        }
    }
    println!("test accuracy {:.4}", accuracy(&logits, params.values(), &data.test)?);
    Ok(())
}
