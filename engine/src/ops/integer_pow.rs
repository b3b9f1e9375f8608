//! `integer_pow`: xⁿ, n whole and neither 0, 1, 2 nor −1 (those are a constant, x, a product and a quotient).
//!
//! | rule | |
//! |---|---|
//! | jvp | n xⁿ⁻¹ ẋ |
//! | batch | the same |
//! | canonical | constants fold |
//!
//! By repeated squaring, of 1/x where n is negative: no power on the way is farther from 1 than the result, so that none
//! overflows or vanishes before it does. Every product rounds, so xⁿ is right to |n| units in the last place.

use osculate_kernels::{Body, Instr};

use super::{Primitive, list};
use crate::plan::{Lowering, Value};
use crate::{Expr, Spec, Tape};

/// The exponent; as each derivative has a lower one, those of users' `i32` must not be the least.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct IntegerPow(i64);

/// xⁿ in its canonical form.
#[track_caller]
pub(crate) fn integer_pow(x: Expr<'_>, n: i64) -> Expr<'_> {
    match n {
        0 => x.tape.full(x.shape(), 1.0),
        1 => x,
        2 => x.times(x),
        -1 => x.recip(),
        n => x.tape.apply(IntegerPow(n).into(), &[x]),
    }
}

impl IntegerPow {
    /// The products that make it.
    fn body(&self) -> Body {
        let mut code = vec![Instr::Load(0)];
        let mut push = |instr| {
            code.push(instr);
            code.len() - 1
        };
        let mut square = 0;
        if self.0 < 0 {
            let one = push(Instr::Const(1.0));
            square = push(Instr::Div(one, 0));
        }
        let mut left = self.0.unsigned_abs();
        let mut result = None;
        loop {
            if left & 1 == 1 {
                result = Some(result.map_or(square, |result| push(Instr::Mul(result, square))));
            }
            left >>= 1;
            if left == 0 {
                break;
            }
            square = push(Instr::Mul(square, square));
        }
        // The last register is the result: of a power of two, the last square.
        Body(code)
    }
}

impl Primitive for IntegerPow {
    fn text(&self) -> String {
        format!("integer_pow[{}]", self.0)
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        match args {
            [x] if !x.is_index() => Ok(x.clone()),
            _ => Err(format!("{} holds indices, not numbers: use one_hot or take", list(args))),
        }
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        match args[0].constant().map(|x| power(x, self.0)) {
            Some(value) if value.is_finite() => tape.full(spec.shape, value),
            _ => tape.intern(self.clone().into(), args, spec),
        }
    }

    fn jvp<'t>(&self, args: &[Expr<'t>], _: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        let slope = integer_pow(args[0], self.0 - 1).scale(self.0 as f64);
        Some(slope.times(tangents[0]?))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0].tape.apply(self.clone().into(), args)
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        cx.map(self.body(), args, &spec.shape)
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!("lax.integer_pow({}, {})", args[0], self.0)
    }
}

/// What the body computes, of a constant.
fn power(x: f64, n: i64) -> f64 {
    let mut square = if n < 0 { 1.0 / x } else { x };
    let (mut left, mut result) = (n.unsigned_abs(), 1.0);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    result
}
