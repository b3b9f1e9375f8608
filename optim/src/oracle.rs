//! What an optimizer may ask about a minibatch.

use std::collections::HashMap;

use osculate_engine::{
    Batch, Device, Func, In, Layout, MeansProgram, Moments, MomentsProgram, Out, Program, Real, Request, Signature,
    Spec,
};

use crate::Result;

/// Answers about one minibatch at parameters of the optimizer's choice; what is not asked is not computed.
///
/// Parameters and vectors are flat, in the order of [`layout`](Oracle::layout). All answers are means over the minibatch unless they
/// are moments, and all are about the same minibatch.
pub trait Oracle<T: Real> {
    /// How the parameters lie in a flat vector.
    fn layout(&self) -> &Layout;

    /// Number of examples n.
    fn count(&self) -> usize;

    /// Mean loss.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn loss(&mut self, at: &[T]) -> Result<f64>;

    /// Mean loss; the mean gradient goes to `into`.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn gradient(&mut self, at: &[T], into: &mut [T]) -> Result<f64>;

    /// The mean Hessian-vector product goes to `into`.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn hvp(&mut self, at: &[T], along: &[T], into: &mut [T]) -> Result<()>;

    /// Mean loss and its first three directional derivatives `[l, Dl[v], D²l[v,v], D³l[v,v,v]]`, by forward mode alone, up to
    /// `order` (the rest are 0).
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn directional(&mut self, at: &[T], along: &[T], order: usize) -> Result<[f64; 4]>;

    /// Statistics of the examples; `along` is given exactly if Hessian-vector products are requested.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn moments(&mut self, at: &[T], along: Option<&[T]>, request: Request) -> Result<&Moments<T>>;
}

/// Oracles for the minibatches of a loss: every program is compiled when it is first asked for, once a size of minibatch.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{FirstOrder, Minibatches, Optimizer, Oracle, first_order::Config};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([4], vec![1.0, 2.0, 3.0, 6.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let mut w = [0.0];
/// let sgd = Config { rate: 0.5, ..Config::sgd() };
/// let report = FirstOrder::new(1, sgd)?.step(&mut w, &mut oracles.on(&data))?;
/// assert_eq!((report.loss, w), (6.25, [1.5]));
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Minibatches<D, T> {
    /// Of its parameters as a list, which is one flat buffer.
    loss: osculate_engine::Result<Func<Vec<Spec>, D, Spec>>,
    layout: Layout,
    device: Device,
    programs: HashMap<usize, Programs<D, T>>,
}

/// What was compiled for one size of minibatch.
#[derive(Debug, Clone)]
struct Programs<D, T> {
    loss: Option<Program<T, Vec<Spec>, D, Spec>>,
    gradient: Option<MeansProgram<T>>,
    hvp: Option<MeansProgram<T>>,
    directional: HashMap<usize, Program<T, (Vec<Spec>, Vec<Spec>), D, Vec<Spec>>>,
    moments: HashMap<Request, (MomentsProgram<T>, Moments<T>)>,
}

impl<T: Real, D: Signature> Minibatches<D, T> {
    /// For the loss of one example, whatever tree its parameters are: optimizers see one flat buffer.
    pub fn new<P: Signature>(loss: &Func<P, D, Spec>, device: &Device) -> Minibatches<D, T> {
        Minibatches {
            layout: Layout::of(loss.params(), "params"),
            loss: loss.listed(),
            device: *device,
            programs: HashMap::new(),
        }
    }

    /// The oracle of one minibatch.
    pub fn on<'a>(&'a mut self, batch: &'a Batch<T>) -> On<'a, D, T> {
        let programs = self.programs.entry(batch.count()).or_insert_with(|| Programs {
            loss: None,
            gradient: None,
            hvp: None,
            directional: HashMap::new(),
            moments: HashMap::new(),
        });
        On { loss: &self.loss, layout: &self.layout, device: &self.device, batch, programs }
    }
}

/// The oracle of one minibatch, see [`Minibatches`].
#[derive(Debug)]
pub struct On<'a, D, T> {
    loss: &'a osculate_engine::Result<Func<Vec<Spec>, D, Spec>>,
    layout: &'a Layout,
    device: &'a Device,
    batch: &'a Batch<T>,
    programs: &'a mut Programs<D, T>,
}

/// The compiled program, compiled if it was not yet.
fn ready<V>(slot: &mut Option<V>, make: impl FnOnce() -> osculate_engine::Result<V>) -> Result<&mut V> {
    Ok(match slot {
        Some(program) => program,
        None => slot.insert(make()?),
    })
}

impl<D: Signature, T> On<'_, D, T> {
    fn mean(
        loss: &osculate_engine::Result<Func<Vec<Spec>, D, Spec>>,
        n: usize,
    ) -> osculate_engine::Result<Func<Vec<Spec>, D, Spec>> {
        loss.as_ref().map_err(Clone::clone)?.mean(n)
    }
}

impl<D: Signature, T: Real> On<'_, D, T> {
    fn means<'p>(
        loss: &osculate_engine::Result<Func<Vec<Spec>, D, Spec>>,
        batch: &Batch<T>,
        device: &Device,
        slot: &'p mut Option<MeansProgram<T>>,
        request: Request,
    ) -> Result<&'p mut MeansProgram<T>> {
        ready(slot, || loss.as_ref().map_err(Clone::clone)?.means(batch.count(), request, device))
    }
}

impl<T: Real, D: Signature> Oracle<T> for On<'_, D, T> {
    fn layout(&self) -> &Layout {
        self.layout
    }

    fn count(&self) -> usize {
        self.batch.count()
    }

    fn loss(&mut self, at: &[T]) -> Result<f64> {
        let n = self.batch.count();
        let make = || Self::mean(self.loss, n)?.wide(|_| true)?.compile(self.device);
        let program = ready(&mut self.programs.loss, make)?;
        let mut loss = [0.0];
        self.batch.feed([In::Real(at)], |inputs| program.run_flat(inputs, &mut [Out::Wide(&mut loss)]))?;
        Ok(loss[0])
    }

    fn gradient(&mut self, at: &[T], into: &mut [T]) -> Result<f64> {
        let program =
            Self::means(self.loss, self.batch, self.device, &mut self.programs.gradient, Request::gradient())?;
        Ok(program.run(at, None, self.batch, Some(into), None)?)
    }

    fn hvp(&mut self, at: &[T], along: &[T], into: &mut [T]) -> Result<()> {
        let program = Self::means(self.loss, self.batch, self.device, &mut self.programs.hvp, Request::hvp())?;
        program.run(at, Some(along), self.batch, None, Some(into))?;
        Ok(())
    }

    fn directional(&mut self, at: &[T], along: &[T], order: usize) -> Result<[f64; 4]> {
        let n = self.batch.count();
        let order = order.min(3);
        if !self.programs.directional.contains_key(&order) {
            let made = Self::mean(self.loss, n)?.directional(order)?.wide(|_| true)?.compile(self.device)?;
            self.programs.directional.insert(order, made);
        }
        let mut values = [0.0; 4];
        if let Some(program) = self.programs.directional.get_mut(&order) {
            let inputs = [In::Real(at), In::Real(along)];
            let mut outputs = [Out::Wide(&mut values[..=order])];
            self.batch.feed(inputs, |inputs| program.run_flat(inputs, &mut outputs))?;
        }
        Ok(values)
    }

    fn moments(&mut self, at: &[T], along: Option<&[T]>, request: Request) -> Result<&Moments<T>> {
        let n = self.batch.count();
        let entry = match self.programs.moments.entry(request) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let program = self.loss.as_ref().map_err(Clone::clone)?.moments(n, request, self.device)?;
                let moments = program.moments();
                entry.insert((program, moments))
            }
        };
        let (program, moments) = entry;
        program.run(at, along, self.batch, moments)?;
        Ok(moments)
    }
}
