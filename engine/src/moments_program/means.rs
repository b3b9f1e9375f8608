//! Means alone: what an optimizer's step wants, in chunks like moments.

use osculate_kernels::{Real, Size};

use super::{Budget, Listed, MomentsProgram};
use crate::moments::add;
use crate::program::Device;
use crate::transform::replay;
use crate::tree::Layout;
use crate::{Batch, Error, Moments, Request, Result};

/// Compiled mean gradients and Hessian-vector products of minibatches of a fixed size: what an optimizer's step wants.
///
/// They are taken in chunks like [`MomentsProgram`]s, and written straight to where they are wanted if there is one.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func, Request};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([2], vec![1.0, 3.0])?)?.all()?;
/// let mut means = loss.means::<f64>(2, Request::gradient().and_hvp(), &Device::cpu())?;
/// let (mut g, mut h) = ([0.0], [0.0]);
/// let loss = means.run(&[0.0], Some(&[1.0]), &data, Some(&mut g), Some(&mut h))?;
/// assert_eq!((loss, g, h), (2.5, [-2.0], [1.0]));
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MeansProgram<T> {
    program: MomentsProgram<T>,
    losses: Moments<T>,
}

impl<T: Real> MeansProgram<T> {
    pub(super) fn new(
        loss: &Listed,
        layout: Layout,
        n: usize,
        request: Request,
        device: &Device,
        budget: Budget,
    ) -> Result<Self> {
        let Request { gradient, hvp, .. } = request;
        let means = Request { gradient, hvp, ..Request::default() };
        // Sums of n-ths are means, and cost nothing: the factor goes into the loss's own.
        let nth = loss.rebuild(loss.params().clone(), loss.data().clone(), loss.outputs().clone(), |tape, p, d| {
            replay(loss.graph(), tape, &[p, d].concat()).iter().map(|&l| (1.0 / n as f64) * l).collect()
        })?;
        let program = MomentsProgram::new(&nth, layout, n, means, device, budget)?;
        let mut losses = Moments::empty(program.layout.clone(), Request::default());
        losses.reserve(n);
        Ok(MeansProgram { program, losses })
    }

    /// Examples of a chunk.
    pub fn chunk(&self) -> usize {
        self.program.chunk()
    }

    /// Bytes alive during a run: of the program, the minibatch, the parameters and direction, and what it fills.
    pub fn peak_bytes(&self) -> usize {
        self.program.peak_bytes()
    }

    /// Floating-point operations of one run.
    pub fn flop(&self) -> u64 {
        self.program.flop()
    }

    /// From now on, runs on the CPU add up the time of each command, as [`MomentsProgram::measure`] has it.
    pub fn measure(&mut self) {
        self.program.measure();
    }

    /// The plan as text.
    pub fn plan(&self) -> String {
        self.program.plan()
    }

    /// The mean loss of one minibatch at flat parameters; the mean gradient and the mean product along a flat direction go to `gradient`
    /// and `hvp`, which are given exactly if they were asked for, as is the direction if products were.
    ///
    /// # Errors
    /// Something missing or not asked for, buffers of wrong lengths, an index out of range.
    #[track_caller]
    pub fn run(
        &mut self,
        params: &[T],
        along: Option<&[T]>,
        batch: &Batch<T>,
        gradient: Option<&mut [T]>,
        hvp: Option<&mut [T]>,
    ) -> Result<f64> {
        Ok(self.go(params, along, batch, [gradient, hvp], false)?.0)
    }

    /// The same, and how large the loss and all that it filled is: the threads that made it look.
    ///
    /// # Errors
    /// As above.
    #[track_caller]
    pub fn run_sized(
        &mut self,
        params: &[T],
        along: Option<&[T]>,
        batch: &Batch<T>,
        gradient: Option<&mut [T]>,
        hvp: Option<&mut [T]>,
    ) -> Result<(f64, Size)> {
        self.go(params, along, batch, [gradient, hvp], true)
    }

    /// The mean loss, and how large all is if that is to be looked at.
    #[track_caller]
    fn go(
        &mut self,
        params: &[T],
        along: Option<&[T]>,
        batch: &Batch<T>,
        mut vectors: [Option<&mut [T]>; 2],
        look: bool,
    ) -> Result<(f64, Size)> {
        let MeansProgram { program, losses } = self;
        let Request { gradient: wants_gradient, hvp: wants_hvp, .. } = program.request;
        if [vectors[0].is_some(), vectors[1].is_some(), along.is_some()] != [wants_gradient, wants_hvp, wants_hvp] {
            let why = "a gradient, a product and its direction are given exactly when they were asked for";
            return Err(Error::State(why.into()));
        }
        program.sized(params, along, batch)?;
        losses.clear();
        if let Some(chunk) = program.whole() {
            let size = chunk.run(params, along, batch, 0, losses, vectors, look)?;
            return Ok((losses.losses().iter().sum(), size));
        }
        let want = program.layout.len();
        for vector in vectors.iter_mut().flatten() {
            if vector.len() != want {
                let (want, got) = (format!("a vector of {want}"), vector.len().to_string());
                return Err(Error::Signature { path: "result".into(), want, got });
            }
            vector.fill(T::zero());
        }
        program.each_chunk(params, along, batch, |part| {
            for (vector, sums) in vectors.iter_mut().zip([&part.gradient, &part.hvp]) {
                if let (Some(vector), Some(sums)) = (vector, sums) {
                    add(vector, &sums.sum);
                }
            }
            losses.join_losses(part);
            Ok(())
        })?;
        let sizes = vectors.iter().flatten().map(|vector| Size::of(vector)).chain([Size::of(losses.losses())]);
        let size = if look { sizes.max() } else { None };
        Ok((losses.losses().iter().sum(), size.unwrap_or(Size::Moderate)))
    }
}
