//! Stochastic gradient descent: θ ← θ − ηg.

use osculate_engine::store::Store;
use osculate_engine::{Device, Func, In, Out, Program, Real, Spec, spec};

use crate::error::positive;
use crate::optimizer::{check_len, some_parameters};
use crate::{Optimizer, Oracle, Report, Result, Status};

/// Stochastic gradient descent with a fixed learning rate.
#[derive(Debug, Clone)]
pub struct Sgd<T> {
    rate: f64,
    gradient: Vec<T>,
    next: Vec<T>,
    /// θ − ηg.
    descend: Program<T, (Spec, Spec), Spec, Spec>,
}

impl<T: Real> Sgd<T> {
    /// For `len` parameters, with learning rate η > 0.
    ///
    /// # Errors
    /// A learning rate that is not a positive number.
    pub fn new(len: usize, rate: f64) -> Result<Sgd<T>> {
        positive("learning rate", rate)?;
        some_parameters(len)?;
        let descend = Func::trace((spec([len]), spec([len])), spec([]), |_, (x, g), rate| x - rate * g)?;
        let descend = descend.compile(&Device::cpu())?;
        Ok(Sgd { rate, gradient: vec![T::zero(); len], next: vec![T::zero(); len], descend })
    }
}

impl<T: Real> Optimizer<T> for Sgd<T> {
    fn step(&mut self, params: &mut [T], oracle: &mut dyn Oracle<T>) -> Result<Report> {
        check_len(self.gradient.len(), params.len())?;
        let loss = oracle.gradient(params, &mut self.gradient)?;
        let rate = [T::narrow(self.rate)];
        let inputs = [In::Real(params as &[T]), In::Real(&self.gradient), In::Real(&rate)];
        self.descend.run_flat(&inputs, &mut [Out::Real(&mut self.next)])?;
        if !loss.is_finite() || self.next.iter().any(|x| !x.is_finite()) {
            return Ok(Report::new(Status::NonFinite, loss, 0.0));
        }
        params.copy_from_slice(&self.next);
        Ok(Report::new(Status::Stepped, loss, self.rate))
    }

    fn save(&self) -> Store {
        Store::new("osculate.sgd")
    }

    fn load(&mut self, state: &Store) -> Result<()> {
        Ok(state.must_be("osculate.sgd")?)
    }
}

/// The optimizers of this file, for the registry.
pub(crate) fn entries<T: Real>() -> Vec<crate::registry::Entry<T>> {
    vec![crate::registry::Entry {
        name: "sgd",
        about: "stochastic gradient descent, learning rate 0.1",
        make: |len| Ok(Box::new(Sgd::new(len, 0.1)?)),
    }]
}
