//! What a loop nest does to one element: a few instructions on registers.

use crate::Simd;

/// An elementwise function in every form an executor needs; two are the same when their names are.
pub struct Scalar {
    /// Name, as printed.
    pub name: &'static str,
    /// In place over a block of f32 (see [`Simd::each`]).
    pub f32: fn(Simd, &mut [f32]),
    /// In place over a block of f64.
    pub f64: fn(Simd, &mut [f64]),
    /// WGSL expression of `x`.
    pub wgsl: &'static str,
    /// The same in a few exact instructions, if it is one of those.
    pub inline: Option<Inline>,
}

/// An elementwise function of two arguments in every form an executor needs; two are the same when their names are.
pub struct Scalar2 {
    /// Name, as printed.
    pub name: &'static str,
    /// Of a block of f32, in place of the first argument (see [`Simd::each2`]).
    pub f32: fn(Simd, &mut [f32], &[f32]),
    /// The same of f64.
    pub f64: fn(Simd, &mut [f64], &[f64]),
    /// WGSL expression of `x` and `y`.
    pub wgsl: &'static str,
}

/// Functions that executors compute in registers, to the same bits as [`Scalar::f32`] and [`Scalar::f64`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inline {
    /// √x.
    Sqrt,
    /// 1/√x, rounded twice.
    Rsqrt,
    /// |x|.
    Abs,
    /// x where it is not below or at 0 (NaN is not), else 0.
    Relu,
    /// x where it is not above 0 (NaN is not), else 0.
    Min0,
    /// 1 above 0, NaN for NaN, else 0.
    Step,
    /// 1 above 0, −1 below, NaN for NaN, else 0.
    Sign,
}

macro_rules! by_name {
    ($($type:ident),*) => {$(
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name)
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.name == other.name
            }
        }
    )*};
}
by_name!(Scalar, Scalar2);

/// A comparison of two reals; the result is 1 or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `a < b`
    Less,
    /// `a <= b`
    LessEqual,
    /// `a == b`
    Equal,
}

impl Comparison {
    /// Whether `a` compares to `b` so (false with a NaN on either side).
    #[inline(always)]
    pub fn holds<T: PartialOrd>(self, a: T, b: T) -> bool {
        match self {
            Comparison::Less => a < b,
            Comparison::LessEqual => a <= b,
            Comparison::Equal => a == b,
        }
    }
}

/// One instruction: reads earlier registers (by position in the body) and writes its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Instr {
    /// The element of the nest's n-th input.
    Load(usize),
    /// A constant.
    Const(f64),
    /// An elementwise function of a register.
    Apply(&'static Scalar, usize),
    /// An elementwise function of two registers.
    Apply2(&'static Scalar2, usize, usize),
    /// Sum of two registers.
    Add(usize, usize),
    /// Product of two registers.
    Mul(usize, usize),
    /// Quotient of two registers, rounded once.
    Div(usize, usize),
    /// 1 where the comparison holds, else 0.
    Compare(Comparison, usize, usize),
    /// The second register where the first is not zero, else the third.
    Select(usize, usize, usize),
}

impl Instr {
    /// The registers it reads.
    pub fn reads(&self) -> impl Iterator<Item = usize> + use<> {
        let registers = match *self {
            Instr::Load(_) | Instr::Const(_) => [None; 3],
            Instr::Apply(_, a) => [Some(a), None, None],
            Instr::Add(a, b)
            | Instr::Mul(a, b)
            | Instr::Div(a, b)
            | Instr::Apply2(_, a, b)
            | Instr::Compare(_, a, b) => [Some(a), Some(b), None],
            Instr::Select(a, b, c) => [Some(a), Some(b), Some(c)],
        };
        registers.into_iter().flatten()
    }

    /// The same with registers and inputs by other numbers.
    pub fn renamed(self, register: impl Fn(usize) -> usize, input: impl Fn(usize) -> usize) -> Instr {
        match self {
            Instr::Load(n) => Instr::Load(input(n)),
            Instr::Const(value) => Instr::Const(value),
            Instr::Apply(f, a) => Instr::Apply(f, register(a)),
            Instr::Add(a, b) => Instr::Add(register(a), register(b)),
            Instr::Mul(a, b) => Instr::Mul(register(a), register(b)),
            Instr::Div(a, b) => Instr::Div(register(a), register(b)),
            Instr::Apply2(f, a, b) => Instr::Apply2(f, register(a), register(b)),
            Instr::Compare(how, a, b) => Instr::Compare(how, register(a), register(b)),
            Instr::Select(m, a, b) => Instr::Select(register(m), register(a), register(b)),
        }
    }
}

/// The instructions of a nest; the last register is the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Body(pub Vec<Instr>);

/// Most instructions of a body, functions of two arguments counted twice.
pub(crate) const REGISTERS: usize = 64;

impl Body {
    /// The product of `n` inputs (`n = 1`: a copy; `n = 0`: the constant 1).
    pub fn product(n: usize) -> Body {
        let mut code = vec![if n == 0 { Instr::Const(1.0) } else { Instr::Load(0) }];
        for input in 1..n {
            let so_far = code.len() - 1;
            code.push(Instr::Load(input));
            code.push(Instr::Mul(so_far, so_far + 1));
        }
        Body(code)
    }

    /// The same body with its result multiplied by `scale`.
    pub fn scaled(mut self, scale: f64) -> Body {
        if let (Some(result), true) = (self.0.len().checked_sub(1), scale != 1.0) {
            self.0.push(Instr::Const(scale));
            self.0.push(Instr::Mul(result, result + 1));
        }
        self
    }

    /// Which instructions some results need.
    pub(crate) fn live(&self, results: &[usize]) -> Vec<bool> {
        let mut live = vec![false; self.0.len()];
        results.iter().for_each(|&result| live[result] = true);
        for (at, instr) in self.0.iter().enumerate().rev() {
            if live[at] {
                instr.reads().for_each(|read| live[read] = true);
            }
        }
        live
    }

    /// Room that some of the instructions take, all that are live: one each, two where both arguments are wanted in whole blocks.
    pub(crate) fn room(&self, live: &[bool]) -> usize {
        let each = |instr: &Instr| if matches!(instr, Instr::Apply2(..)) { 2 } else { 1 };
        self.0.iter().zip(live).filter(|&(_, &live)| live).map(|(instr, _)| each(instr)).sum()
    }

    /// Why this body cannot run over `inputs` inputs, if it cannot.
    pub(crate) fn fault(&self, inputs: usize) -> Option<String> {
        let room = self.room(&vec![true; self.0.len()]);
        if room == 0 || room > REGISTERS {
            return Some(format!("a body has 1 to {REGISTERS} instructions, not {room}"));
        }
        for (at, instr) in self.0.iter().enumerate() {
            if let Instr::Load(n) = *instr
                && n >= inputs
            {
                return Some(format!("input {n} of {inputs} is loaded"));
            }
            if let Some(register) = instr.reads().find(|&r| r >= at) {
                return Some(format!("instruction {at} reads register {register}, which is not yet written"));
            }
        }
        None
    }
}
