//! Bodies at random, as maps and as sweeps, against one scalar after the other in the same type: to the bit.

use osculate_kernels::{
    Body, Command, Comparison, Cpu, Inline, Instr, Nest, Out, Program, Real, Scalar, Scalar2, Simd, Slot, Sweep, View,
};
use proptest::prelude::*;

/// What a function is, in either type.
macro_rules! scalars {
    ($($name:ident $inline:expr, |$x:ident| $value:expr;)*) => {$(
        static $name: Scalar = Scalar {
            name: stringify!($name),
            f32: |_, values| values.iter_mut().for_each(|v| { let $x = *v; *v = $value }),
            f64: |_, values| values.iter_mut().for_each(|v| { let $x = *v; *v = $value }),
            wgsl: "",
            inline: $inline,
        };
    )*};
}

scalars! {
    SQRT Some(Inline::Sqrt), |x| x.sqrt();
    RSQRT Some(Inline::Rsqrt), |x| 1.0 / x.sqrt();
    ABS Some(Inline::Abs), |x| x.abs();
    RELU Some(Inline::Relu), |x| if x <= 0.0 { 0.0 } else { x };
    MIN0 Some(Inline::Min0), |x| if x > 0.0 { 0.0 } else { x };
    STEP Some(Inline::Step), |x| if x.is_nan() { x } else if x > 0.0 { 1.0 } else { 0.0 };
    SIGN Some(Inline::Sign), |x| if x.is_nan() { x } else if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 };
    SQUASH None, |x| x / (1.0 + x.abs());
}

static FUNCTIONS: [&Scalar; 8] = [&SQRT, &RSQRT, &ABS, &RELU, &MIN0, &STEP, &SIGN, &SQUASH];

static LEAN: Scalar2 = Scalar2 {
    name: "LEAN",
    f32: |simd, x, y| simd.each2(x, y, |x, y| x - 0.5 * y),
    f64: |simd, x, y| simd.each2(x, y, |x, y| x - 0.5 * y),
    wgsl: "",
};

/// Vectors and numbers that bodies load.
const VECTORS: usize = 4;
const NUMBERS: usize = 2;

fn instr(kind: u8, picks: [usize; 3], at: usize) -> Instr {
    let [a, b, c] = picks.map(|pick| pick % at.max(1));
    match kind {
        _ if at == 0 => Instr::Load(picks[0] % (VECTORS + NUMBERS)),
        0..4 => Instr::Load(picks[0] % (VECTORS + NUMBERS)),
        4 => Instr::Const([0.5, -1.0, 0.0, -0.0, 3.0][picks[0] % 5]),
        5..8 => Instr::Apply(FUNCTIONS[picks[1] % 8], a),
        8..13 => Instr::Add(a, b),
        13..18 => Instr::Mul(a, b),
        18 => Instr::Compare(Comparison::Less, a, b),
        19 => Instr::Compare(Comparison::LessEqual, a, b),
        20 => Instr::Compare(Comparison::Equal, a, b),
        21 => Instr::Select(a, b, c),
        // A bound: compared with, and chosen.
        22..24 => Instr::Div(a, b),
        24 => Instr::Apply2(&LEAN, a, b),
        25 => Instr::Compare(Comparison::Less, a, 0),
        _ => Instr::Compare(Comparison::Less, 0, a),
    }
}

fn body(kinds: Vec<(u8, [usize; 3])>) -> Body {
    let mut code: Vec<Instr> = Vec::new();
    for (kind, picks) in kinds {
        code.push(instr(kind, picks, code.len()));
        let last = code.len() - 1;
        if let (Instr::Compare(Comparison::Less, a, b), 25..) = (code[last], kind)
            && code.len() < 40
        {
            // The bound is the first register, a load.
            code.push(if b == 0 { Instr::Select(last, 0, a) } else { Instr::Select(last, 0, b) });
        }
    }
    Body(code)
}

/// Values with ties, zeros of both signs, infinities and NaN among them.
fn values<T: Real>(len: usize, mut seed: u64) -> Vec<T> {
    let mut next = move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as u32
    };
    let special = [0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-30, 1e30];
    (0..len)
        .map(|_| match next() % 40 {
            at @ 0..9 => T::from_f64(special[at as usize]),
            _ => T::from_f64(f64::from(next()) / f64::from(u32::MAX / 8) - 2.0),
        })
        .collect()
}

/// One element, one scalar after the other.
fn eval<T: Real>(body: &Body, load: impl Fn(usize) -> T) -> Vec<T> {
    let mut registers: Vec<T> = Vec::new();
    let truth = |holds: bool| if holds { T::one() } else { T::zero() };
    for instr in &body.0 {
        registers.push(match *instr {
            Instr::Load(input) => load(input),
            Instr::Const(value) => T::from_f64(value),
            Instr::Apply(scalar, a) => {
                let mut value = [registers[a]];
                T::apply(scalar, Simd::portable(), &mut value);
                value[0]
            }
            Instr::Add(a, b) => registers[a] + registers[b],
            Instr::Apply2(scalar, a, b) => {
                let mut value = [registers[a]];
                T::apply2(scalar, Simd::portable(), &mut value, &[registers[b]]);
                value[0]
            }
            Instr::Mul(a, b) => registers[a] * registers[b],
            Instr::Div(a, b) => registers[a] / registers[b],
            Instr::Compare(how, a, b) => truth(how.holds(registers[a], registers[b])),
            Instr::Select(mask, a, b) => registers[if registers[mask] != T::zero() { a } else { b }],
        });
    }
    registers
}

fn same<T: Real>(a: T, b: T) -> bool {
    (a.is_nan() && b.is_nan()) || a.to_f64().to_bits() == b.to_f64().to_bits()
}

/// A sum with what its additions lose added in the end.
fn exactly(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0);
    for value in values {
        let next = sum + value;
        let (large, small) = if sum.abs() >= value.abs() { (sum, value) } else { (value, sum) };
        lost += (large - next) + small;
        sum = next;
    }
    sum + lost
}

fn check<T: Real>(body: &Body, picks: &[usize], len: usize, seed: u64) -> Result<(), String> {
    let vectors: Vec<Vec<T>> = (0..VECTORS as u64).map(|v| values(len, seed ^ (v << 7))).collect();
    let numbers: Vec<T> = values(NUMBERS, seed ^ 99);
    let want: Vec<Vec<T>> = (0..len)
        .map(|at| eval(body, |input| if input < VECTORS { vectors[input][at] } else { numbers[input - VECTORS] }))
        .collect();
    // Registers that are results, the last one among them, in the order of the vectors that they replace.
    let results: Vec<usize> = picks.iter().map(|pick| pick % body.0.len()).chain([body.0.len() - 1]).collect();
    let program = |len: usize| {
        let mut slots = vec![Slot::Input(NUMBERS)];
        slots.extend(vec![Slot::Input(len); VECTORS]);
        slots.push(Slot::Output { len: results.len() * len, wide: false });
        let inputs: Vec<View> = (0..VECTORS)
            .map(|v| View::new(v + 1, 0, &[1]))
            .chain((0..NUMBERS).map(|n| View::new(0, n, &[0])))
            .collect();
        let map = |(at, &result): (usize, &usize)| {
            let out = View::new(VECTORS + 1, at * len, &[1]);
            Command::Map(Nest { dims: vec![len], body: Body(body.0[..=result].to_vec()), inputs: inputs.clone(), out })
        };
        Program::new(slots, results.iter().enumerate().map(map).collect()).map_err(|e| e.to_string())
    };
    let mut added: Option<Vec<f64>> = None;
    for simd in Simd::available() {
        let mut got = vec![T::zero(); results.len() * len];
        let mut inputs: Vec<&[T]> = vec![&numbers];
        inputs.extend(vectors.iter().map(|v| &v[..]));
        let run = Cpu::with(program(len)?, 2, simd).run(&inputs, &mut [Out::Real(&mut got)]);
        run.map_err(|e| e.to_string())?;
        let mut swept = vectors.clone();
        let (replaced, read) = swept.split_at_mut(results.len());
        let mut replaced: Vec<&mut [T]> = replaced.iter_mut().map(|v| &mut v[..]).collect();
        let read: Vec<&[T]> = read.iter().map(|v| &v[..]).collect();
        let mut sweep = Sweep::new(&program(2)?, results.len(), simd).map_err(|e| e.to_string())?;
        sweep.run(&numbers, &mut replaced, &read).map_err(|e| e.to_string())?;
        // The same results, but the first alone replaces a vector; the others are added up.
        let mut first = vectors.clone();
        let (replaced, read) = first.split_at_mut(1);
        let read: Vec<&[T]> = read.iter().map(|v| &v[..]).collect();
        let mut sweep = Sweep::new(&program(2)?, 1, simd).map_err(|e| e.to_string())?;
        let sums = sweep.run(&numbers, &mut [&mut replaced[0]], &read).map_err(|e| e.to_string())?;
        for (&result, &sum) in results[1..].iter().zip(sums) {
            let values = || want.iter().map(|registers| registers[result].to_f64());
            let (exact, size) = (exactly(values()), values().map(f64::abs).sum::<f64>());
            let fits = size < T::max_value().to_f64();
            let near = (sum - exact).abs() <= 32.0 * T::epsilon().to_f64() * size;
            // What is not finite stays so; what overflows on the way may.
            if if fits { !near } else { !values().all(f64::is_finite) && sum.is_finite() } {
                return Err(format!("{simd}, a sum of {len}: {sum}, not {exact}"));
            }
        }
        // With every set, the same bits.
        let before = added.get_or_insert_with(|| sums.to_vec());
        if before.iter().zip(sums).any(|(&a, &b)| !same(a, b)) {
            return Err(format!("{simd}: sums {sums:?}, not {before:?}"));
        }
        if (0..len).any(|at| !same(first[0][at], swept[0][at])) || sums.len() != results.len() - 1 {
            return Err(format!("{simd}: sums change what is replaced"));
        }
        for at in 0..len {
            for (k, &result) in results.iter().enumerate() {
                let (want, map, swept) = (want[at][result], got[k * len + at], swept[k][at]);
                if !same(want, map) || !same(want, swept) {
                    return Err(format!("{simd}, result {k}, element {at}: {map} and {swept}, not {want}"));
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bodies_at_random(
        kinds in prop::collection::vec((0u8..27, prop::array::uniform3(any::<usize>())), 1..38),
        picks in prop::collection::vec(any::<usize>(), 0..3),
        len in prop_oneof![1usize..40, Just(127), Just(1023), Just(1024), Just(1025), 1000usize..2200],
        seed in any::<u64>(),
    ) {
        let body = body(kinds);
        check::<f32>(&body, &picks, len, seed).map_err(|e| TestCaseError::fail(format!("f32 {e}: {body:?}")))?;
        check::<f64>(&body, &picks, len, seed).map_err(|e| TestCaseError::fail(format!("f64 {e}: {body:?}")))?;
    }
}

#[test]
fn vectors_trade_places() {
    // x ← y, y ← x, and z ← x + y of the old ones.
    let load = |n: usize| View::new(n + 1, 0, &[1]);
    let map = |body: Vec<Instr>, inputs: Vec<View>, at: usize| {
        Command::Map(Nest { dims: vec![2], body: Body(body), inputs, out: View::new(4, 2 * at, &[1]) })
    };
    let commands = vec![
        map(vec![Instr::Load(0)], vec![load(1)], 0),
        map(vec![Instr::Load(0)], vec![load(0)], 1),
        map(vec![Instr::Load(0), Instr::Load(1), Instr::Add(0, 1)], vec![load(0), load(1)], 2),
    ];
    let mut slots = vec![Slot::Input(0)];
    slots.extend(vec![Slot::Input(2); 3]);
    slots.push(Slot::Output { len: 6, wide: false });
    let program = Program::new(slots, commands).expect("a program");
    let mut sweep = Sweep::new(&program, 3, Simd::best()).expect("a sweep");
    let (mut x, mut y, mut z) = (vec![1.0; 37], vec![2.0; 37], vec![0.0; 37]);
    sweep.run(&[], &mut [&mut x, &mut y, &mut z], &[]).expect("a run");
    assert!(x.iter().all(|&v| v == 2.0) && y.iter().all(|&v| v == 1.0) && z.iter().all(|&v| v == 3.0));
}

#[test]
fn what_is_no_sweep_is_refused() {
    let slots = |out: usize| vec![Slot::Input(1), Slot::Input(2), Slot::Output { len: out, wide: false }];
    let nest = |dims: &[usize], input: View, out: View| Nest {
        dims: dims.to_vec(),
        body: Body::product(1),
        inputs: vec![input],
        out,
    };
    let refused = |out: usize, command: Command| {
        let program = Program::new(slots(out), vec![command]).expect("a program");
        Sweep::<f32>::new(&program, 1, Simd::best()).expect_err("no sweep").to_string()
    };
    // A vector backwards or in part, a sum, a result of another length.
    let copy = |input: View, out: View| Command::Map(nest(&[2], input, out));
    assert!(refused(2, copy(View::new(1, 1, &[0]), View::new(2, 0, &[1]))).contains("known"));
    assert!(refused(2, copy(View::new(1, 0, &[0]), View::new(2, 0, &[1]))).contains("known"));
    assert!(refused(4, copy(View::new(1, 0, &[1]), View::new(2, 0, &[2]))).contains("written whole"));
    let sum = Command::Reduce {
        nest: nest(&[], View::new(1, 0, &[1]), View::new(2, 0, &[])),
        over: vec![2],
        fold: osculate_kernels::Fold::Sum,
        scale: 1.0,
    };
    assert!(refused(2, sum).contains("elementwise"));
    // A vector of which a part is written anew is no longer what it was.
    let one = Nest { dims: vec![1], body: Body(vec![Instr::Const(7.0)]), inputs: vec![], out: View::new(2, 1, &[1]) };
    let commands = vec![copy(View::new(1, 0, &[1]), View::new(2, 0, &[1])), Command::Map(one)];
    let program = Program::new(slots(2), commands).expect("a program");
    assert!(Sweep::<f32>::new(&program, 1, Simd::best()).is_err());
    // f64 whatever the type.
    let wide = vec![Slot::Input(1), Slot::Input(2), Slot::Output { len: 2, wide: true }];
    let program = Program::new(wide, vec![copy(View::new(1, 0, &[1]), View::new(2, 0, &[1]))]).expect("a program");
    assert!(Sweep::<f32>::new(&program, 1, Simd::best()).is_err());
    // Wrong lengths change nothing.
    let program = Program::new(slots(2), vec![copy(View::new(1, 0, &[1]), View::new(2, 0, &[1]))]).expect("a program");
    let mut sweep = Sweep::new(&program, 1, Simd::best()).expect("a sweep");
    let mut x = [1.0f32, 2.0];
    assert!(sweep.run(&[], &mut [&mut x], &[]).is_err() && sweep.run(&[1.0], &mut [&mut x], &[&[1.0]]).is_err());
    assert_eq!(x, [1.0, 2.0]);
}
