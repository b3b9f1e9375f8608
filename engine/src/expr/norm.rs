//! Lengths of vectors, and spreads about a mean.

use super::Expr;

/// Where squares of numbers of this size are far from the ends of both types' ranges after multiplication by a power of two: the
/// size's bound, whether the size is above it (else below), and the power. The first that fits counts; f64's bounds are 0 or
/// infinite in f32, where they never fit.
const RANGES: [(i32, bool, i32); 4] = [(400, true, -600), (50, true, -100), (-400, false, 600), (-50, false, 100)];

/// `factor` times the power of two by which numbers as large as `most` are to be multiplied before squares are taken (or divided, if
/// `back`).
fn power<'t>(most: Expr<'t>, factor: f64, back: bool) -> Expr<'t> {
    let start = most.tape.full(most.shape(), factor);
    RANGES.iter().rev().fold(start, |otherwise, &(bound, above, power)| {
        let bound = 2f64.powi(bound);
        let fits = if above { most.greater(bound) } else { most.less(bound) };
        fits.select(factor * 2f64.powi(if back { -power } else { power }), otherwise)
    })
}

/// `x` times a power of two, the length of that (whose derivative at 0 is 0), and what makes it the length of `x`.
fn lengths<'t>(x: Expr<'t>, axes: &[usize]) -> (Expr<'t>, Expr<'t>, Expr<'t>) {
    let most = x.stop_gradient().abs().max_axes(axes);
    let scaled = x * power(most, 1.0, false).kept(axes);
    let squares = scaled.square().sum_axes(axes);
    let none = squares.equal(0.0);
    (scaled, none.select(0.0, none.select(1.0, squares).sqrt()), power(most, 1.0, true))
}

/// The same of all elements and one more, `epsilon`.
fn smooth_lengths(x: Expr<'_>, epsilon: f64) -> [Expr<'_>; 3] {
    let most = x.stop_gradient().abs().max().maximum(epsilon);
    let scaled = x * power(most, 1.0, false);
    let squares = scaled.square().sum() + power(most, epsilon, false).square();
    [scaled, squares.sqrt(), power(most, 1.0, true)]
}

impl<'t> Expr<'t> {
    /// The length √Σx² of all elements as one vector (as `numpy.linalg.norm`); its derivative is 0 where it is 0.
    ///
    /// Neither the squares nor their sum overflow or vanish: elements are first multiplied by a power of two chosen by the largest,
    /// which costs one more reading of them. [`smooth_norm`](Expr::smooth_norm) has derivatives of every order everywhere.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([2]), spec([]), |_, w, _| w.norm())?;
    /// let mut f = f.value_and_grad()?.compile::<f32>(&Device::cpu())?;
    /// let (length, gradient) = f.run(&Array::new([2], vec![3e30, 4e30])?, &Array::scalar(0.0))?;
    /// assert!((length.values()[0] / 5e30 - 1.0).abs() < 1e-6);
    /// assert!((gradient.values()[0] - 0.6).abs() < 1e-6);
    /// let (length, gradient) = f.run(&Array::full([2], 0.0), &Array::scalar(0.0))?;
    /// assert_eq!((length.values(), gradient.values()), (&[0.0][..], &[0.0, 0.0][..]));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn norm(self) -> Expr<'t> {
        self.norm_axes(&self.axes())
    }

    /// The length √Σx² over some axes, which go away; see [`norm`](Expr::norm).
    #[track_caller]
    pub fn norm_axes(self, axes: &[usize]) -> Expr<'t> {
        if !self.is_real("norm") || !self.has_axes(axes, "norm") {
            return self;
        }
        self.tape.custom(
            &[self],
            |x| {
                let (_, length, back) = lengths(x[0], axes);
                length * back
            },
            // The unit vector, in which the power of two cancels.
            |x, v| {
                let (scaled, length, _) = lengths(x[0], axes);
                let none = length.equal(0.0);
                let unit = none.kept(axes).select(0.0, scaled / none.select(1.0, length).kept(axes));
                (unit * v[0]).sum_axes(axes)
            },
        )
    }

    /// The smooth length √(Σx² + ε²) of all elements as one vector, ε > 0, with the care of [`norm`](Expr::norm); where they are 0 it
    /// is ε, and its derivatives are those of a paraboloid.
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Func};
    /// let f = Func::trace(spec([2]), spec([]), |_, w, _| w.smooth_norm(0.5))?;
    /// let zero = Array::full([2], 0.0);
    /// let mut hvp = f.hvp()?.compile::<f64>(&Device::cpu())?;
    /// let (gradient, hv) = hvp.run(&(zero, Array::new([2], vec![1.0, 0.0])?), &Array::scalar(0.0))?;
    /// assert_eq!((gradient.values(), hv.values()), (&[0.0, 0.0][..], &[2.0, 0.0][..]));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    #[track_caller]
    pub fn smooth_norm(self, epsilon: f64) -> Expr<'t> {
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return self.fail("smooth_norm", format!("ε is {epsilon}, but above 0 and finite is wanted"));
        }
        if !self.is_real("smooth_norm") {
            return self;
        }
        self.tape.custom(
            &[self],
            |x| {
                let [_, length, back] = smooth_lengths(x[0], epsilon);
                length * back
            },
            |x, v| {
                let [scaled, length, _] = smooth_lengths(x[0], epsilon);
                (scaled / length * v[0]).sum()
            },
        )
    }

    /// The variance of all elements about their mean, divided by their number (as `numpy.var`).
    #[track_caller]
    pub fn var(self) -> Expr<'t> {
        self.var_axes(&self.axes())
    }

    /// The variance over some axes, which go away, divided by the number of elements (as `numpy.var`).
    #[track_caller]
    pub fn var_axes(self, axes: &[usize]) -> Expr<'t> {
        self.centred(axes, "var").square().mean_axes(axes)
    }

    /// The standard deviation of all elements (as `numpy.std`); its derivative is 0 where all are equal.
    #[track_caller]
    pub fn std(self) -> Expr<'t> {
        self.std_axes(&self.axes())
    }

    /// The standard deviation over some axes, which go away (as `numpy.std`); its derivative is 0 where all are equal.
    #[track_caller]
    pub fn std_axes(self, axes: &[usize]) -> Expr<'t> {
        let count: usize = axes.iter().filter_map(|&a| self.shape().get(a).copied()).product();
        self.centred(axes, "std").norm_axes(axes) / (count as f64).sqrt()
    }

    #[track_caller]
    fn centred(self, axes: &[usize], op: &str) -> Expr<'t> {
        if !self.is_real(op) || !self.has_axes(axes, op) {
            return self;
        }
        self - self.mean_axes(axes).kept(axes)
    }
}
