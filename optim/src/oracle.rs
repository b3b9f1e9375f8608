//! What an optimizer may ask about a minibatch.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use osculate_engine::{
    Batch, Device, Func, In, Layout, MeansProgram, Moments, MomentsProgram, Out, Program, Real, Request, Signature,
    Size, Spec,
};

use crate::{Error, Result};

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

    /// Mean loss, and how large it and the mean gradient, which goes to `into`, are: no step is taken of what is not finite.
    ///
    /// Who knows it without looking once more says so here.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn checked_gradient(&mut self, at: &[T], into: &mut [T]) -> Result<(f64, Size)> {
        let loss = self.gradient(at, into)?;
        Ok((loss, Size::of(&[loss]).max(Size::of(into))))
    }

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

    /// Statistics of the examples; `along` is given exactly if the [request](Request::directed) wants a direction.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range.
    fn moments(&mut self, at: &[T], along: Option<&[T]>, request: Request) -> Result<&Moments<T>>;

    /// Every example's gradient as a row of `gradients` `[n, D]`, and with `along` its Hessian-vector product as one of `products`.
    ///
    /// For few parameters: what statistics need, [`moments`](Oracle::moments) yields without ever making the rows.
    ///
    /// # Errors
    /// Arrays of wrong lengths, indices out of range; an oracle that knows only means.
    fn per_example(&mut self, at: &[T], along: Option<&[T]>, gradients: &mut [T], products: &mut [T]) -> Result<()> {
        let _ = (at, along, gradients, products);
        Err(Error::Oracle { what: "gradients of every example", instead: "implement `Oracle::per_example`" })
    }

    /// The mean gradient of all the data that minibatches are drawn from goes to `into`; its mean loss.
    ///
    /// # Errors
    /// Vectors of wrong lengths, indices out of range; an oracle that knows only its minibatch.
    fn whole_gradient(&mut self, at: &[T], into: &mut [T]) -> Result<f64> {
        let _ = (at, into);
        Err(Error::Oracle { what: "the gradient of all the data", instead: WHOLE })
    }
}

/// What makes an oracle of the whole data.
const WHOLE: &str = "make the oracle by `oracles.on(&batch).of(&examples.all()?)`";

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
    examples: Option<Program<T, Vec<Spec>, D, Spec>>,
    products: Option<Program<T, (Vec<Spec>, Vec<Spec>), D, (Spec, Spec)>>,
}

impl<D, T> Default for Programs<D, T> {
    fn default() -> Self {
        Programs {
            loss: None,
            gradient: None,
            hvp: None,
            directional: HashMap::new(),
            moments: HashMap::new(),
            examples: None,
            products: None,
        }
    }
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
        On {
            loss: &self.loss,
            layout: &self.layout,
            device: &self.device,
            batch,
            whole: None,
            programs: &mut self.programs,
        }
    }
}

/// The oracle of one minibatch, see [`Minibatches`].
#[derive(Debug)]
pub struct On<'a, D, T> {
    loss: &'a osculate_engine::Result<Func<Vec<Spec>, D, Spec>>,
    layout: &'a Layout,
    device: &'a Device,
    batch: &'a Batch<T>,
    /// All the data, if it was named.
    whole: Option<&'a Batch<T>>,
    programs: &'a mut HashMap<usize, Programs<D, T>>,
}

impl<'a, D: Signature, T: Real> On<'a, D, T> {
    /// The same, drawn from these data: for optimizers that look at all of them now and then (SVRG).
    pub fn of(self, whole: &'a Batch<T>) -> On<'a, D, T> {
        On { whole: Some(whole), ..self }
    }
}

/// What was compiled for minibatches of a size.
fn compiled<D, T>(programs: &mut HashMap<usize, Programs<D, T>>, n: usize) -> &mut Programs<D, T> {
    programs.entry(n).or_default()
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

    /// Of mean gradients of minibatches as large as this.
    fn gradients<'p>(
        loss: &osculate_engine::Result<Func<Vec<Spec>, D, Spec>>,
        batch: &Batch<T>,
        device: &Device,
        programs: &'p mut HashMap<usize, Programs<D, T>>,
    ) -> Result<&'p mut MeansProgram<T>> {
        let slot = &mut compiled(programs, batch.count()).gradient;
        Self::means(loss, batch, device, slot, Request::gradient())
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
        let program = ready(&mut compiled(self.programs, n).loss, make)?;
        let mut loss = [0.0];
        self.batch.feed([In::Real(at)], |inputs| program.run_flat(inputs, &mut [Out::Wide(&mut loss)]))?;
        Ok(loss[0])
    }

    fn gradient(&mut self, at: &[T], into: &mut [T]) -> Result<f64> {
        let program = Self::gradients(self.loss, self.batch, self.device, self.programs)?;
        Ok(program.run(at, None, self.batch, Some(into), None)?)
    }

    fn checked_gradient(&mut self, at: &[T], into: &mut [T]) -> Result<(f64, Size)> {
        let program = Self::gradients(self.loss, self.batch, self.device, self.programs)?;
        Ok(program.run_sized(at, None, self.batch, Some(into), None)?)
    }

    fn hvp(&mut self, at: &[T], along: &[T], into: &mut [T]) -> Result<()> {
        let slot = &mut compiled(self.programs, self.batch.count()).hvp;
        let program = Self::means(self.loss, self.batch, self.device, slot, Request::hvp())?;
        program.run(at, Some(along), self.batch, None, Some(into))?;
        Ok(())
    }

    fn directional(&mut self, at: &[T], along: &[T], order: usize) -> Result<[f64; 4]> {
        let n = self.batch.count();
        let order = order.min(3);
        let program = match compiled(self.programs, n).directional.entry(order) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let made = Self::mean(self.loss, n)?.directional(order)?.wide(|_| true)?;
                entry.insert(made.compile(self.device)?)
            }
        };
        let mut values = [0.0; 4];
        let inputs = [In::Real(at), In::Real(along)];
        let mut outputs = [Out::Wide(&mut values[..=order])];
        self.batch.feed(inputs, |inputs| program.run_flat(inputs, &mut outputs))?;
        Ok(values)
    }

    fn moments(&mut self, at: &[T], along: Option<&[T]>, request: Request) -> Result<&Moments<T>> {
        let n = self.batch.count();
        let entry = match compiled(self.programs, n).moments.entry(request) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let program = self.loss.as_ref().map_err(Clone::clone)?.moments(n, request, self.device)?;
                let moments = program.moments();
                entry.insert((program, moments))
            }
        };
        let (program, moments) = entry;
        program.run(at, along, self.batch, moments)?;
        Ok(moments)
    }

    fn per_example(&mut self, at: &[T], along: Option<&[T]>, gradients: &mut [T], products: &mut [T]) -> Result<()> {
        let n = self.batch.count();
        let programs = compiled(self.programs, n);
        let gradient = || self.loss.as_ref().map_err(Clone::clone)?.grad()?.flat();
        match along {
            None => {
                let program = ready(&mut programs.examples, || gradient()?.vmap(n)?.compile(self.device))?;
                let mut outputs = [Out::Real(gradients)];
                self.batch.feed([In::Real(at)], |inputs| program.run_flat(inputs, &mut outputs))?;
            }
            Some(along) => {
                let program = ready(&mut programs.products, || gradient()?.jvp()?.vmap(n)?.compile(self.device))?;
                let mut outputs = [Out::Real(gradients), Out::Real(products)];
                let inputs = [In::Real(at), In::Real(along)];
                self.batch.feed(inputs, |inputs| program.run_flat(inputs, &mut outputs))?;
            }
        }
        Ok(())
    }

    fn whole_gradient(&mut self, at: &[T], into: &mut [T]) -> Result<f64> {
        let Some(whole) = self.whole else {
            return Err(Error::Oracle { what: "the gradient of all the data", instead: WHOLE });
        };
        let program = Self::gradients(self.loss, whole, self.device, self.programs)?;
        Ok(program.run(at, None, whole, Some(into), None)?)
    }
}
