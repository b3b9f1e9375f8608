//! Every command on the CPU executor against the naive f64 one: awkward sizes, strides and offsets, poisoned outputs, guard words.

use osculate_kernels::{
    Body, Command, Comparison, Cpu, Error, Fold, Instr, Nest, Out, Product, Program, Real, Reference, Scalar, Scalar2,
    Simd, Size, Slot, View,
};
use proptest::prelude::*;

static SQUASH: Scalar = Scalar {
    name: "squash",
    f32: |_, v| v.iter_mut().for_each(|x| *x /= 1.0 + x.abs()),
    f64: |_, v| v.iter_mut().for_each(|x| *x /= 1.0 + x.abs()),
    wgsl: "x / (1.0 + abs(x))",
    inline: None,
};

static MEET: Scalar2 = Scalar2 {
    name: "meet",
    f32: |_, x, y| x.iter_mut().zip(y).for_each(|(x, y)| *x = x.hypot(*y)),
    f64: |_, x, y| x.iter_mut().zip(y).for_each(|(x, y)| *x = x.hypot(*y)),
    wgsl: "sqrt(x * x + y * y)",
};

/// Numbers that look random, in [-1, 1).
fn noise(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// A view on loops of these extents: axes laid out in `order`, some repeated, with gaps; and the length of its slot.
fn layout(dims: &[usize], order: &[usize], repeat: &[bool], gap: usize, slot: usize) -> (View, usize) {
    let mut strides = vec![0; dims.len()];
    let mut step = 1 + gap % 2;
    for &axis in order {
        if !repeat[axis] {
            strides[axis] = step;
            step *= dims[axis];
        }
        step += gap;
    }
    let end: usize = strides.iter().zip(dims).map(|(s, d)| s * (d - 1)).sum();
    (View { slot, offset: gap, strides }, gap + end + 1)
}

fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let keys = noise(n, seed);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
    order
}

/// Runs a command on both executors; the output slot has guard words all around the view.
fn agree<T: Real>(
    inputs: &[Vec<f64>],
    out_len: usize,
    command: &Command,
    tolerance: f64,
    wide: bool,
) -> Result<(), String> {
    let mut slots: Vec<Slot> = inputs.iter().map(|x| Slot::Input(x.len())).collect();
    slots.push(Slot::Output { len: out_len, wide });
    let program = Program::new(slots, vec![command.clone()]).map_err(|e| e.to_string())?;
    let rounded: Vec<Vec<T>> = inputs.iter().map(|x| x.iter().map(|&v| T::from_f64(v)).collect()).collect();
    let exact: Vec<Vec<f64>> = rounded.iter().map(|x| x.iter().map(|&v| v.to_f64()).collect()).collect();
    let poison = f64::from_bits(0x7ff8_dead_beef_0000);
    let mut want = vec![poison; out_len];
    let exact: Vec<&[f64]> = exact.iter().map(Vec::as_slice).collect();
    let out = if wide { Out::Wide(&mut want) } else { Out::Real(&mut want) };
    Reference::new(program.clone()).run(&exact, &mut [out]).map_err(|e| e.to_string())?;
    let fast: Vec<&[T]> = rounded.iter().map(Vec::as_slice).collect();
    let mut first: Option<Vec<f64>> = None;
    for simd in Simd::available() {
        let mut cpu = Cpu::<T>::with(program.clone(), 2, simd);
        let got: Vec<f64> = if wide {
            let mut got = vec![poison; out_len];
            cpu.run(&fast, &mut [Out::Wide(&mut got)]).map_err(|e| e.to_string())?;
            got
        } else {
            let mut got = vec![T::from_f64(poison); out_len];
            cpu.run(&fast, &mut [Out::Real(&mut got)]).map_err(|e| e.to_string())?;
            got.iter().map(|&v| v.to_f64()).collect()
        };
        for (at, (g, w)) in got.iter().zip(&want).enumerate() {
            if g.is_nan() != w.is_nan() || (g - w).abs() > tolerance * (1.0 + w.abs()) {
                return Err(format!("{simd}, element {at}: {g} instead of {w}"));
            }
        }
        // Nests have the same bits whatever the instructions.
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let first = first.get_or_insert_with(|| got.clone());
        if !matches!(command, Command::MatMul(_)) && bits(first) != bits(&got) {
            return Err(format!("{simd} differs in its bits"));
        }
    }
    Ok(())
}

fn both(inputs: &[Vec<f64>], out_len: usize, command: &Command, terms: usize, wide: bool) -> Result<(), TestCaseError> {
    let scale = (terms as f64).sqrt().max(1.0);
    agree::<f64>(inputs, out_len, command, 4e-15 * scale, wide).map_err(TestCaseError::fail)?;
    if wide && !matches!(command, Command::Reduce { .. }) {
        return Ok(());
    }
    agree::<f32>(inputs, out_len, command, 2e-6 * scale, wide).map_err(TestCaseError::fail)
}

fn bodies() -> Vec<Body> {
    vec![
        Body::product(1),
        Body::product(3),
        Body::product(2).scaled(-0.5),
        Body(vec![Instr::Load(0), Instr::Load(1), Instr::Add(0, 1)]),
        Body(vec![Instr::Load(0), Instr::Apply(&SQUASH, 0)]),
        Body(vec![Instr::Load(0), Instr::Load(1), Instr::Compare(Comparison::Less, 0, 1)]),
        Body(vec![Instr::Load(0), Instr::Load(1), Instr::Load(2), Instr::Select(0, 1, 2)]),
        Body(vec![
            Instr::Load(2),
            Instr::Const(0.25),
            Instr::Compare(Comparison::LessEqual, 0, 1),
            Instr::Mul(0, 2),
            Instr::Add(3, 1),
        ]),
        Body(vec![
            Instr::Load(0),
            Instr::Load(1),
            Instr::Mul(1, 1),
            Instr::Const(1.0),
            Instr::Add(2, 3),
            Instr::Div(0, 4),
            Instr::Apply2(&MEET, 5, 1),
        ]),
    ]
}

prop_compose! {
    fn nest(max_rank: usize)(
        dims in prop::collection::vec(prop_oneof![1usize..5, 1usize..40, Just(257)], 0..=max_rank),
        folded in 0usize..=2,
        seed in any::<u64>(),
        body in 0usize..9,
        gap in 0usize..4,
        packed in any::<bool>(),
    ) -> (Vec<usize>, usize, u64, Body, usize, bool) {
        let mut dims = dims;
        while dims.iter().product::<usize>() > 20_000 {
            let largest = (0..dims.len()).max_by_key(|&i| dims[i]).expect("not empty");
            dims[largest] = 3;
        }
        let folded = folded.min(dims.len());
        (dims, folded, seed, bodies()[body].clone(), gap, packed)
    }
}

fn inputs(dims: &[usize], seed: u64, gap: usize) -> (Vec<View>, Vec<Vec<f64>>) {
    (0..3)
        .map(|slot| {
            let seed = seed.wrapping_add(slot as u64 * 77);
            let repeat: Vec<bool> = noise(dims.len(), seed ^ 5).iter().map(|&v| v > 0.6).collect();
            let (view, len) = layout(dims, &shuffled(dims.len(), seed), &repeat, gap, slot);
            (view, noise(len + gap, seed ^ 9))
        })
        .unzip()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Products of several blocks: long runs and short ones, rows and columns beyond a block, laid out in any order.
    #[test]
    fn large_products(
        m in prop_oneof![Just(1usize), Just(5), Just(65), Just(130)],
        inner in prop_oneof![
            Just(vec![300]), Just(vec![2, 300]), Just(vec![100, 3]), Just(vec![3, 7, 40]), Just(vec![5, 2, 53]), Just(vec![517])
        ],
        n in prop_oneof![Just(1usize), Just(33), Just(520), Just(600)],
        seed in any::<u64>(),
    ) {
        let (a_dims, b_dims) = ([&[m], &inner[..]].concat(), [&inner[..], &[n]].concat());
        let plain = |dims: &[usize]| vec![false; dims.len()];
        let (a, a_len) = layout(&a_dims, &shuffled(a_dims.len(), seed), &plain(&a_dims), 0, 0);
        let (b, b_len) = layout(&b_dims, &shuffled(b_dims.len(), seed ^ 1), &plain(&b_dims), 0, 1);
        let (out, len) = layout(&[m, n], &shuffled(2, seed ^ 3), &[false; 2], 0, 2);
        let data = [noise(a_len, seed), noise(b_len, seed ^ 2)];
        let terms = inner.iter().product();
        let product = Product { rows: vec![m], inner, cols: vec![n], scale: 0.5, a, b, out, ..Product::default() };
        both(&data, len, &Command::MatMul(product), terms, false)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn maps((dims, _, seed, body, gap, packed) in nest(4)) {
        let (views, data) = inputs(&dims, seed, gap);
        let order = if packed { (0..dims.len()).rev().collect() } else { shuffled(dims.len(), seed ^ 3) };
        let (out, len) = layout(&dims, &order, &vec![false; dims.len()], if packed { 0 } else { gap }, 3);
        both(&data, len + gap, &Command::Map(Nest { dims, body, inputs: views, out }), 1, false)?;
    }

    #[test]
    fn reductions((dims, folded, seed, body, gap, packed) in nest(4), max in any::<bool>(), wide in any::<bool>()) {
        let (views, data) = inputs(&dims, seed, gap);
        let (kept, over) = dims.split_at(dims.len() - folded);
        let order = if packed { (0..kept.len()).rev().collect() } else { shuffled(kept.len(), seed ^ 3) };
        let (out, len) = layout(kept, &order, &vec![false; kept.len()], if packed { 0 } else { gap }, 3);
        let nest = Nest { dims: kept.to_vec(), body, inputs: views, out };
        let fold = if max { Fold::Max } else { Fold::Sum };
        let terms = over.iter().product();
        both(&data, len + gap, &Command::Reduce { nest, over: over.to_vec(), fold, scale: 0.75 }, terms, wide)?;
    }

    #[test]
    fn products(
        batch in prop::collection::vec(1usize..4, 0..3),
        rows in prop::collection::vec(prop_oneof![1usize..8, 1usize..40], 0..3),
        inner in prop::collection::vec(prop_oneof![1usize..8, 1usize..70], 0..3),
        cols in prop::collection::vec(prop_oneof![1usize..8, 1usize..40], 0..3),
        seed in any::<u64>(),
        gap in 0usize..4,
        packed in any::<bool>(),
    ) {
        let shrink = |mut dims: Vec<usize>| {
            while dims.iter().product::<usize>() > 70 {
                let largest = (0..dims.len()).max_by_key(|&i| dims[i]).expect("not empty");
                dims[largest] = 3;
            }
            dims
        };
        let (rows, inner, cols) = (shrink(rows), shrink(inner), shrink(cols));
        let dims = |groups: [&[usize]; 3]| groups.concat();
        let (a_dims, b_dims) = (dims([&batch, &rows, &inner]), dims([&batch, &inner, &cols]));
        let out_dims = dims([&batch, &rows, &cols]);
        // Some axes are repeated: one matrix for all of a batch, or the overlapping windows' simplest case.
        let repeat = |n: usize, seed: u64| noise(n, seed).iter().map(|&v| v > 0.7).collect::<Vec<_>>();
        let (a, a_len) = layout(&a_dims, &shuffled(a_dims.len(), seed), &repeat(a_dims.len(), seed ^ 5), gap, 0);
        let (b, b_len) = layout(&b_dims, &shuffled(b_dims.len(), seed ^ 1), &repeat(b_dims.len(), seed ^ 6), gap, 1);
        let rank = out_dims.len();
        let order = if packed { (0..rank).rev().collect() } else { shuffled(rank, seed ^ 3) };
        let (out, len) = layout(&out_dims, &order, &vec![false; rank], if packed { 0 } else { gap }, 2);
        let data = [noise(a_len + gap, seed), noise(b_len + gap, seed ^ 2)];
        let terms = inner.iter().product();
        let product = Product { batch, rows, inner, cols, scale: -1.5, a, b, out, accumulate: false };
        both(&data, len + gap, &Command::MatMul(product), terms, false)?;
    }

    /// Windows of a signal, multiplied and folded back: overlapping reads and overlapping writes.
    #[test]
    fn windows(
        n in 1usize..5, channels in 1usize..4, out in 1usize..20, size in 1usize..5, stride in 1usize..3,
        dilation in 1usize..3, positions in 1usize..30, seed in any::<u64>(),
    ) {
        let extent = (positions - 1) * stride + (size - 1) * dilation + 1;
        let image = channels * extent;
        let (x, w) = (noise(n * image, seed), noise(out * channels * size, seed ^ 1));
        // y[n, o, t] = Σ_ck w[o, c, k] x[n, c, t·stride + k·dilation]
        let forward = Product {
            batch: vec![n], rows: vec![out], inner: vec![channels, size], cols: vec![positions], scale: 1.0,
            a: View::new(0, 0, &[0, channels * size, size, 1]),
            b: View::new(1, 0, &[image, extent, dilation, stride]),
            out: View::new(2, 0, &[out * positions, positions, 1]),
            accumulate: false,
        };
        both(&[w.clone(), x.clone()], n * out * positions, &Command::MatMul(forward), channels * size, false)?;
        // dw[o, c, k] = Σ_n Σ_t d[n, o, t] x[n, c, t·stride + k·dilation]
        let d = noise(n * out * positions, seed ^ 2);
        let weights = Product {
            batch: vec![], rows: vec![out], inner: vec![n, positions], cols: vec![channels, size], scale: 1.0,
            a: View::new(0, 0, &[positions, out * positions, 1]),
            b: View::new(1, 0, &[image, stride, extent, dilation]),
            out: View::new(2, 0, &[channels * size, size, 1]),
            accumulate: false,
        };
        both(&[d.clone(), x], out * channels * size, &Command::MatMul(weights), n * positions, false)?;
        // dx[n, c, t·stride + k·dilation] += Σ_o w[o, c, k] d[n, o, t], on top of what is there
        let inputs = Product {
            batch: vec![n], rows: vec![channels, size], inner: vec![out], cols: vec![positions], scale: 1.0,
            a: View::new(0, 0, &[0, size, 1, channels * size]),
            b: View::new(1, 0, &[out * positions, positions, 1]),
            out: View::new(2, 0, &[image, extent, dilation, stride]),
            accumulate: true,
        };
        // The same, element by element: out[n, c, t·stride + k·dilation] += a[n, c, k, t] b[n, c]
        let spread = Nest {
            dims: vec![n, channels, size, positions],
            body: Body::product(2),
            inputs: vec![
                View::new(1, 0, &[0, 0, positions, 1]),
                View::new(0, 0, &[0, 1, 0, 0]),
            ],
            out: View::new(2, 0, &[image, extent, dilation, stride]),
        };
        let zero = Command::Map(Nest {
            dims: vec![n * image], body: Body(vec![Instr::Const(0.5)]), inputs: vec![], out: View::new(2, 0, &[1]),
        });
        let slots = |len: usize| vec![Slot::Input(w.len()), Slot::Input(d.len()), Slot::Output { len, wide: false }];
        let mut commands = vec![zero, Command::MatMul(inputs)];
        if size <= n * out {
            commands.push(Command::AddTo(spread));
        }
        let program = Program::new(slots(n * image), commands).expect("a program");
        let (mut want, mut got) = (vec![0.0; n * image], vec![0.0; n * image]);
        Reference::new(program.clone()).run(&[&w, &d], &mut [Out::Real(&mut want)]).expect("a run");
        Cpu::new(program).run(&[&w, &d], &mut [Out::Real(&mut got)]).expect("a run");
        for (g, w) in got.iter().zip(&want) {
            prop_assert!((g - w).abs() < 1e-12 * (1.0 + w.abs()), "{} {}", g, w);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two-dimensional convolutions with both gradients, large enough for tiles: whole vectors and parts of them, read in place or
    /// packed, results that lie along and across, added to what is there or not; channels outermost or innermost.
    #[test]
    fn images(
        n in 1usize..4, from in prop_oneof![1usize..7, Just(16)], to in prop_oneof![1usize..20, Just(33)], taps in 1usize..4,
        height in 1usize..9, width in 1usize..40, last in any::<bool>(), add in any::<bool>(), seed in any::<u64>(),
    ) {
        let (padded, inner) = ([height + taps - 1, width + taps - 1], from * taps * taps);
        let (image, result) = (from * padded[0] * padded[1], to * height * width);
        // Steps of channels, rows and columns, of images and of results.
        let [channel, row, col] = if last { [1, padded[1] * from, from] } else { [padded[0] * padded[1], padded[1], 1] };
        let [out_channel, out_row, out_col] = if last { [1, width * to, to] } else { [height * width, width, 1] };
        let (x, w, d) = (noise(n * image, seed), noise(to * inner, seed ^ 1), noise(n * result, seed ^ 2));
        let square = taps * taps;
        let forward = Product {
            rows: vec![to], inner: vec![from, taps, taps], cols: vec![n, height, width], scale: 1.0,
            a: View::new(0, 0, &[inner, square, taps, 1]),
            b: View::new(1, 0, &[channel, row, col, image, row, col]),
            out: View::new(2, 0, &[out_channel, result, out_row, out_col]),
            ..Product::default()
        };
        both(&[w.clone(), x.clone()], n * result, &Command::MatMul(forward), inner, false)?;
        // One product an example, then one for all; `out` starts as poison where it is not added to.
        for each in [true, false] {
            let (batch, summed) = if each { (vec![n], vec![]) } else { (vec![], vec![n]) };
            let strides = |batched: usize, rest: &[usize]| [&[batched][..], rest].concat();
            let (a, b) = match each {
                true => (strides(result, &[out_channel, out_row, out_col]), strides(image, &[row, col, channel, row, col])),
                false => (vec![out_channel, result, out_row, out_col], strides(image, &[row, col, channel, row, col])),
            };
            // Weights lie as they are named, or channels innermost, too.
            let steps = if last && add { [inner, 1, taps * from, from] } else { [inner, square, taps, 1] };
            let out = [if each { vec![to * inner] } else { vec![] }, steps.to_vec()].concat();
            let weights = Product {
                batch, rows: vec![to], inner: [summed, vec![height, width]].concat(), cols: vec![from, taps, taps],
                scale: 0.5, a: View::new(0, 0, &a), b: View::new(1, 0, &b), out: View::new(2, 0, &out), accumulate: false,
            };
            let terms = height * width * if each { 1 } else { n };
            let len = to * inner * if each { n } else { 1 };
            both(&[d.clone(), x.clone()], len, &Command::MatMul(weights), terms, false)?;
        }
        // Folded back, on top of a number.
        let inputs = Product {
            rows: vec![n, height, width], inner: vec![to], cols: vec![from, taps, taps], scale: 1.0,
            a: View::new(0, 0, &[result, out_row, out_col, out_channel]),
            b: View::new(1, 0, &[inner, square, taps, 1]),
            out: View::new(2, 0, &[image, row, col, channel, row, col]),
            accumulate: true, ..Product::default()
        };
        let start = Command::Map(Nest {
            dims: vec![n * image], body: Body(vec![Instr::Const(if add { 0.5 } else { 0.0 })]), inputs: vec![],
            out: View::new(2, 0, &[1]),
        });
        let slots = vec![Slot::Input(d.len()), Slot::Input(w.len()), Slot::Output { len: n * image, wide: false }];
        let program = Program::new(slots, vec![start, Command::MatMul(inputs)]).expect("a program");
        let mut want = vec![0.0; n * image];
        Reference::new(program.clone()).run(&[&d, &w], &mut [Out::Real(&mut want)]).expect("a run");
        for simd in Simd::available() {
            let mut got = vec![f64::NAN; n * image];
            Cpu::with(program.clone(), 1, simd).run(&[&d, &w], &mut [Out::Real(&mut got)]).expect("a run");
            for (g, w) in got.iter().zip(&want) {
                prop_assert!((g - w).abs() < 1e-12 * (1.0 + w.abs()), "{}: {} {}", simd, g, w);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Images with channels innermost, in groups: numbers of a group and of a channel meet every place, and are summed up over places,
    /// or over places and the channels of a group.
    #[test]
    fn channels(
        n in 1usize..4, groups in prop_oneof![1usize..5, Just(8), Just(33)], each in prop_oneof![1usize..5, Just(16)],
        [high, wide] in [1usize..12, 1usize..40], gap in 0usize..3, keep in any::<bool>(), turned in any::<bool>(),
        max in any::<bool>(), f64_out in any::<bool>(), body in 0usize..9, seed in any::<u64>(),
    ) {
        let channels = groups * each;
        let row = wide * channels + gap;
        // Loops: examples, groups, channels of a group, rows, columns.
        let dims = [n, groups, each, high, wide];
        let strides = [
            vec![high * row, each, 1, row, channels], vec![groups, 1, 0, 0, 0], vec![0, each, 1, 0, 0],
        ];
        let views: Vec<View> = strides.iter().enumerate().map(|(slot, s)| View::new(slot, 0, s)).collect();
        let data = [noise(n * high * row, seed), noise(n * groups, seed ^ 1), noise(channels, seed ^ 2)];
        let body = bodies()[body].clone();
        let out = View::new(3, 0, &[high * wide * channels, each, 1, wide * channels, channels]);
        let map = Nest { dims: dims.to_vec(), body: body.clone(), inputs: views.clone(), out };
        both(&data, n * high * wide * channels, &Command::Map(map), 1, false)?;
        let (kept, out) = match (keep, turned) {
            (true, false) => (3, vec![channels, each, 1]),
            // Channels of all groups, groups innermost.
            (true, true) => (3, vec![channels, 1, groups]),
            (false, false) => (2, vec![groups, 1]),
            (false, true) => (2, vec![1, n]),
        };
        let len = n * if keep { channels } else { groups };
        let nest = Nest { dims: dims[..kept].to_vec(), body, inputs: views, out: View::new(3, 0, &out) };
        let (over, fold) = (dims[kept..].to_vec(), if max { Fold::Max } else { Fold::Sum });
        let terms = over.iter().product();
        both(&data, len, &Command::Reduce { nest, over, fold, scale: -1.5 }, terms, f64_out)?;
    }
}

/// Runs a program in f32 by every set of instructions, on two threads, and compares the output with the reference's; data and sums
/// are small multiples of 1/4, so that both are exact.
fn exactly(commands: &[Command], inputs: &[Vec<f64>], out_len: usize) -> Result<(), TestCaseError> {
    let mut slots: Vec<Slot> = inputs.iter().map(|x| Slot::Input(x.len())).collect();
    slots.push(Slot::Output { len: out_len, wide: false });
    let program = Program::new(slots, commands.to_vec()).expect("a program");
    let mut want = vec![0.25; out_len];
    let exact: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    Reference::new(program.clone()).run(&exact, &mut [Out::Real(&mut want)]).expect("a run");
    let narrow: Vec<Vec<f32>> = inputs.iter().map(|x| x.iter().map(|&v| v as f32).collect()).collect();
    let narrow: Vec<&[f32]> = narrow.iter().map(Vec::as_slice).collect();
    for simd in Simd::available() {
        let mut got = vec![0.25f32; out_len];
        Cpu::with(program.clone(), 2, simd).run(&narrow, &mut [Out::Real(&mut got)]).expect("a run");
        for (at, (&g, &w)) in got.iter().zip(&want).enumerate() {
            prop_assert!(f64::from(g) == w, "{}, element {}: {} instead of {}", simd, at, g, w);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pooling of padded images, forward and backward: windows that overlap or leave gaps, short rows that lie unevenly, ties; work
    /// of one thread and of two; channels outermost or innermost.
    #[test]
    fn pools(
        n in 1usize..4, channels in prop_oneof![1usize..24, Just(64)], last in any::<bool>(), [high, wide] in [1usize..17, 1usize..17], size in 1usize..4,
        stride in 1usize..4, pad in 0usize..3, seed in any::<u64>(),
    ) {
        let [rows, cols] = [high, wide].map(|out| (out - 1) * stride + size + pad);
        let image = rows * cols;
        let quarters = |len: usize, seed: u64| noise(len, seed).iter().map(|v| (v * 8.0).round() / 4.0).collect::<Vec<_>>();
        let (x, most) = (quarters(n * channels * image, seed), quarters(n * channels * high * wide, seed ^ 1));
        let [c, y, x_step] = if last { [1, cols * channels, channels] } else { [image, cols, 1] };
        let windows =
            |slot: usize| View::new(slot, 0, &[channels * image, c, stride * y, stride * x_step, y, x_step]);
        let steps = if last { [1, wide * channels, channels] } else { [high * wide, wide, 1] };
        let results = |slot: usize| View::new(slot, 0, &[&[channels * high * wide], &steps[..], &[0, 0]].concat());
        let kept = |view: View| View { strides: view.strides[..4].to_vec(), ..view };
        let dims = vec![n, channels, high, wide];
        let equal = Body(vec![Instr::Load(0), Instr::Load(1), Instr::Compare(Comparison::Equal, 0, 1)]);
        for fold in [Fold::Max, Fold::Sum] {
            let nest = Nest {
                dims: dims.clone(), body: equal.clone(), inputs: vec![windows(0), results(1)], out: kept(results(2)),
            };
            let command = Command::Reduce { nest, over: vec![size, size], fold, scale: 1.0 };
            exactly(&[command], &[x.clone(), most.clone()], n * channels * high * wide)?;
        }
        // Back to the images, on top of what is there, and results to where windows begin.
        let select = [equal.0.clone(), vec![Instr::Const(0.0), Instr::Select(2, 1, 3)]].concat();
        let spread = Nest {
            dims: [&dims[..], &[size, size]].concat(), body: Body(select), inputs: vec![windows(0), results(1)],
            out: windows(2),
        };
        let copy = Nest { dims, body: Body::product(1), inputs: vec![kept(results(1))], out: kept(windows(2)) };
        exactly(&[Command::AddTo(spread)], &[x.clone(), most.clone()], n * channels * image)?;
        exactly(&[Command::Map(copy)], &[x, most], n * channels * image)?;
    }
}

/// Sums along rows whose lanes lie unevenly in the output.
#[test]
fn rows_are_added_to_one() {
    let data = noise(210, 3);
    let nest = Nest {
        dims: vec![3, 5, 7, 2],
        body: Body::product(1),
        inputs: vec![View::new(0, 0, &[70, 14, 2, 1])],
        out: View::new(1, 0, &[100, 10, 1, 0]),
    };
    let slots = vec![Slot::Input(210), Slot::Output { len: 300, wide: false }];
    let program = Program::new(slots, vec![Command::AddTo(nest)]).expect("a program");
    let mut want = vec![0.5; 300];
    Reference::new(program.clone()).run(&[&data], &mut [Out::Real(&mut want)]).expect("a run");
    for simd in Simd::available() {
        let mut got = vec![0.5; 300];
        Cpu::with(program.clone(), 2, simd).run(&[&data], &mut [Out::Real(&mut got)]).expect("a run");
        assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-14), "{simd}");
    }
}

/// Loops of windows, places and taps in a convolution of 3×3 taps: images, rows, columns, channels that it makes, channels it is made
/// of (two loops), and both of the taps.
const LOOPS: [&str; 3] = ["nyxcdpq", "nyxk", "kcdpq"];

/// The product of two of windows (0), places (1) and taps (2) that yields the third, of loops by their names: steps in each, and
/// extents. With `batch` it is one for each image.
fn convolution(out: usize, swapped: bool, batch: bool, scale: f64, loops: &dyn Fn(char) -> [usize; 4]) -> Product {
    let [a, b] = operands(out, swapped);
    let has = |view: usize, l: char| LOOPS[view].contains(l);
    let apart = |l: &char| batch && *l == 'n';
    let group = |want: [bool; 3]| {
        "nyxkcdpq".chars().filter(|l| !apart(l) && [a, b, out].map(|view| has(view, *l)) == want).collect::<Vec<_>>()
    };
    let batch: Vec<char> = "n".chars().filter(apart).collect();
    let [rows, inner, cols] = [[true, false, true], [true, true, false], [false, true, true]].map(group);
    let extents = |of: &[char]| of.iter().map(|&l| loops(l)[3]).collect::<Vec<_>>();
    let view = |slot: usize, one: usize, of: [&[char]; 2]| {
        let steps: Vec<usize> = [&batch, of[0], of[1]].concat().iter().map(|&l| loops(l)[one]).collect();
        View::new(slot, 0, &steps)
    };
    Product {
        a: view(0, a, [&rows, &inner]),
        b: view(1, b, [&inner, &cols]),
        out: view(2, out, [&rows, &cols]),
        batch: extents(&batch),
        rows: extents(&rows),
        inner: extents(&inner),
        cols: extents(&cols),
        scale,
        accumulate: true,
    }
}

/// What is multiplied to yield one of the three.
fn operands(out: usize, swapped: bool) -> [usize; 2] {
    let [a, b] = [(out + 1) % 3, (out + 2) % 3];
    if swapped { [b, a] } else { [a, b] }
}

/// A product of noise on top of a number, as a program, its inputs, and what it makes in f64.
fn product_of_noise(product: &Product, len: [usize; 3], seed: u64) -> (Program, [Vec<f32>; 2], Vec<f64>) {
    let data = [noise(len[0], seed), noise(len[1], seed ^ 1)].map(|x| x.iter().map(|&v| v as f32).collect::<Vec<_>>());
    let exact = [0, 1].map(|i| data[i].iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
    let start = Command::Map(Nest {
        dims: vec![len[2]],
        body: Body(vec![Instr::Const(0.5)]),
        inputs: vec![],
        out: View::new(2, 0, &[1]),
    });
    let slots = vec![Slot::Input(len[0]), Slot::Input(len[1]), Slot::Output { len: len[2], wide: false }];
    let program = Program::new(slots, vec![start, Command::MatMul(product.clone())]).expect("a program");
    let mut want = vec![0.0; len[2]];
    Reference::new(program.clone()).run(&[&exact[0], &exact[1]], &mut [Out::Real(&mut want)]).expect("a run");
    (program, data, want)
}

fn run_f32(program: &Program, data: &[Vec<f32>; 2], len: usize, threads: usize, simd: Simd) -> Vec<f32> {
    let mut got = vec![f32::NAN; len];
    let mut cpu = Cpu::<f32>::with(program.clone(), threads, simd);
    cpu.run(&[&data[0], &data[1]], &mut [Out::Real(&mut got)]).expect("a run");
    got
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Convolutions of 3×3 taps with channels innermost, which f32 computes by transforms where channels fill vectors and rows and
    /// columns are even in number: all three of each, whichever operand comes first, one for all images or one for each, added to
    /// what is there or not; weights in three layouts, of each image its own or the same; gaps everywhere, and channels in two loops.
    /// Errors are those of products of the largest values.
    #[test]
    fn three_by_three(
        n in 1usize..7, from in prop_oneof![Just(8usize), Just(16), Just(24), Just(32), Just(48), Just(80)],
        to in prop_oneof![Just(8usize), Just(16), Just(20), Just(32), Just(64), Just(72)],
        [high, wide] in [1usize..9, 1usize..12], even in prop_oneof![3 => Just(true), 1 => Just(false)],
        lies in 0usize..3, gap in 0usize..2, swapped in any::<bool>(), batch in any::<bool>(), own in any::<bool>(),
        halves in any::<bool>(), scale in prop_oneof![Just(1.0), Just(-0.25)], seed in any::<u64>(),
    ) {
        let [high, wide] = if even { [high, wide].map(|x| x.next_multiple_of(2)) } else { [high, wide] };
        let (col, place) = (from + gap, to + gap);
        let (row, line) = ((wide + 2) * col + gap, wide * place + gap);
        let (image, result) = ((high + 2) * row, high * line);
        let taps = match lies {
            0 => [from * 9, 9, 3, 1],
            1 => [from * 9 + gap, 1, 3 * from, from],
            _ => [1, to, 3 * from * to, from * to],
        };
        // Channels of windows as two loops, the second of which may have all.
        let second = if halves { from / 2 } else { from };
        let weights = taps.iter().zip([to, from, 3, 3]).map(|(step, extent)| step * (extent - 1)).sum::<usize>() + 1;
        for out in 0..3 {
            let each = if batch && (own || out == 2) { weights } else { 0 };
            let loops = |l: char| match l {
                'n' => [image, result, each, n],
                'y' => [row, line, 0, high],
                'x' => [col, place, 0, wide],
                'k' => [0, 1, taps[0], to],
                'c' => [second, 0, second * taps[1], from / second],
                'd' => [1, 0, taps[1], second],
                'p' => [row, 0, taps[2], 3],
                _ => [col, 0, taps[3], 3],
            };
            let len = |one: usize| 1 + "nyxkcdpq".chars().map(|l| loops(l)[one] * (loops(l)[3] - 1)).sum::<usize>();
            let [a, b] = operands(out, swapped).map(len);
            let total = len(out) + 3;
            for add in [true, false] {
                if !add && out == 0 {
                    continue;
                }
                let product = Product { accumulate: add, ..convolution(out, swapped, batch, scale, &loops) };
                let (program, data, want) = product_of_noise(&product, [a, b, total], seed);
                let terms: usize = product.inner.iter().product();
                let tolerance = 2e-6 * (terms as f64 * if out == 0 { 9.0 } else { 1.0 }).sqrt();
                for simd in Simd::available() {
                    let mut bits: Option<Vec<u32>> = None;
                    for threads in 1..4 {
                        let got = run_f32(&program, &data, total, threads, simd);
                        for (at, (&g, w)) in got.iter().zip(&want).enumerate() {
                            prop_assert!((f64::from(g) - w).abs() <= tolerance, "{simd} {out} {at}: {g} instead of {w}");
                            prop_assert!(*w != 0.5 || g == 0.5, "{at} is beside what is written, and {g} now");
                        }
                        let now: Vec<u32> = got.iter().map(|v| v.to_bits()).collect();
                        prop_assert_eq!(bits.get_or_insert_with(|| now.clone()), &now, "{} threads", threads);
                    }
                }
            }
        }
    }
}

/// Loops of square images of as many channels as are made of them, those innermost, without gaps.
fn square(n: usize, channels: usize, side: usize) -> impl Fn(char) -> [usize; 4] {
    let (line, row) = (side * channels, (side + 2) * channels);
    move |l: char| match l {
        'n' => [(side + 2) * row, side * line, 0, n],
        'y' => [row, line, 0, side],
        'x' => [channels, channels, 0, side],
        'k' => [0, 1, channels * 9, channels],
        'c' => [channels, 0, channels * 9, 1],
        'd' => [1, 0, 9, channels],
        'p' => [row, 0, 3, 3],
        _ => [channels, 0, 1, 3],
    }
}

/// In f32, convolutions by transforms are about as exact as direct ones (the portable set's): relative errors by root mean squares.
#[test]
fn transforms_cost_few_digits() {
    for [channels, side] in [[16, 32], [64, 8]] {
        let loops = square(2, channels, side);
        for out in 0..3 {
            let len = |one: usize| 1 + "nyxkcdpq".chars().map(|l| loops(l)[one] * (loops(l)[3] - 1)).sum::<usize>();
            let [a, b] = operands(out, false).map(len);
            let product = convolution(out, false, false, 1.0, &loops);
            let (program, data, want) = product_of_noise(&product, [a, b, len(out)], 1);
            let error = |simd: Simd| {
                let got = run_f32(&program, &data, len(out), 1, simd);
                let squares = got.iter().zip(&want).map(|(&g, w)| (f64::from(g) - w).powi(2));
                (squares.sum::<f64>() / want.iter().map(|w| w * w).sum::<f64>()).sqrt()
            };
            let direct = error(Simd::portable());
            for simd in Simd::available().into_iter().filter(|&simd| simd != Simd::portable()) {
                let by_transforms = error(simd);
                assert!(
                    by_transforms <= 2.0 * direct,
                    "{channels} channels, {out}, {simd}: {by_transforms:e} beside {direct:e}"
                );
            }
        }
    }
}

/// Values and gradients of a tile that are far from each other keep to their example: what is not finite spoils its own image alone.
#[test]
fn transforms_keep_to_their_image() {
    let loops = square(3, 16, 8);
    let len = |one: usize| 1 + "nyxkcdpq".chars().map(|l| loops(l)[one] * (loops(l)[3] - 1)).sum::<usize>();
    for out in 0..2 {
        let [a, b] = operands(out, false);
        let product = convolution(out, false, false, 1.0, &loops);
        let (program, mut data, want) = product_of_noise(&product, [len(a), len(b), len(out)], 3);
        // One value of the second image, where its tiles begin.
        let image = [loops('n')[0], loops('n')[1]];
        let other = if a == 2 { 1 } else { 0 };
        data[other][image[1 - out]] = f32::INFINITY;
        for simd in Simd::available() {
            let got = run_f32(&program, &data, len(out), 2, simd);
            for (at, (&g, w)) in got.iter().zip(&want).enumerate() {
                let spoiled = at / image[out] == 1;
                assert!(spoiled || (f64::from(g) - w).abs() < 1e-4, "{simd}, {out}: {g} at {at}");
            }
            assert!(got[image[out]..2 * image[out]].iter().any(|v| !v.is_finite()));
        }
    }
}

/// Products that are added to rows which overlap, evenly spaced: no tile may hold two of them at once.
#[test]
fn products_are_added_to_overlapping_rows() {
    let (a, b) = (noise(400 * 64, 5), noise(64 * 128, 6));
    let product = Product {
        rows: vec![400],
        inner: vec![64],
        cols: vec![4, 32],
        scale: 1.0,
        a: View::new(0, 0, &[64, 1]),
        b: View::new(1, 0, &[128, 32, 1]),
        out: View::new(2, 0, &[4, 1, 4]),
        accumulate: true,
        ..Product::default()
    };
    let len = 399 * 4 + 3 + 31 * 4 + 1;
    let slots = vec![Slot::Input(a.len()), Slot::Input(b.len()), Slot::Output { len, wide: false }];
    let program = Program::new(slots, vec![Command::MatMul(product)]).expect("a program");
    let mut want = vec![0.25; len];
    Reference::new(program.clone()).run(&[&a, &b], &mut [Out::Real(&mut want)]).expect("a run");
    let narrow = [&a, &b].map(|x| x.iter().map(|&v| v as f32).collect::<Vec<_>>());
    for simd in Simd::available() {
        let mut got = vec![0.25f32; len];
        let mut cpu = Cpu::<f32>::with(program.clone(), 2, simd);
        cpu.run(&[&narrow[0], &narrow[1]], &mut [Out::Real(&mut got)]).expect("a run");
        for (g, w) in got.iter().zip(&want) {
            assert!((f64::from(*g) - w).abs() < 1e-4 * (1.0 + w.abs()), "{simd}: {g} instead of {w}");
        }
    }
}

/// One number that is not finite is found wherever it is, in either kind of output; what is finite is not taken for it.
#[test]
fn outputs_are_looked_at() {
    for len in [1, 15, 64, 1000, 3 * (1 << 15) + 5] {
        let copy = |out: usize| {
            let view = |slot: usize| View::new(slot, 0, &[1]);
            Command::Map(Nest { dims: vec![len], body: Body::product(1), inputs: vec![view(0)], out: view(out) })
        };
        let slots = vec![Slot::Input(len), Slot::Output { len, wide: false }, Slot::Output { len, wide: true }];
        let program = Program::new(slots, vec![copy(1), copy(2)]).expect("a program");
        for threads in 1..4 {
            let mut cpu = Cpu::<f32>::with(program.clone(), threads, Simd::best());
            let (mut x, mut real, mut wide) = (vec![-1e38f32; len], vec![0.0f32; len], vec![0.0; len]);
            let mut run =
                |x: &[f32]| cpu.run_sized(&[x], &mut [Out::Real(&mut real), Out::Wide(&mut wide)]).expect("a run");
            assert_eq!(run(&x), Size::Finite);
            x.fill(-9.2e18);
            assert_eq!(run(&x), Size::Moderate);
            for at in [0, len / 3, len / 2, len - 1] {
                x[at] = 9.3e18;
                assert_eq!(run(&x), Size::Finite, "{at} of {len}, {threads} threads");
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    x[at] = bad;
                    assert_eq!(run(&x), Size::NotFinite, "{bad} at {at} of {len}, {threads} threads");
                    x[at] = 1.0;
                }
            }
        }
    }
}

/// The same bits from 1, 2 and 4 threads, on work large enough to be split.
#[test]
fn threads_do_not_change_a_bit() {
    // Rows that leave a remainder of one after sharing, too.
    for m in [300, 97, 33, 17] {
        same_bits(m, 2000 / m.min(100) * 10, 130);
    }
}

fn same_bits(m: usize, k: usize, n: usize) {
    let a = noise(m * k, 1);
    let b = noise(k * n, 2);
    let commands = [
        Command::MatMul(Product {
            rows: vec![m],
            inner: vec![k],
            cols: vec![n],
            scale: 1.0,
            a: View::new(0, 0, &[k, 1]),
            b: View::new(1, 0, &[n, 1]),
            out: View::new(2, 0, &[n, 1]),
            ..Product::default()
        }),
        Command::Map(Nest {
            dims: vec![m, n],
            body: Body::product(2),
            inputs: vec![View::new(0, 0, &[1, 0]), View::new(1, 3, &[0, 1])],
            out: View::new(2, 0, &[n, 1]),
        }),
        Command::Reduce {
            nest: Nest {
                dims: vec![m],
                body: Body::product(2),
                inputs: vec![View::new(0, 0, &[1, 1]), View::new(1, 0, &[0, 1])],
                out: View::new(2, 0, &[1]),
            },
            over: vec![k],
            fold: Fold::Sum,
            scale: 1.0,
        },
    ];
    for command in commands {
        let bits = |threads: usize| -> Vec<u32> {
            let slots = vec![Slot::Input(m * k), Slot::Input(k * n), Slot::Output { len: m * n, wide: false }];
            let mut cpu = Cpu::<f32>::new(Program::new(slots, vec![command.clone()]).expect("a program"));
            let narrow = |x: &[f64]| x.iter().map(|&v| v as f32).collect::<Vec<_>>();
            let mut out = vec![0f32; m * n];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| cpu.run(&[&narrow(&a), &narrow(&b)], &mut [Out::Real(&mut out)])).expect("a run");
            out.iter().map(|v| v.to_bits()).collect()
        };
        let one = bits(1);
        assert!(one == bits(2) && one == bits(4), "{command:?}");
    }
}

#[test]
fn sums_keep_f64_across_blocks() {
    // 2^24 + 1 + 1 + …: f32 alone would lose every 1.
    let n = 4096;
    let mut x = vec![1f32; n];
    x[0] = 16_777_216.0;
    let command = Command::Reduce {
        nest: Nest {
            dims: vec![],
            body: Body::product(1),
            inputs: vec![View::new(0, 0, &[1])],
            out: View::new(1, 0, &[]),
        },
        over: vec![n],
        fold: Fold::Sum,
        scale: 1.0,
    };
    let program =
        Program::new(vec![Slot::Input(n), Slot::Output { len: 1, wide: true }], vec![command]).expect("a program");
    let mut out = [0.0];
    Cpu::new(program).run(&[&x], &mut [Out::Wide(&mut out)]).expect("a run");
    // Only the block of 256 that holds the large number may round.
    assert!((out[0] - (16_777_216.0 + 4095.0)).abs() < 256.0);
    assert_eq!(osculate_kernels::dot(&x[256..], &vec![1f32; n - 256]), 3840.0);
}

#[test]
fn a_nan_is_the_maximum() {
    for position in 0..3 {
        let mut x = [3.0, 1.0, 2.0];
        x[position] = f64::NAN;
        let nest = Nest {
            dims: vec![],
            body: Body::product(1),
            inputs: vec![View::new(0, 0, &[1])],
            out: View::new(1, 0, &[]),
        };
        let command = Command::Reduce { nest, over: vec![3], fold: Fold::Max, scale: 1.0 };
        let program =
            Program::new(vec![Slot::Input(3), Slot::Output { len: 1, wide: false }], vec![command]).expect("a program");
        let mut out = [0.0];
        Cpu::new(program).run(&[&x], &mut [Out::Real(&mut out)]).expect("a run");
        assert!(out[0].is_nan());
    }
}

#[test]
fn malformed_programs_are_refused() {
    let map = |out: View, inputs: Vec<View>, body: Body| Command::Map(Nest { dims: vec![2, 3], body, inputs, out });
    let slots = || vec![Slot::Input(6), Slot::Output { len: 6, wide: false }, Slot::Temp(6), Slot::Constant(vec![1.0])];
    let good = View::new(1, 0, &[3, 1]);
    let read = View::new(0, 0, &[3, 1]);
    let cases = [
        (map(good.clone(), vec![View::new(0, 1, &[3, 1])], Body::product(1)), "input 0 ends at 7 of a slot of 6"),
        (
            map(good.clone(), vec![View::new(0, 0, &[1 << 40, (1usize << 40).wrapping_neg()])], Body::product(1)),
            "input 0 reaches beyond what can be counted",
        ),
        (map(good.clone(), vec![View::new(9, 0, &[3, 1])], Body::product(1)), "input 0 is slot 9, of 4"),
        (map(good.clone(), vec![View::new(0, 0, &[1])], Body::product(1)), "input 0 has 1 strides for 2 loops"),
        (map(View::new(1, 0, &[1, 1]), vec![read.clone()], Body::product(1)), "the output's loops overlap"),
        (map(View::new(0, 0, &[3, 1]), vec![], Body::product(0)), "the output is an input or a constant"),
        (
            map(View::new(2, 0, &[3, 1]), vec![View::new(2, 0, &[3, 1])], Body::product(1)),
            "a command may not read the slot it writes",
        ),
        (map(View::new(2, 0, &[3, 1]), vec![good.clone()], Body::product(1)), "an output slot is read"),
        (map(good.clone(), vec![read.clone()], Body::product(2)), "input 1 of 1 is loaded"),
        (
            map(good, vec![read], Body(vec![Instr::Load(0), Instr::Add(0, 1)])),
            "instruction 1 reads register 1, which is not yet written",
        ),
    ];
    for (command, why) in cases {
        assert_eq!(Program::new(slots(), vec![command]).err(), Some(Error::Command { command: 0, why: why.into() }));
    }
    let late = vec![Slot::Temp(1), Slot::Input(1)];
    assert!(matches!(Program::new(late, vec![]), Err(Error::Signature(_))));
    let program = Program::new(vec![Slot::Input(2)], vec![]).expect("a program");
    let wrong = Cpu::<f32>::new(program).run(&[&[1.0]], &mut []);
    assert_eq!(wrong, Err(Error::Length { what: "input", index: 0, got: 1, want: 2 }));
}

/// Sums of channels whose rows are cut short by an input that repeats: patches that begin within the results.
#[test]
fn channels_in_rows_that_repeat() {
    let data = [noise(512, 3), noise(256, 4)];
    let inputs = vec![View::new(0, 0, &[32, 16, 4, 64, 1]), View::new(1, 0, &[16, 0, 4, 32, 1])];
    let nest = Nest { dims: vec![2, 2, 4], body: Body::product(2), inputs, out: View::new(2, 0, &[8, 4, 1]) };
    let sum = Command::Reduce { nest, over: vec![8, 4], fold: Fold::Sum, scale: 1.0 };
    both(&data, 16, &sum, 32, false).expect("the same sums");
}

/// Outputs larger than caches go past them: all of it, from elements on that are no whole vector of memory, and nothing beside it.
#[test]
fn what_is_larger_than_caches_is_written_whole() {
    let len = (4 << 20) + 37;
    let data: Vec<f32> = (0..len).map(|i| (i % 1013) as f32).collect();
    let body = Body(vec![Instr::Load(0), Instr::Const(2.0), Instr::Mul(0, 1), Instr::Const(1.0), Instr::Add(2, 3)]);
    for (body, factor, more) in [(body, 2.0, 1.0), (Body::product(1), 1.0, 0.0)] {
        let map = Nest { dims: vec![len], body, inputs: vec![View::new(0, 0, &[1])], out: View::new(1, 3, &[1]) };
        let slots = vec![Slot::Input(len), Slot::Output { len: len + 5, wide: false }];
        let program = Program::new(slots, vec![Command::Map(map)]).expect("a program");
        let mut got = vec![-1.0; len + 5];
        Cpu::with(program, 2, Simd::best()).run(&[&data], &mut [Out::Real(&mut got)]).expect("a run");
        let wrong = got[3..len + 3].iter().zip(&data).position(|(&got, &x)| got != factor * x + more);
        assert_eq!(wrong, None);
        assert!(got[..3].iter().chain(&got[len + 3..]).all(|&x| x == 0.0 || x == -1.0));
    }
}

/// Sums whose results lie in another order than what is summed: weights with channels innermost, to channels outermost.
#[test]
fn sums_turn_the_order_of_axes() {
    for [from, side] in [[1, 3], [7, 3], [8, 3], [19, 3], [64, 3], [33, 4], [9, 1], [600, 3]] {
        let (to, n, taps) = (3, 4, side * side);
        let data = [noise(n * to * from * taps, from as u64)];
        let read = View::new(0, 0, &[taps * from, 1, side * from, from, to * taps * from]);
        let write = View::new(1, 0, &[taps * from, taps, side, 1]);
        let dims = vec![to, from, side, side];
        let nest = |over: usize| Nest {
            dims: dims.clone(),
            body: Body::product(1),
            inputs: vec![View { strides: read.strides[..over].to_vec(), ..read.clone() }],
            out: write.clone(),
        };
        let sum = Command::Reduce { nest: nest(5), over: vec![n], fold: Fold::Sum, scale: 1.0 };
        both(&data, to * from * taps, &sum, n, false).expect("the same sums");
        both(&data, to * from * taps, &Command::Map(nest(4)), 1, false).expect("the same elements");
    }
}
