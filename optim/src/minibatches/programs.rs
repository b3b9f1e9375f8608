//! What was compiled for minibatches of a few sizes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use osculate_engine::{
    Batch, Device, Func, In, MeansProgram, MomentsProgram, Out, Program, Real, Request, Signature, Spec,
};

use crate::Result;

/// Sizes whose programs are kept: a run of minibatches of a hundred or two, drawn at random, needs fewer.
const KEPT: usize = 32;

/// Programs of a loss, by sizes of minibatch.
#[derive(Debug, Clone)]
pub(super) struct Programs<D, T> {
    /// Of its parameters as a list, which is one flat buffer.
    loss: osculate_engine::Result<Func<Vec<Spec>, D, Spec>>,
    device: Device,
    /// Those used last stand last.
    sizes: Vec<(usize, OfSize<D, T>)>,
    compiled: usize,
}

/// What was compiled for one size of minibatch.
#[derive(Debug, Clone)]
struct OfSize<D, T> {
    loss: Option<Program<T, Vec<Spec>, D, Spec>>,
    gradient: Option<MeansProgram<T>>,
    hvp: Option<MeansProgram<T>>,
    directional: HashMap<usize, Program<T, (Vec<Spec>, Vec<Spec>), D, Vec<Spec>>>,
    moments: HashMap<Request, MomentsProgram<T>>,
    examples: Option<Program<T, Vec<Spec>, D, Spec>>,
    products: Option<Program<T, (Vec<Spec>, Vec<Spec>), D, (Spec, Spec)>>,
}

impl<D, T> Default for OfSize<D, T> {
    fn default() -> Self {
        OfSize {
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

/// The compiled program, compiled if it was not yet.
fn ready<'a, V>(
    slot: &'a mut Option<V>,
    compiled: &mut usize,
    make: impl FnOnce() -> osculate_engine::Result<V>,
) -> Result<&'a mut V> {
    Ok(match slot {
        Some(program) => program,
        None => {
            *compiled += 1;
            slot.insert(make()?)
        }
    })
}

/// The same of several, by what they are for.
fn ready_for<'a, K: std::hash::Hash + Eq, V>(
    programs: &'a mut HashMap<K, V>,
    key: K,
    compiled: &mut usize,
    make: impl FnOnce() -> osculate_engine::Result<V>,
) -> Result<&'a mut V> {
    Ok(match programs.entry(key) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            *compiled += 1;
            entry.insert(make()?)
        }
    })
}

/// The loss, its device, what was compiled for a size, and the count of what was.
type Of<'a, D, T> =
    (&'a osculate_engine::Result<Func<Vec<Spec>, D, Spec>>, &'a Device, &'a mut OfSize<D, T>, &'a mut usize);

impl<T: Real, D: Signature> Programs<D, T> {
    pub fn new(loss: osculate_engine::Result<Func<Vec<Spec>, D, Spec>>, device: Device) -> Self {
        Programs { loss, device, sizes: Vec::new(), compiled: 0 }
    }

    /// Number of programs compiled so far.
    pub fn compiled(&self) -> usize {
        self.compiled
    }

    fn of(&mut self, n: usize) -> Of<'_, D, T> {
        match self.sizes.iter().position(|(size, _)| *size == n) {
            Some(at) => self.sizes[at..].rotate_left(1),
            None => {
                if self.sizes.len() == KEPT {
                    self.sizes.remove(0);
                }
                self.sizes.push((n, OfSize::default()));
            }
        }
        let last = self.sizes.len() - 1;
        (&self.loss, &self.device, &mut self.sizes[last].1, &mut self.compiled)
    }

    /// Mean gradients.
    pub fn gradient(&mut self, n: usize) -> Result<&mut MeansProgram<T>> {
        let (loss, device, programs, compiled) = self.of(n);
        let make = || loss.as_ref().map_err(Clone::clone)?.means(n, Request::gradient(), device);
        ready(&mut programs.gradient, compiled, make)
    }

    /// Mean Hessian-vector products.
    pub fn hvp(&mut self, n: usize) -> Result<&mut MeansProgram<T>> {
        let (loss, device, programs, compiled) = self.of(n);
        let make = || loss.as_ref().map_err(Clone::clone)?.means(n, Request::hvp(), device);
        ready(&mut programs.hvp, compiled, make)
    }

    /// Statistics of the examples.
    pub fn moments(&mut self, n: usize, request: Request) -> Result<&mut MomentsProgram<T>> {
        let (loss, device, programs, compiled) = self.of(n);
        let make = || loss.as_ref().map_err(Clone::clone)?.moments(n, request, device);
        ready_for(&mut programs.moments, request, compiled, make)
    }

    /// The mean loss.
    pub fn loss(&mut self, at: &[T], batch: &Batch<T>) -> Result<f64> {
        let n = batch.count();
        let (loss, device, programs, compiled) = self.of(n);
        let make = || loss.as_ref().map_err(Clone::clone)?.mean(n)?.wide(|_| true)?.compile(device);
        let program = ready(&mut programs.loss, compiled, make)?;
        let mut value = [0.0];
        batch.feed([In::Real(at)], |inputs| program.run_flat(inputs, &mut [Out::Wide(&mut value)]))?;
        Ok(value[0])
    }

    /// The mean loss and its derivatives along a direction, up to an order of at most 3.
    pub fn directional(&mut self, at: &[T], along: &[T], order: usize, batch: &Batch<T>) -> Result<[f64; 4]> {
        let n = batch.count();
        let (loss, device, programs, compiled) = self.of(n);
        let mean = || loss.as_ref().map_err(Clone::clone)?.mean(n);
        let make = || mean()?.directional(order)?.wide(|_| true)?.compile(device);
        let program = ready_for(&mut programs.directional, order, compiled, make)?;
        let mut values = [0.0; 4];
        let inputs = [In::Real(at), In::Real(along)];
        let mut outputs = [Out::Wide(&mut values[..=order])];
        batch.feed(inputs, |inputs| program.run_flat(inputs, &mut outputs))?;
        Ok(values)
    }

    /// Every example's gradient, and with a direction its Hessian-vector product.
    pub fn per_example(
        &mut self,
        at: &[T],
        along: Option<&[T]>,
        batch: &Batch<T>,
        gradients: &mut [T],
        products: &mut [T],
    ) -> Result<()> {
        let n = batch.count();
        let (loss, device, programs, compiled) = self.of(n);
        let gradient = || loss.as_ref().map_err(Clone::clone)?.grad()?.flat();
        match along {
            None => {
                let make = || gradient()?.vmap(n)?.compile(device);
                let program = ready(&mut programs.examples, compiled, make)?;
                let mut outputs = [Out::Real(gradients)];
                batch.feed([In::Real(at)], |inputs| program.run_flat(inputs, &mut outputs))?;
            }
            Some(along) => {
                let make = || gradient()?.jvp()?.vmap(n)?.compile(device);
                let program = ready(&mut programs.products, compiled, make)?;
                let mut outputs = [Out::Real(gradients), Out::Real(products)];
                let inputs = [In::Real(at), In::Real(along)];
                batch.feed(inputs, |inputs| program.run_flat(inputs, &mut outputs))?;
            }
        }
        Ok(())
    }
}
