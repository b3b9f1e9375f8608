//! Elementwise functions of two arguments: one row a function. A row is all there is to add.
//!
//! Sums, products and quotients are primitives of their own: they are linear in their arguments.

use osculate_kernels::{Body, Instr, Real, Scalar2, Simd, math};

use super::{Primitive, all_batched, list, sum};
use crate::expr::IntoExpr;
use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape};

/// A row of the table, by its position.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Binary(usize);

/// A derivative in the user's own algebra, given x, z and y = f(x, z); absent where it is zero everywhere.
type Derivative = for<'t> fn(Expr<'t>, Expr<'t>, Expr<'t>) -> Option<Expr<'t>>;

/// An elementwise function of two arguments: name, value, derivatives.
pub struct Elementwise2 {
    /// Name, as printed and as the method on [`Expr`].
    pub name: &'static str,
    /// Intervals away from kinks and poles, from which tests draw the arguments.
    pub domains: [(f64, f64); 2],
    /// Applies it to expressions.
    pub apply: for<'t> fn(Expr<'t>, Expr<'t>) -> Expr<'t>,
    scalar: &'static Scalar2,
    derivatives: [Derivative; 2],
}

/// All rows of the table of functions of two arguments.
pub fn elementwise2() -> &'static [Elementwise2] {
    TABLE
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident: |$v:ident, $w:ident| $value:expr,
        |$x:pat_param, $z:pat_param, $y:pat_param| [$first:tt, $second:tt], $domains:expr, $wgsl:literal;)*) => {
        /// Values in either type.
        #[allow(non_upper_case_globals)]
        mod scalars {
            use super::*;
            $(pub(super) static $name: Scalar2 = {
                // A closure might not be inlined into the loop, and the loop then not be made of vectors.
                #[inline(always)]
                fn value<T: Real>($v: T, $w: T) -> T {
                    $value
                }
                fn block<T: Real>(simd: Simd, values: &mut [T], others: &[T]) {
                    simd.each2(values, others, value);
                }
                Scalar2 { name: stringify!($name), f32: block::<f32>, f64: block::<f64>, wgsl: $wgsl }
            };)*
        }

        #[allow(unused_variables)] // by one of the derivatives
        static TABLE: &[Elementwise2] = &[$(Elementwise2 {
            name: stringify!($name),
            domains: $domains,
            apply: |x, z| x.$name(z),
            scalar: &scalars::$name,
            derivatives: [
                |$x, $z, $y| binary!(@derivative $first),
                |$x, $z, $y| binary!(@derivative $second),
            ],
        }),*];

        #[allow(non_camel_case_types)]
        enum Row { $($name),* }

        impl<'t> Expr<'t> {
            $($(#[$doc])* #[track_caller] pub fn $name(self, other: impl IntoExpr<'t>) -> Expr<'t> {
                match self.broadcast(other.into_expr(self.tape), stringify!($name)) {
                    Some((x, z)) => self.tape.apply(Binary(Row::$name as usize).into(), &[x, z]),
                    None => self,
                }
            })*
        }
    };
    (@derivative zero) => { None };
    (@derivative $derivative:tt) => { Some($derivative) };
}

/// An expression, but 1 where it is 0: a divisor.
fn nonzero(x: Expr<'_>) -> Expr<'_> {
    x.equal(0.0).select(1.0, x)
}

/// d/dx of y = xᶻ: z xᶻ⁻¹, and 0 where z is 0.
fn power_rule<'t>(x: Expr<'t>, z: Expr<'t>, y: Expr<'t>) -> Expr<'t> {
    match z.constant() {
        Some(0.0) => x.tape.zero(x.shape()),
        Some(1.0) => x.tape.full(x.shape(), 1.0),
        Some(2.0) => 2.0 * x,
        Some(c) => c * x.pow(c - 1.0),
        None => {
            // Of z = 0 as (z y)/x: the next derivative for x has no 0 · x⁻², and the one for z is 1/x.
            let none = z.equal(0.0);
            let quotient = none.select(z, 0.0) * y / (none * x.abs().greater(0.0)).select(x, 1.0);
            none.select(quotient, z * x.pow(none.select(0.0, z - 1.0)))
        }
    }
}

/// ln x where it multiplies xᶻ = y, but 0 where x is 0 or y vanishes.
fn ln_beside<'t>(x: Expr<'t>, y: Expr<'t>) -> Expr<'t> {
    (x.equal(0.0) + y.equal(0.0)).select(1.0, x).ln()
}

/// x − z, but 0 of two equal infinities.
fn apart<'t>(x: Expr<'t>, z: Expr<'t>) -> Expr<'t> {
    let d = x - z;
    d.equal(d).select(d, x.equal(z).select(0.0, d))
}

/// The share in an extremum y of what is beyond another: 1, ½ of a tie, or 0; a NaN if y is one.
fn share<'t>(beyond: Expr<'t>, tie: Expr<'t>, y: Expr<'t>) -> Expr<'t> {
    y.equal(y).select(beyond + 0.5 * tie, y.stop_gradient())
}

binary! {
// name: value, |x, z, y| [derivatives for x and z], intervals to test on, WGSL of x and y
    /// This to a real power, with IEEE's and C99's values at every edge; whole powers known beforehand are faster by [`Expr::powi`].
    ///
    /// A negative number has whole powers alone; its others are NaN. The derivative for the exponent is 0 where this is 0 and the exponent
    /// is not negative, as in JAX. The derivative for this is right to some |ln x| ulp between exponents −1 and 1, since it knows the
    /// exponent less 1 rounded.
    ///
    /// ```
    /// use osculate_engine::{Array, Device, Func, spec};
    /// let f = Func::trace(spec([]), spec([]), |_, x, y| x.pow(y))?;
    /// let mut program = f.compile::<f64>(&Device::cpu())?;
    /// let root = program.run(&Array::scalar(2.0), &Array::scalar(0.5))?;
    /// assert!((root.values()[0] - 2f64.sqrt()).abs() < 1e-15);
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    pow: |v, w| math::pow(v, w), |x, z, y| [{power_rule(x, z, y)}, {y * ln_beside(x, y)}], [(0.3, 3.0), (-2.0, 3.0)], "power(x, y)";
    /// The angle of the point (`other`, this) from the first axis, from −π to π, as C99 has it for zeros and infinities, too.
    ///
    /// Its derivatives do not overflow where they are numbers; of the origin they are 0.
    atan2: |v, w| math::atan2(v, w), |x, z, _| [{z.unit(x) / nonzero(x.hypot(z))}, {-x.unit(z) / nonzero(x.hypot(z))}], [(-3.0, 3.0), (0.3, 3.0)], "atan2(x, y)";
    /// √(x² + z²) of this and another, without overflow; its derivatives are 0 where both are 0.
    hypot: |v, w| math::hypot(v, w), |x, z, _| [{x.unit(z)}, {z.unit(x)}], [(0.3, 3.0), (-3.0, 3.0)], "length(vec2(x, y))";
    /// x/√(x² + z²) of this and another: the first coordinate of the unit vector that points there; 0 where both are 0.
    unit: |v, w| math::unit(v, w), |x, z, y| [{z.unit(x) * (z.unit(x) / nonzero(x.hypot(z)))}, {-(y * z.unit(x)) / nonzero(x.hypot(z))}], [(0.3, 3.0), (-3.0, 3.0)], "x / length(vec2(x, y))";
    /// ln(eˣ + eᶻ) of this and another, without overflow, of infinities, too.
    logaddexp: |v, w| math::logaddexp(v, w), |x, z, _| [{apart(x, z).sigmoid()}, {apart(z, x).sigmoid()}], [(-3.0, 3.0), (-3.0, 3.0)], "max(x, y) + log(1.0 + exp(-abs(x - y)))";
    /// The larger of the two, or a NaN beside one, as numpy.maximum; at ties the derivative is shared evenly.
    maximum: |v, w| if v.is_nan() || v > w { v } else { w }, |x, z, y| [{share(z.less(x), z.equal(x), y)}, {share(x.less(z), x.equal(z), y)}], [(0.0, 1.0), (1.1, 2.0)], "max(x, y)";
    /// The smaller of the two, or a NaN beside one, as numpy.minimum; at ties the derivative is shared evenly.
    minimum: |v, w| if v.is_nan() || v < w { v } else { w }, |x, z, y| [{share(x.less(z), z.equal(x), y)}, {share(z.less(x), x.equal(z), y)}], [(0.0, 1.0), (1.1, 2.0)], "min(x, y)";
    /// The derivative of this order (rounded to a whole number) of [`Expr::digamma`], as scipy.special.polygamma with its arguments exchanged.
    ///
    /// It is a NaN at poles of two signs, and of an order below 0. The error grows with the order, to some order/3 ulp.
    polygamma: |v, n| math::polygamma(n, v), |x, n, _| [{x.polygamma(n + 1.0)}, zero], [(0.3, 4.0), (0.6, 1.4)], "polygamma(x, y)";
    /// How far this lies above `other`: their difference, but 0 where both are the same infinity. Its derivatives are those of the
    /// difference everywhere.
    gap: |v, w| if v == w { T::zero() } else { v - w }, |x, _, _| [{x.tape().full(x.shape(), 1.0)}, {x.tape().full(x.shape(), -1.0)}], [(-3.0, 3.0), (-3.0, 3.0)], "select(x - y, 0.0, x == y)";
}

impl Binary {
    fn row(&self) -> &'static Elementwise2 {
        &TABLE[self.0]
    }
}

impl Primitive for Binary {
    fn text(&self) -> String {
        self.row().name.into()
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        match args {
            [x, z] if x == z && !x.is_index() => Ok(x.clone()),
            _ => Err(format!("both arguments must be reals of one shape, not {}", list(args))),
        }
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        if let (Some(x), Some(z)) = (args[0].constant(), args[1].constant()) {
            let mut folded = [x];
            (self.row().scalar.f64)(Simd::portable(), &mut folded, &[z]);
            if folded[0].is_finite() {
                return tape.full(spec.shape, folded[0]);
            }
        }
        tape.intern(self.clone().into(), args, spec)
    }

    fn jvp<'t>(&self, args: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        let part = |(tangent, derivative): (&Option<Expr<'t>>, &Derivative)| {
            let tangent = (*tangent)?;
            derivative(args[0], args[1], out).map(|d| d.times(tangent))
        };
        let parts: Vec<Expr<'t>> = tangents.iter().zip(&self.row().derivatives).filter_map(part).collect();
        (!parts.is_empty()).then(|| sum(&parts, out.tape))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], batched: &[bool], n: usize) -> Expr<'t> {
        args[0].tape.apply(self.clone().into(), &all_batched(args, batched, n))
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        let body = vec![Instr::Load(0), Instr::Load(1), Instr::Apply2(self.row().scalar, 0, 1)];
        cx.map(Body(body), args, &spec.shape)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("{}({}, {})", self.row().name, args[0], args[1])
    }
}
