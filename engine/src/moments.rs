//! Per-example statistics of a minibatch: a monoid of counts, sums and sums of squares.
//!
//! What a minibatch yields is a sum over its examples, so chunks, minibatches and processes are merged by adding. The variance is
//! formed at the end, unbiased: `M₂/(n − 1)` with `M₂ = max(0, Σᵢ‖gᵢ‖² − ‖Σᵢgᵢ‖²/n)`, divided by the number of parameters.

use osculate_kernels::{Out, Real, dot};

use crate::func::specs;
use crate::program::{Device, In, Program};
use crate::transform::{Square, Vectors, jvp, outer_products, vmap};
use crate::tree::{Layout, Signature};
use crate::{Batch, Error, Expr, Func, Result, Spec};

/// What to accumulate besides the losses; what is not asked for is not computed.
///
/// ```
/// use osculate_engine::Request;
/// let fixed_step_meka = Request::gradient().and_hvp();
/// assert!(fixed_step_meka.hvp && !fixed_step_meka.elementwise);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Request {
    /// Σ g and Σ‖g‖² of the gradients.
    pub gradient: bool,
    /// Σ Hv and Σ‖Hv‖² of the Hessian-vector products along a direction v.
    pub hvp: bool,
    /// Σ g² (and Σ (Hv)²) of every coordinate.
    pub elementwise: bool,
}

impl Request {
    /// Losses and gradients.
    pub fn gradient() -> Request {
        Request { gradient: true, ..Request::default() }
    }

    /// Losses and Hessian-vector products.
    pub fn hvp() -> Request {
        Request { hvp: true, ..Request::default() }
    }

    /// The same, and Hessian-vector products.
    pub fn and_hvp(self) -> Request {
        Request { hvp: true, ..self }
    }

    /// The same, and the second moment of every coordinate.
    pub fn and_elementwise(self) -> Request {
        Request { elementwise: true, ..self }
    }
}

/// Sums over examples of one vector a example.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums<T> {
    /// Σᵢ xᵢ, `[D]`, in the layout of the parameters.
    pub sum: Vec<T>,
    /// Σᵢ ‖xᵢ‖² of every segment of the layout.
    pub squares: Vec<f64>,
    /// ‖xᵢ‖² of every example of the last minibatch, `[n]`.
    pub norms: Vec<f64>,
    /// Σᵢ xᵢ², `[D]`, if asked for.
    pub elementwise: Option<Vec<T>>,
}

/// A variance and what is known of its rounding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variance {
    /// Unbiased variance of one example's vector, averaged over its coordinates.
    pub value: f64,
    /// κ = Σ‖xᵢ‖²/M₂: how much the subtraction amplifies rounding.
    pub amplification: f64,
    /// Whether rounding in the type of the program stays below about a hundredth of the value.
    pub trusted: bool,
}

/// Statistics of one or more minibatches.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func, Request};
/// // loss ½(w − x)²: gradient w − x, so their variance is that of x
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let examples = Examples::new(spec([]), Array::new([4], vec![1.0, 2.0, 3.0, 6.0])?)?;
/// let mut program = loss.moments::<f64>(4, Request::gradient(), &Device::cpu())?;
/// let mut moments = program.moments();
/// program.run(&[0.0], None, &examples.all()?, &mut moments)?;
/// let gradient = moments.gradient()?;
/// assert_eq!(gradient.sum, [-12.0]);
/// assert_eq!(moments.gradient_variance()?.value, 14.0 / 3.0);
/// # Ok::<(), osculate_engine::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Moments<T> {
    layout: Layout,
    count: usize,
    loss_mean: f64,
    /// Σᵢ (lossᵢ − mean)².
    loss_m2: f64,
    losses: Vec<f64>,
    gradient: Option<Sums<T>>,
    hvp: Option<Sums<T>>,
}

impl<T: Real> Moments<T> {
    /// Those of no examples.
    pub fn empty(layout: Layout, request: Request) -> Moments<T> {
        let d = layout.len();
        let sums = || Sums {
            sum: vec![T::zero(); d],
            squares: vec![0.0; layout.segments().len()],
            norms: Vec::new(),
            elementwise: request.elementwise.then(|| vec![T::zero(); d]),
        };
        Moments {
            count: 0,
            loss_mean: 0.0,
            loss_m2: 0.0,
            losses: Vec::new(),
            gradient: request.gradient.then(sums),
            hvp: request.hvp.then(sums),
            layout,
        }
    }

    /// Number of examples.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How the parameters lie in the vectors.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Mean loss.
    pub fn loss(&self) -> f64 {
        self.loss_mean
    }

    /// Losses of the examples of the last minibatch.
    pub fn losses(&self) -> &[f64] {
        &self.losses
    }

    /// Unbiased variance of one example's loss.
    ///
    /// # Errors
    /// Fewer than two examples.
    pub fn loss_variance(&self) -> Result<f64> {
        self.needs_two("the loss")?;
        Ok(self.loss_m2 / (self.count - 1) as f64)
    }

    /// Sums of the gradients.
    ///
    /// # Errors
    /// They were not asked for.
    pub fn gradient(&self) -> Result<&Sums<T>> {
        self.gradient.as_ref().ok_or_else(|| Error::State("the moments of the gradient were not requested".into()))
    }

    /// Sums of the Hessian-vector products.
    ///
    /// # Errors
    /// They were not asked for.
    pub fn hvp(&self) -> Result<&Sums<T>> {
        self.hvp.as_ref().ok_or_else(|| Error::State("the moments of the Hv product were not requested".into()))
    }

    /// Dimension-averaged variance of one example's gradient.
    ///
    /// # Errors
    /// Fewer than two examples, or gradients not asked for.
    pub fn gradient_variance(&self) -> Result<Variance> {
        self.variance("the gradient", self.gradient()?)
    }

    /// Dimension-averaged variance of one example's Hessian-vector product.
    ///
    /// # Errors
    /// Fewer than two examples, or products not asked for.
    pub fn hvp_variance(&self) -> Result<Variance> {
        self.variance("the Hv product", self.hvp()?)
    }

    fn variance(&self, what: &'static str, sums: &Sums<T>) -> Result<Variance> {
        self.needs_two(what)?;
        let n = self.count as f64;
        let total: f64 = sums.squares.iter().sum();
        let spread = total - dot(&sums.sum, &sums.sum) / n;
        // A NaN must stay one: max would drop it.
        let m2 = if spread < 0.0 { 0.0 } else { spread };
        let amplification = if total == 0.0 { 1.0 } else { total / m2 };
        let unit = if size_of::<T>() == 4 { 2f64.powi(-24) } else { 2f64.powi(-53) };
        Ok(Variance {
            value: m2 / (n - 1.0) / self.layout.len() as f64,
            amplification,
            trusted: amplification * unit <= 1e-2,
        })
    }

    fn needs_two(&self, what: &'static str) -> Result<()> {
        if self.count < 2 { Err(Error::Count { what, count: self.count }) } else { Ok(()) }
    }

    /// Whether every sum is a number.
    pub fn is_finite(&self) -> bool {
        let finite = |sums: &Option<Sums<T>>| {
            sums.as_ref().is_none_or(|s| {
                s.squares.iter().all(|q| q.is_finite())
                    && s.sum.iter().chain(s.elementwise.iter().flatten()).all(|x| x.is_finite())
            })
        };
        self.loss_mean.is_finite() && self.loss_m2.is_finite() && finite(&self.gradient) && finite(&self.hvp)
    }

    /// Adds the statistics of other examples; `losses` and `norms` become the other's.
    ///
    /// # Errors
    /// They are of other parameters, or were asked for differently.
    pub fn merge(&mut self, other: &Moments<T>) -> Result<()> {
        let same = |a: &Option<Sums<T>>, b: &Option<Sums<T>>| match (a, b) {
            (Some(a), Some(b)) => a.elementwise.is_some() == b.elementwise.is_some(),
            (a, b) => a.is_none() && b.is_none(),
        };
        if self.layout != other.layout || !same(&self.gradient, &other.gradient) || !same(&self.hvp, &other.hvp) {
            return Err(Error::State("moments of different parameters or requests cannot be merged".into()));
        }
        if other.count == 0 {
            return Ok(());
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let gap = other.loss_mean - self.loss_mean;
        self.loss_mean += gap * b / (a + b);
        self.loss_m2 += other.loss_m2 + gap * gap * a * b / (a + b);
        self.count += other.count;
        self.losses.clone_from(&other.losses);
        for (mine, theirs) in [(&mut self.gradient, &other.gradient), (&mut self.hvp, &other.hvp)] {
            if let (Some(mine), Some(theirs)) = (mine, theirs) {
                mine.sum.iter_mut().zip(&theirs.sum).for_each(|(x, &y)| *x += y);
                mine.squares.iter_mut().zip(&theirs.squares).for_each(|(x, &y)| *x += y);
                mine.norms.clone_from(&theirs.norms);
                if let (Some(mine), Some(theirs)) = (&mut mine.elementwise, &theirs.elementwise) {
                    mine.iter_mut().zip(theirs).for_each(|(x, &y)| *x += y);
                }
            }
        }
        Ok(())
    }
}

/// Results of a moments program: losses; then sums, factors of squared norms and second moments, of gradients and of products.
type Results = (Spec, (Vec<Spec>, Vec<Spec>, Vec<Spec>), (Vec<Spec>, Vec<Spec>, Vec<Spec>));

/// A compiled accumulation of [`Moments`] over minibatches of a fixed size.
#[derive(Debug, Clone)]
pub struct MomentsProgram<T, D> {
    program: Program<T, (Vec<Spec>, Vec<Spec>), D, Results>,
    layout: Layout,
    request: Request,
    n: usize,
    /// Of gradients and of products: how squared norms are put together.
    squares: [Squares; 2],
}

/// Squared norms as sums of products of per-example factors.
#[derive(Debug, Clone, Default)]
struct Squares {
    /// One entry a product: its segment, coefficient, and the positions of its factors.
    products: Vec<(usize, f64, Vec<usize>)>,
    /// All factors, `[n]` each.
    factors: Vec<f64>,
}

impl<T: Real, D: Signature> MomentsProgram<T, D> {
    pub(crate) fn new<P: Signature>(
        loss: &Func<P, D, Spec>,
        n: usize,
        request: Request,
        device: &Device,
    ) -> Result<Self> {
        let one = loss.value_and_grad()?;
        let leaves = specs(loss.params());
        let directions = if request.hvp { leaves.clone() } else { Vec::new() };
        let data = loss.vmap(n)?.data().clone();
        let part = |wanted: bool, shape: &dyn Fn(&Spec) -> Spec| {
            if wanted { leaves.iter().map(shape).collect() } else { Vec::new() }
        };
        let group = |wanted: bool| {
            let sums = part(wanted, &Spec::clone);
            (sums, Vec::new(), part(wanted && request.elementwise, &Spec::clone))
        };
        let mut results: Results = (Spec::real([n]), group(request.gradient), group(request.hvp));
        let mut squares = [Squares::default(), Squares::default()];
        let count = leaves.len();
        // One example: value, gradient, and their tangents along v.
        let pair = (leaves.clone(), directions);
        let single = one.rebuild(pair.clone(), one.data().clone(), Vec::<Spec>::new(), |tape, params, data| {
            let inputs = [&params[..count], &data].concat();
            let along = (0..count).map(|at| params.get(count + at).copied());
            let tangents: Vec<_> = along.chain(data.iter().map(|_| None)).collect();
            let (mut outputs, moved) = jvp(one.graph(), tape, &inputs, &tangents);
            if request.hvp {
                let zero = |at: usize| tape.full(outputs[at].shape(), 0.0);
                let products: Vec<_> = (1..=count).map(|at| moved[at].unwrap_or_else(|| zero(at))).collect();
                outputs.extend(products);
            }
            outputs
        })?;
        let func = single.rebuild(pair, data, results.clone(), |tape, params, data| {
            let batched: Vec<bool> = params.iter().map(|_| false).chain(data.iter().map(|_| true)).collect();
            let each = vmap(single.graph(), tape, &[params, data].concat(), &batched, n);
            let outer = outer_products(tape);
            let mut results = vec![each[0]];
            let parts = [(request.gradient, 1), (request.hvp, 1 + count)];
            for ((wanted, from), squares) in parts.into_iter().zip(&mut squares) {
                if wanted {
                    let vectors = &each[from..from + count];
                    let vectors: Vec<Vectors<'_>> = vectors.iter().map(|&x| Vectors::new(x, &outer)).collect();
                    results.extend(vectors.iter().zip(&leaves).map(|(x, leaf)| x.sum(&leaf.shape)));
                    results.extend(squares.collect(&vectors, n));
                    if request.elementwise {
                        results.extend(vectors.iter().zip(&leaves).map(|(x, leaf)| x.elementwise(&leaf.shape)));
                    }
                }
            }
            results
        })?;
        let factors = |squares: &Squares| vec![Spec::real([n]); squares.factors.len() / n];
        (results.1.1, results.2.1) = (factors(&squares[0]), factors(&squares[1]));
        // Losses and factors of norms are wanted in f64.
        let wide =
            |path: &str| path == "result.0" || path.starts_with("result.1.1.") || path.starts_with("result.2.1.");
        let func = func.with_outputs(results).wide(wide)?;
        Ok(MomentsProgram {
            program: func.compile(device)?,
            layout: Layout::of(loss.params(), "params"),
            squares,
            request,
            n,
        })
    }

    /// Moments of no examples, with the memory that a run needs.
    pub fn moments(&self) -> Moments<T> {
        let mut moments = Moments::empty(self.layout.clone(), self.request);
        moments.losses = vec![0.0; self.n];
        moments.gradient.iter_mut().chain(&mut moments.hvp).for_each(|sums| sums.norms = vec![0.0; self.n]);
        moments
    }

    /// Bytes alive during a run.
    pub fn peak_bytes(&self) -> usize {
        self.program.peak_bytes() + 8 * self.squares.iter().map(|s| s.factors.len()).sum::<usize>()
    }

    /// Floating-point operations of one run.
    pub fn flop(&self) -> u64 {
        self.program.flop()
    }

    /// The moments of one minibatch at flat parameters, along a flat direction if products were asked for; `into` is overwritten.
    ///
    /// # Errors
    /// A direction missing or not asked for, buffers of wrong lengths, an index out of range; `into` may then be overwritten in part.
    pub fn run(&mut self, params: &[T], along: Option<&[T]>, batch: &Batch<T>, into: &mut Moments<T>) -> Result<()> {
        if along.is_some() != self.request.hvp {
            let why = "a direction is given exactly when Hessian-vector products are requested";
            return Err(Error::State(why.into()));
        }
        let n = self.n;
        let asked = |sums: &Option<Sums<T>>, wanted: bool| match sums {
            Some(sums) => wanted && sums.elementwise.is_some() == self.request.elementwise,
            None => !wanted,
        };
        let fits = asked(&into.gradient, self.request.gradient) && asked(&into.hvp, self.request.hvp);
        if into.layout != self.layout || !fits {
            return Err(Error::State("these moments are of other parameters or were requested differently".into()));
        }
        into.losses.resize(n, 0.0);
        into.gradient.iter_mut().chain(&mut into.hvp).for_each(|sums| sums.norms.resize(n, 0.0));
        let mut outputs: [Out<'_, T>; 7] = std::array::from_fn(|_| Out::Real(&mut []));
        let mut used = 0;
        let mut push = |out| {
            outputs[used] = out;
            used += 1;
        };
        push(Out::Wide(&mut into.losses));
        for (sums, squares) in [&mut into.gradient, &mut into.hvp].into_iter().zip(&mut self.squares) {
            if let Some(sums) = sums {
                push(Out::Real(&mut sums.sum));
                push(Out::Wide(&mut squares.factors));
                if let Some(elementwise) = &mut sums.elementwise {
                    push(Out::Real(elementwise));
                }
            }
        }
        let (program, outputs) = (&mut self.program, &mut outputs[..used]);
        match along {
            Some(v) => batch.feed([In::Real(params), In::Real(v)], |inputs| program.run_flat(inputs, outputs))?,
            None => batch.feed([In::Real(params)], |inputs| program.run_flat(inputs, outputs))?,
        }
        into.count = n;
        into.loss_mean = into.losses.iter().sum::<f64>() / n as f64;
        into.loss_m2 = into.losses.iter().map(|l| (l - into.loss_mean).powi(2)).sum();
        for (sums, squares) in [&mut into.gradient, &mut into.hvp].into_iter().zip(&self.squares) {
            if let Some(sums) = sums {
                squares.put_together(n, sums);
            }
        }
        Ok(())
    }
}

impl Squares {
    /// Notes how the squared norms of all segments are made, and returns the factors, each once.
    fn collect<'t>(&mut self, vectors: &[Vectors<'t>], n: usize) -> Vec<Expr<'t>> {
        let mut factors: Vec<Expr<'t>> = Vec::new();
        for (segment, x) in vectors.iter().enumerate() {
            for Square { coef, factors: parts } in x.norms() {
                let mut place = |part: Expr<'t>| {
                    factors.iter().position(|f| f.var == part.var).unwrap_or_else(|| {
                        factors.push(part);
                        factors.len() - 1
                    })
                };
                let places = parts.into_iter().map(&mut place).collect();
                self.products.push((segment, coef, places));
            }
        }
        self.factors = vec![0.0; n * factors.len()];
        factors
    }

    fn put_together<T>(&self, n: usize, sums: &mut Sums<T>) {
        sums.norms.fill(0.0);
        sums.squares.fill(0.0);
        for (segment, coef, factors) in &self.products {
            for (i, norm) in sums.norms.iter_mut().enumerate() {
                let product = coef * factors.iter().map(|f| self.factors[f * n + i]).product::<f64>();
                *norm += product;
                sums.squares[*segment] += product;
            }
        }
    }
}
