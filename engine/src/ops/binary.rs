//! Elementwise functions of two arguments: one row a function. A row is all there is to add.
//!
//! Sums, products and quotients are primitives of their own: they are linear in their arguments.

use osculate_kernels::{Body, Instr, Real, Scalar2, Simd};

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

binary! {
// name: value, |x, z, y| [derivatives for x and z], intervals to test on, WGSL of x and y
    /// The angle of the point (`other`, this) from the first axis, from −π to π.
    atan2: |v, w| v.atan2(w), |x, z, _| [{z / (x * x + z * z)}, {-x / (x * x + z * z)}], [(-3.0, 3.0), (0.3, 3.0)], "atan2(x, y)";
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
