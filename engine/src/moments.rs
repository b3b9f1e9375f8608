//! Per-example statistics of a minibatch: a monoid of counts, sums and sums of squares.
//!
//! What a minibatch yields is a sum over its examples, so chunks, minibatches and processes are merged by adding. The variance is
//! formed at the end, unbiased: `M₂/(n − 1)` with `M₂ = max(0, Σᵢ‖gᵢ‖² − ‖Σᵢgᵢ‖²/n)`, divided by the number of parameters.

use osculate_kernels::{Real, dot, dots};
use rayon::prelude::*;

use crate::tree::{Layout, Segment};
use crate::{Error, Request, Result};

/// A number of every example in every segment of the layout, in the order in which examples were added.
#[derive(Debug, Clone, PartialEq)]
pub struct PerExample {
    segments: usize,
    pub(crate) values: Vec<f64>,
}

impl PerExample {
    fn new(segments: usize) -> PerExample {
        PerExample { segments, values: Vec::new() }
    }

    /// Number of examples (0 if the numbers were not asked for).
    pub fn count(&self) -> usize {
        self.values.len() / self.segments.max(1)
    }

    /// Those of one example, one a segment; none if there is no such example.
    pub fn example(&self, index: usize) -> &[f64] {
        let from = index.saturating_mul(self.segments);
        self.values.get(from..from.saturating_add(self.segments)).unwrap_or(&[])
    }

    /// Unbiased variance over examples of the sum over segments.
    ///
    /// # Errors
    /// Fewer than two examples.
    pub fn variance(&self) -> Result<f64> {
        let n = self.count();
        if n < 2 {
            return Err(Error::Count { what: "inner products", count: n });
        }
        let totals = || self.values.chunks(self.segments.max(1)).map(|of| of.iter().sum::<f64>());
        let mean = totals().sum::<f64>() / n as f64;
        Ok(totals().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1) as f64)
    }

    /// The sum over segments of every example.
    pub fn totals(&self) -> Vec<f64> {
        self.values.chunks(self.segments.max(1)).map(|of| of.iter().sum()).collect()
    }
}

/// Inner products of every example's gradient g and Hessian-vector product Hv, and the direction v.
#[derive(Debug, Clone, PartialEq)]
pub struct Inner {
    /// ⟨g, v⟩: the derivative of the loss along v, by segments (if gradients were asked for).
    pub slopes: PerExample,
    /// ⟨g, Hv⟩ (if both were asked for).
    pub crossings: PerExample,
    /// ⟨v, Hv⟩: the second derivative along v, by segments (if products were asked for).
    pub curvatures: PerExample,
}

impl Inner {
    fn all(&mut self) -> [&mut PerExample; 3] {
        [&mut self.slopes, &mut self.crossings, &mut self.curvatures]
    }
}

/// Sums over examples of one vector an example.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums<T> {
    /// Σᵢ xᵢ, `[D]`, in the layout of the parameters.
    pub sum: Vec<T>,
    /// Σᵢ ‖xᵢ‖² of every segment of the layout (0 if variances were not asked for).
    pub squares: Vec<f64>,
    /// ‖xᵢ‖² of every example (none if variances were not asked for).
    pub norms: PerExample,
    /// Σᵢ (xᵢ − x̄)² about the mean, `[D]`, if asked for.
    pub deviations: Option<Vec<T>>,
}

impl<T: Real> Sums<T> {
    /// Deviations about the mean of all, before sums are added: those about either mean, and of the means from each other (Chan, Golub and
    /// LeVeque 1979).
    fn join_deviations(&mut self, other: &Sums<T>, [mine, theirs]: [usize; 2]) {
        let (Some(to), Some(from)) = (&mut self.deviations, &other.deviations) else { return };
        if mine == 0 || theirs == 0 {
            return add(to, from);
        }
        let (a, b) = (mine as f64, theirs as f64);
        let (ours, others) = (1.0 / a, 1.0 / b);
        let between = a * b / (a + b);
        let one = |((to, &from), (&x, &y)): ((&mut T, &T), (&T, &T))| {
            let gap = x.to_f64() * ours - y.to_f64() * others;
            *to = T::from_f64((*to).to_f64() + from.to_f64() + gap * gap * between);
        };
        let sums = self.sum.par_iter().zip(&other.sum);
        to.par_iter_mut().zip(from).zip(sums).with_min_len(SHARED / 4).for_each(one);
    }
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
    pub(crate) layout: Layout,
    pub(crate) request: Request,
    pub(crate) count: usize,
    loss_mean: f64,
    /// Σᵢ (lossᵢ − mean)².
    loss_m2: f64,
    pub(crate) losses: Vec<f64>,
    pub(crate) gradient: Option<Sums<T>>,
    pub(crate) hvp: Option<Sums<T>>,
    pub(crate) inner: Option<Inner>,
}

impl<T: Real> Moments<T> {
    /// Those of no examples.
    pub fn empty(layout: Layout, request: Request) -> Moments<T> {
        let (d, segments) = (layout.len(), layout.segments().len());
        let none = || PerExample::new(segments);
        let sums = || Sums {
            sum: vec![T::zero(); d],
            squares: vec![0.0; segments],
            norms: none(),
            deviations: request.elementwise.then(|| vec![T::zero(); d]),
        };
        Moments {
            request,
            count: 0,
            loss_mean: 0.0,
            loss_m2: 0.0,
            losses: Vec::new(),
            gradient: request.gradient.then(sums),
            hvp: request.hvp.then(sums),
            inner: request.inner.then(|| Inner { slopes: none(), crossings: none(), curvatures: none() }),
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

    /// Losses of the examples, in the order in which they were added.
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

    /// Inner products of every example.
    ///
    /// # Errors
    /// They were not asked for.
    pub fn inner(&self) -> Result<&Inner> {
        self.inner.as_ref().ok_or_else(|| Error::State("inner products were not requested".into()))
    }

    /// Dimension-averaged variance of one example's gradient.
    ///
    /// # Errors
    /// Fewer than two examples, or gradients not asked for.
    pub fn gradient_variance(&self) -> Result<Variance> {
        let sums = self.gradient()?;
        self.variance("the gradient", sums, squared(&sums.sum))
    }

    /// Dimension-averaged variance of one example's Hessian-vector product.
    ///
    /// # Errors
    /// Fewer than two examples, or products not asked for.
    pub fn hvp_variance(&self) -> Result<Variance> {
        let sums = self.hvp()?;
        self.variance("the Hv product", sums, squared(&sums.sum))
    }

    /// The same with the inner product of a vector `[D]` and the sum of the products, in one pass: along v it is n times the mean of vᵀHv.
    ///
    /// # Errors
    /// Fewer than two examples, products not asked for, or a vector of another length.
    pub fn hvp_variance_along(&self, vector: &[T]) -> Result<(Variance, f64)> {
        let sums = self.hvp()?;
        if vector.len() != sums.sum.len() {
            let (got, want) = (vector.len(), sums.sum.len());
            return Err(osculate_kernels::Error::Length { what: "vector", index: 0, got, want }.into());
        }
        let [squared, along] = dots([[&sums.sum[..], &sums.sum], [&sums.sum, vector]]);
        Ok((self.variance("the Hv product", sums, robust(&sums.sum, squared))?, along))
    }

    /// The same of every segment of the layout, averaged over its own coordinates.
    ///
    /// # Errors
    /// Fewer than two examples, or variances of gradients not asked for.
    pub fn gradient_variances(&self) -> Result<Vec<Variance>> {
        self.variances("the gradient", self.gradient()?)
    }

    /// The same of every segment of the layout, averaged over its own coordinates.
    ///
    /// # Errors
    /// Fewer than two examples, or variances of products not asked for.
    pub fn hvp_variances(&self) -> Result<Vec<Variance>> {
        self.variances("the Hv product", self.hvp()?)
    }

    /// Unbiased variance of every coordinate of one example's gradient, `[D]`; its amplification is the coordinate's root mean square over
    /// its deviation.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Examples, Func, Request};
    /// // loss w·x: the gradient is x, here a large mean and a small deviation
    /// let loss = Func::trace(spec([2]), spec([2]), |_, w, x| w.dot(x))?;
    /// let x = Array::new([3, 2], vec![10000.0f32, 5.0, 10001.0, 5.0, 10002.0, 5.0])?;
    /// let data = Examples::new(spec([2]), x)?.all()?;
    /// let mut program = loss.moments::<f32>(3, Request::gradient().and_elementwise(), &Device::cpu())?;
    /// let mut moments = program.moments();
    /// program.run(&[0.0, 0.0], None, &data, &mut moments)?;
    /// let variances = moments.gradient_elementwise_variance()?;
    /// assert_eq!((variances[0].value, variances[0].trusted), (1.0, true));
    /// // All alike: no deviation is seen, and whether there is one that f32 cannot hold is not known.
    /// assert_eq!((variances[1].value, variances[1].trusted), (0.0, false));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fewer than two examples, or deviations of coordinates not asked for.
    pub fn gradient_elementwise_variance(&self) -> Result<Vec<Variance>> {
        self.elementwise("the gradient", self.gradient()?)
    }

    /// Unbiased variance of every coordinate of one example's Hessian-vector product, `[D]`, as
    /// [`gradient_elementwise_variance`](Moments::gradient_elementwise_variance) has it.
    ///
    /// # Errors
    /// Fewer than two examples, or deviations of coordinates not asked for.
    pub fn hvp_elementwise_variance(&self) -> Result<Vec<Variance>> {
        self.elementwise("the Hv product", self.hvp()?)
    }

    /// Of all parameters, with the squared norm of the sum.
    fn variance(&self, what: &'static str, sums: &Sums<T>, squared: f64) -> Result<Variance> {
        self.needs_two(what)?;
        self.needs_squares(what)?;
        Ok(self.spread(sums.squares.iter().sum(), squared, &sums.sum))
    }

    fn variances(&self, what: &'static str, sums: &Sums<T>) -> Result<Vec<Variance>> {
        self.needs_two(what)?;
        self.needs_squares(what)?;
        let segments = self.layout.segments().iter().zip(&sums.squares);
        let spread = |(segment, &total): (&Segment, &f64)| {
            let sum = &sums.sum[segment.range()];
            self.spread(total, squared(sum), sum)
        };
        Ok(segments.map(spread).collect())
    }

    fn elementwise(&self, what: &'static str, sums: &Sums<T>) -> Result<Vec<Variance>> {
        self.needs_two(what)?;
        let Some(deviations) = &sums.deviations else {
            return Err(Error::State(format!("the deviations of {what}'s coordinates were not requested")));
        };
        let n = self.count as f64;
        // Squares of smaller deviations are not normal numbers.
        let least = T::min_positive_value().to_f64() / T::epsilon().to_f64();
        let one = |(&m2, &sum): (&T, &T)| {
            let (m2, sum) = (m2.to_f64(), sum.to_f64());
            let nothing = m2 == 0.0 && sum == 0.0;
            let amplification = if nothing { 1.0 } else { (1.0 + sum * sum / n / m2).sqrt() };
            let trusted = m2.is_finite() && amplification * unit::<T>() <= 1e-2 && (m2 >= least || nothing);
            Variance { value: m2 / (n - 1.0), amplification, trusted }
        };
        Ok(deviations.iter().zip(&sums.sum).map(one).collect())
    }

    /// The variance that a sum of squared norms and the squared norm of the sum of vectors make.
    fn spread(&self, total: f64, squared: f64, sum: &[T]) -> Variance {
        let (n, len) = (self.count as f64, sum.len() as f64);
        let m2 = if squared == f64::INFINITY { f64::NAN } else { positive(total - squared / n) };
        let amplification = if total == 0.0 { 1.0 } else { total / m2 };
        // Smaller vectors have lost digits, or their squares have.
        let normal = T::min_positive_value().to_f64();
        let least = n * len * (normal * normal).max(f64::MIN_POSITIVE / f64::EPSILON);
        let held = total >= least || (total == 0.0 && sum.iter().all(|x| x.is_zero()));
        let trusted = m2.is_finite() && held && amplification * unit::<T>() <= 1e-2;
        Variance { value: m2 / (n - 1.0) / len, amplification, trusted }
    }

    fn needs_squares(&self, what: &str) -> Result<()> {
        if self.request.variances {
            return Ok(());
        }
        Err(Error::State(format!("the variance of {what} was not requested")))
    }

    fn needs_two(&self, what: &'static str) -> Result<()> {
        if self.count < 2 { Err(Error::Count { what, count: self.count }) } else { Ok(()) }
    }

    /// Whether every sum is a number.
    pub fn is_finite(&self) -> bool {
        let finite = |sums: &Option<Sums<T>>| {
            sums.as_ref().is_none_or(|s| {
                s.squares.iter().all(|q| q.is_finite())
                    && osculate_kernels::finite(&s.sum)
                    && s.deviations.as_deref().is_none_or(osculate_kernels::finite)
            })
        };
        let inner = self.inner.iter().flat_map(|i| [&i.slopes, &i.crossings, &i.curvatures]);
        let mut numbers = inner.flat_map(|numbers| &numbers.values);
        let losses = self.loss_mean.is_finite() && self.loss_m2.is_finite();
        losses && finite(&self.gradient) && finite(&self.hvp) && numbers.all(|x| x.is_finite())
    }

    /// Adds the statistics of other examples, after those that are here.
    ///
    /// # Errors
    /// They are of other parameters, or were asked for differently.
    pub fn merge(&mut self, other: &Moments<T>) -> Result<()> {
        if self.layout != other.layout || self.request != other.request {
            return Err(Error::State("moments of different parameters or requests cannot be merged".into()));
        }
        let counts = [self.count, other.count];
        self.join_losses(other);
        for (mine, theirs) in [(&mut self.gradient, &other.gradient), (&mut self.hvp, &other.hvp)] {
            if let (Some(mine), Some(theirs)) = (mine, theirs) {
                mine.join_deviations(theirs, counts);
                add(&mut mine.sum, &theirs.sum);
                mine.squares.iter_mut().zip(&theirs.squares).for_each(|(x, &y)| *x += y);
                mine.norms.values.extend_from_slice(&theirs.norms.values);
            }
        }
        if let (Some(mine), Some(theirs)) = (&mut self.inner, &other.inner) {
            for (mine, theirs) in mine.all().into_iter().zip([&theirs.slopes, &theirs.crossings, &theirs.curvatures]) {
                mine.values.extend_from_slice(&theirs.values);
            }
        }
        Ok(())
    }

    /// Adds the losses of other examples.
    pub(crate) fn join_losses(&mut self, other: &Moments<T>) {
        if other.count == 0 {
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let gap = other.loss_mean - self.loss_mean;
        self.loss_mean += gap * b / (a + b);
        self.loss_m2 += other.loss_m2 + gap * gap * a * b / (a + b);
        self.count += other.count;
        self.losses.extend_from_slice(&other.losses);
    }

    /// Forgets all examples, keeping the memory.
    pub fn clear(&mut self) {
        (self.count, self.loss_mean, self.loss_m2) = (0, 0.0, 0.0);
        self.losses.clear();
        for sums in self.gradient.iter_mut().chain(&mut self.hvp) {
            sums.sum.fill(T::zero());
            sums.squares.fill(0.0);
            sums.norms.values.clear();
            sums.deviations.iter_mut().for_each(|d| d.fill(T::zero()));
        }
        self.inner.iter_mut().flat_map(Inner::all).for_each(|numbers| numbers.values.clear());
    }

    /// Bytes of those of `n` examples.
    pub(crate) fn bytes(layout: &Layout, request: Request, n: usize) -> usize {
        let (d, segments) = (layout.len().saturating_mul(size_of::<T>()), layout.segments().len());
        let whole = |flags: &[bool]| flags.iter().filter(|&&flag| flag).count();
        let Request { gradient, hvp, variances, elementwise, inner, .. } = request;
        let vectors = whole(&[gradient, hvp]);
        let inners = whole(&[inner && gradient, inner && gradient && hvp, inner && hvp]);
        let numbers = if variances { vectors } else { 0 } + inners;
        let per_example = n.saturating_mul(1 + numbers * segments).saturating_add(vectors * segments).saturating_mul(8);
        (vectors * if elementwise { 2 } else { 1 }).saturating_mul(d).saturating_add(per_example)
    }

    /// Room for `n` examples.
    pub(crate) fn reserve(&mut self, n: usize) {
        // What there is no room for cannot come: a minibatch of so many has more numbers.
        self.losses.try_reserve_exact(n.saturating_sub(self.losses.len())).ok();
        let norms = self.gradient.iter_mut().chain(&mut self.hvp).map(|sums| &mut sums.norms);
        let Request { gradient, hvp, variances, .. } = self.request;
        let inner =
            self.inner.iter_mut().flat_map(|inner| inner.all().into_iter().zip([gradient, gradient && hvp, hvp]));
        for (numbers, wanted) in norms.map(|norms| (norms, variances)).chain(inner) {
            if wanted {
                let count = n.saturating_mul(numbers.segments);
                numbers.values.try_reserve_exact(count.saturating_sub(numbers.values.len())).ok();
            }
        }
    }

    /// Count, mean and spread of the losses that are there.
    pub(crate) fn count_losses(&mut self) {
        self.count = self.losses.len();
        self.loss_mean = self.losses.iter().sum::<f64>() / self.count as f64;
        self.loss_m2 = self.losses.iter().map(|l| (l - self.loss_mean).powi(2)).sum();
    }
}

/// The relative error of one rounding.
pub(crate) fn unit<T: Real>() -> f64 {
    T::epsilon().to_f64() / 2.0
}

/// ‖x‖², also of numbers whose squares their type cannot hold.
fn squared<T: Real>(x: &[T]) -> f64 {
    robust(x, dot(x, x))
}

/// ‖x‖² that was added up in the type of the vector, if that could hold the squares; else in f64.
fn robust<T: Real>(x: &[T], squared: f64) -> f64 {
    // Squares that are not normal numbers are still rounded by less than ε times the least normal one.
    let least = x.len() as f64 * T::min_positive_value().to_f64();
    if squared.is_finite() && squared >= least {
        return squared;
    }
    // Side by side, so that no addition waits for the last.
    let (lanes, rest) = x.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for lane in lanes {
        sums.iter_mut().zip(lane).for_each(|(sum, &x)| *sum += x.to_f64() * x.to_f64());
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&x| x.to_f64() * x.to_f64()).sum::<f64>()
}

/// Elements from which threads share a sum of vectors.
const SHARED: usize = 1 << 16;

/// Adds a vector to another of its length.
pub(crate) fn add<T: Real>(to: &mut [T], x: &[T]) {
    let add = |(to, x): (&mut [T], &[T])| to.iter_mut().zip(x).for_each(|(to, &x)| *to += x);
    match to.len() {
        len if len < SHARED => add((to, x)),
        _ => to.par_chunks_mut(SHARED / 4).zip(x.par_chunks(SHARED / 4)).for_each(add),
    }
}

/// What rounding made negative is 0; a NaN stays one, as `max` would not let it.
fn positive(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}
