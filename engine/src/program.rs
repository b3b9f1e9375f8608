//! Compiled functions: a program, an executor, and the buffers between them and the user.

mod compiled;

use std::marker::PhantomData;

use osculate_kernels::{Out, Real, Simd, Size, Sweep};

use crate::graph::Graph;
use crate::tree::{Signature, Tree, apart, buffers};
use crate::{Array, Error, Result};

use compiled::{Interface, Run, compiled, lowered};

/// Where programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// rayon and matrixmultiply.
    Cpu,
    /// Naive loops in f64 whatever the type: slow, and what the others are tested against.
    Reference,
}

impl Device {
    /// The CPU, on the threads of the current rayon pool.
    pub fn cpu() -> Device {
        Device::Cpu
    }

    /// The instruction set that CPU programs are compiled for: `avx512`, `avx2` or `portable`.
    pub fn cpu_instructions() -> &'static str {
        Simd::chosen().unwrap_or_else(|_| Simd::best()).name()
    }

    /// The naive f64 executor.
    pub fn reference() -> Device {
        Device::Reference
    }
}

/// A buffer that a run reads: one a struct of reals, one an index leaf.
#[derive(Debug, Clone, Copy)]
pub enum In<'a, T> {
    /// Reals, in the order of their layout.
    Real(&'a [T]),
    /// Indices; checked against their bound.
    Index(&'a [u32]),
}

/// Most buffers a program may read: their table lives on the stack, so that a run allocates nothing.
pub(crate) const INPUTS: usize = 64;

/// The function of a graph as one pass over vectors: one buffer of parameters holds all its numbers, the data are vectors of one
/// length, of which the first `replaced` give way to as many results; the others are added up.
pub(crate) fn sweep<T: Real>(
    graph: &Graph,
    params: &impl Signature,
    data: &impl Signature,
    outputs: &impl Signature,
    replaced: usize,
) -> Result<Sweep<T>> {
    let interface = interface(params, data, outputs);
    let program = lowered(graph, &interface, size_of::<T>(), T::NAME)?;
    let numbers = buffers(params, "params").len();
    if numbers != 1 {
        let why = format!("the parameters of a sweep are one buffer of numbers, not {numbers}");
        return Err(Error::Transform { transform: "sweep", why });
    }
    Ok(Sweep::new(&program, replaced, Simd::chosen()?)?)
}

/// What a function of trees is given and gives.
fn interface(params: &impl Signature, data: &impl Signature, outputs: &impl Signature) -> Interface {
    let mut reads = buffers(params, "params");
    let all = params.leaves("params").into_iter().chain(data.leaves("data"));
    let leaves = all.map(|(path, spec)| (path.to_string(), spec.clone())).collect();
    let count = params.leaves("").len();
    for mut buffer in apart(data, "data") {
        buffer.leaves.iter_mut().for_each(|leaf| *leaf += count);
        reads.push(buffer);
    }
    Interface { leaves, reads, writes: buffers(outputs, "result") }
}

/// A function compiled for one type and device, with its memory.
///
/// [`run`](Program::run) takes and returns trees of arrays; [`run_flat`](Program::run_flat) works on flat buffers and allocates
/// nothing.
#[derive(Debug, Clone)]
pub struct Program<T, P, D, O> {
    run: Box<dyn Run<T>>,
    outputs: O,
    /// Trees of what it is given.
    given: PhantomData<(P, D)>,
}

impl<T: Real, P: Signature, D: Signature, O: Signature> Program<T, P, D, O> {
    pub(crate) fn new(
        graph: &Graph,
        params: &P,
        data: &D,
        outputs: O,
        device: &Device,
        threads: usize,
    ) -> Result<Self> {
        let run = compiled(graph, interface(params, data, &outputs), device, threads)?;
        Ok(Program { run, outputs, given: PhantomData })
    }

    /// The same, its commands shared among a number of threads.
    pub(crate) fn shared(mut self, threads: usize) -> Result<Self> {
        self.run.share(threads)?;
        Ok(self)
    }

    /// Bytes alive during a run: inputs, outputs, and the scratch allocated once at compilation.
    pub fn peak_bytes(&self) -> usize {
        let [given, held] = self.run.bytes();
        given.saturating_add(held)
    }

    /// Those of them that the program holds itself.
    pub(crate) fn owned_bytes(&self) -> usize {
        self.run.bytes()[1]
    }

    /// Floating-point operations of one run.
    pub fn flop(&self) -> u64 {
        self.run.flop()
    }

    /// From now on, runs on the CPU add up the time that each command takes, which [`plan`](Program::plan) then tells.
    pub fn measure(&mut self) {
        self.run.measure();
    }

    /// The plan as text: one command a line, with its loops, slots, operations and bytes, and its time if that is measured.
    pub fn plan(&self) -> String {
        self.run.plan()
    }

    /// Runs on trees of arrays.
    ///
    /// # Errors
    /// An array that does not fit its leaf, named by its path, or an index out of range; nothing is computed then.
    pub fn run(&mut self, params: &P::With<Array<T>>, data: &D::With<Array<T>>) -> Result<O::With<Array<T>>> {
        let results = self.run.on_arrays(&arrays(params, data))?;
        self.outputs.with_leaves(results)
    }

    /// Results in f64, run on trees of arrays: [wide](crate::Func::wide) outputs as they were added up, the others as `run` has them.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let total = Func::trace(spec([2]), spec([]), |_, w, _| w.sum())?.wide(|_| true)?;
    /// let w = Array::new([2], vec![1.0f32, 1e-10])?;
    /// let value = total.compile::<f32>(&Device::cpu())?.run_wide(&w, &Array::scalar(0.0))?;
    /// assert_eq!(value.item(), Some(1.0 + f64::from(1e-10f32)));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`run`](Program::run).
    pub fn run_wide(&mut self, params: &P::With<Array<T>>, data: &D::With<Array<T>>) -> Result<O::With<Array<f64>>> {
        let results = self.run.on_arrays_wide(&arrays(params, data))?;
        self.outputs.with_leaves(results)
    }

    /// Runs on flat buffers: those of the parameters, then those of the data, each in the order of its layout.
    ///
    /// # Errors
    /// A buffer of the wrong kind or length, or an index out of range; nothing is computed then.
    pub fn run_flat(&mut self, inputs: &[In<'_, T>], outputs: &mut [Out<'_, T>]) -> Result<()> {
        self.run.on_buffers(inputs, outputs, false).map(drop)
    }

    /// The same, and how large what the outputs hold then is.
    pub(crate) fn run_sized(&mut self, inputs: &[In<'_, T>], outputs: &mut [Out<'_, T>]) -> Result<Size> {
        self.run.on_buffers(inputs, outputs, true)
    }
}

/// All arrays that a function is given.
fn arrays<'a, L>(params: &'a impl Tree<Leaf = L>, data: &'a impl Tree<Leaf = L>) -> Vec<&'a L> {
    params.leaves("").into_iter().chain(data.leaves("")).map(|(_, array)| array).collect()
}
