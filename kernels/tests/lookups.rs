//! Gathers, scatters and equal indices on the CPU executor against the naive one: any axis, repeated indices, poisoned outputs, guard
//! words, the same bits for every set of instructions and number of threads.

use osculate_kernels::{Command, Cpu, Error, First, Lookup, Out, Program, Real, Reference, Simd, Slot, View};
use proptest::prelude::*;

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

/// A view on loops of these extents, axes laid out in random order with gaps, and the length of its slot; some axes are repeated, if
/// that is allowed.
fn layout(dims: &[usize], repeats: bool, gap: usize, seed: u64, slot: usize) -> (View, usize) {
    let (keys, repeat) = (noise(dims.len(), seed), noise(dims.len(), seed ^ 5));
    let mut order: Vec<usize> = (0..dims.len()).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
    let (mut strides, mut step) = (vec![0; dims.len()], 1 + gap % 2);
    for axis in order {
        if !(repeats && repeat[axis] > 0.7) {
            strides[axis] = step;
            step *= dims[axis];
        }
        step += gap;
    }
    let end: usize = strides.iter().zip(dims).map(|(s, d)| s * (d - 1)).sum();
    (View { slot, offset: gap, strides }, 2 * gap + end + 1)
}

/// Runs a command of two inputs on both executors, over an output that holds `before`, which guards what is around the view, too.
fn agree<T: Real>(
    command: &Command,
    inputs: [&[f64]; 2],
    len: usize,
    before: f64,
    tolerance: f64,
) -> Result<(), String> {
    let rounded = inputs.map(|x| x.iter().map(|&v| T::from_f64(v)).collect::<Vec<T>>());
    let exact = rounded.each_ref().map(|x| x.iter().map(|&v| v.to_f64()).collect::<Vec<f64>>());
    let slots = vec![Slot::Input(exact[0].len()), Slot::Input(exact[1].len()), Slot::Output { len, wide: false }];
    let program = Program::new(slots, vec![command.clone()]).map_err(|e| e.to_string())?;
    let mut want = vec![before; len];
    let mut reference = Reference::new(program.clone());
    reference.run(&[&exact[0], &exact[1]], &mut [Out::Real(&mut want)]).map_err(|e| e.to_string())?;
    let mut first: Option<Vec<u64>> = None;
    for simd in Simd::available() {
        for threads in [1, 2, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let mut got = vec![T::from_f64(before); len];
            let mut cpu = Cpu::<T>::with(program.clone(), threads, simd);
            let inputs: [&[T]; 2] = [&rounded[0], &rounded[1]];
            pool.install(|| cpu.run(&inputs, &mut [Out::Real(&mut got)])).map_err(|e| e.to_string())?;
            for (at, (&g, w)) in got.iter().zip(&want).enumerate() {
                let g = g.to_f64();
                if g.is_nan() != w.is_nan() || (g - w).abs() > tolerance * (1.0 + w.abs()) {
                    return Err(format!("{simd}, {threads} threads, element {at}: {g} instead of {w}"));
                }
            }
            let bits: Vec<u64> = got.iter().map(|&v| v.to_f64().to_bits()).collect();
            if *first.get_or_insert_with(|| bits.clone()) != bits {
                return Err(format!("{simd}, {threads} threads: other bits"));
            }
        }
    }
    Ok(())
}

/// In both types, for so many numbers in a sum; none says that no number is rounded.
fn both(command: &Command, inputs: [&[f64]; 2], len: usize, before: f64, terms: usize) -> Result<(), TestCaseError> {
    // Partial sums grow with the square root of their terms, and so do their roundings, which add up as slowly. In f32, sums are
    // rounded once.
    let tolerances = if terms == 0 { [0.0; 2] } else { [1e-15 + 3e-16 * terms as f64, 2e-7] };
    agree::<f64>(command, inputs, len, before, tolerances[0]).map_err(TestCaseError::fail)?;
    agree::<f32>(command, inputs, len, before, tolerances[1]).map_err(TestCaseError::fail)
}

/// Indices below `rows`: any, all the same, each another, or some beside the table.
fn indices(n: usize, rows: usize, kind: usize, seed: u64) -> Vec<f64> {
    let any = noise(n, seed ^ 11).into_iter().map(|v| ((v + 1.0) / 2.0 * rows as f64).floor());
    match kind {
        0 => any.collect(),
        1 => vec![(rows / 2) as f64; n],
        2 => (0..n).map(|i| ((n - i) % rows) as f64).collect(),
        _ => any.enumerate().map(|(i, v)| [v, rows as f64, v, -1.0, f64::NAN, v][i % 6]).collect(),
    }
}

prop_compose! {
    fn loops()(
        batch in prop::collection::vec(1usize..5, 0..3),
        positions in prop::collection::vec(prop_oneof![1usize..7, 1usize..40, Just(300)], 0..3),
        inner in prop::collection::vec(prop_oneof![1usize..5, 1usize..40, Just(70)], 0..3),
    ) -> [Vec<usize>; 3] {
        let shrink = |mut dims: Vec<usize>| {
            while dims.iter().product::<usize>() > 600 {
                let largest = (0..dims.len()).max_by_key(|&i| dims[i]).expect("not empty");
                dims[largest] = 3;
            }
            dims
        };
        [batch, shrink(positions), shrink(inner)]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_picked_and_added_to(
        [batch, positions, inner] in loops(), rows in prop_oneof![Just(1usize), 2usize..9, Just(500)],
        kind in 0usize..4, gap in 0usize..3, seed in any::<u64>(),
    ) {
        let dims = [
            [&batch[..], &positions].concat(), [&batch[..], &[rows], &inner].concat(),
            [&batch[..], &positions, &inner].concat(),
        ];
        let (index, index_len) = layout(&dims[0], true, gap, seed, 0);
        let index_data = indices(index_len, rows, kind, seed);
        let lookup = |table: View, values: View| Lookup {
            batch: batch.clone(), positions: positions.clone(), rows, inner: inner.clone(), index: index.clone(), table, values,
        };
        let (table, from) = layout(&dims[1], true, gap, seed ^ 1, 1);
        let (values, len) = layout(&dims[2], false, gap, seed ^ 2, 2);
        let gather = Command::Gather(lookup(table, values));
        both(&gather, [&index_data, &noise(from, seed)], len, f64::from_bits(0x7ff8_dead_beef_0000), 0)?;
        // On top of what is there, and on nothing: whole numbers are exact.
        let (values, from) = layout(&dims[2], true, gap, seed ^ 3, 1);
        let (table, len) = layout(&dims[1], false, gap, seed ^ 4, 2);
        let scatter = Command::ScatterAdd(lookup(table, values));
        both(&scatter, [&index_data, &noise(from, seed)], len, 0.25, dims[0].iter().product())?;
        let whole: Vec<f64> = noise(from, seed).iter().map(|v| (v * 64.0).round()).collect();
        both(&scatter, [&index_data, &whole], len, 0.0, 0)?;
    }

    #[test]
    fn equal_indices_are_found(
        [batch, positions, _] in loops(), rows in prop_oneof![Just(1usize), 2usize..9, Just(500)],
        kind in 0usize..4, gap in 0usize..3, seed in any::<u64>(),
    ) {
        let dims = [&batch[..], &positions].concat();
        let (index, from) = layout(&dims, true, gap, seed, 0);
        let (out, len) = layout(&dims, false, gap, seed ^ 1, 2);
        let first = Command::First(First { batch, positions, index, out });
        both(&first, [&indices(from, rows, kind, seed), &[0.0]], len, -7.0, 0)?;
    }
}

/// Work that is large enough for threads to share: many lists, one long one, rows along and across.
#[test]
fn threads_share_lookups() {
    for (batch, positions, rows, inner) in [
        (vec![], vec![5000], 1000, vec![32]),
        (vec![], vec![5000], 3, vec![17]),
        (vec![64], vec![100], 40, vec![8]),
        (vec![7], vec![301, 9], 1, vec![5]),
        (vec![], vec![2], 4, vec![9000]),
    ] {
        let size = |dims: &[usize]| dims.iter().product::<usize>();
        let (b, p, i) = (size(&batch), size(&positions), size(&inner));
        let index = indices(b * p, rows, 0, 3);
        for across in [false, true] {
            let strides = |dims: &[usize], last: usize| -> Vec<usize> {
                // Row-major, or the loops of a row outermost.
                let (outer, row) = dims.split_at(dims.len() - last);
                let along = |dims: &[usize], step: usize| -> Vec<usize> {
                    (0..dims.len()).map(|a| step * size(&dims[a + 1..])).collect()
                };
                match across {
                    false => [along(outer, size(row)), along(row, 1)].concat(),
                    true => [along(outer, 1), along(row, size(outer))].concat(),
                }
            };
            let of_table = strides(&[&batch[..], &[rows], &inner].concat(), inner.len());
            let of_values = strides(&[&batch[..], &positions, &inner].concat(), inner.len());
            let of_index: Vec<usize> =
                (0..batch.len() + positions.len()).map(|a| size(&[&batch[..], &positions].concat()[a + 1..])).collect();
            let lookup = |table: usize, values: usize| Lookup {
                batch: batch.clone(),
                positions: positions.clone(),
                rows,
                inner: inner.clone(),
                index: View::new(0, 0, &of_index),
                table: View::new(table, 0, &of_table),
                values: View::new(values, 0, &of_values),
            };
            let gather = Command::Gather(lookup(1, 2));
            both(&gather, [&index, &noise(b * rows * i, 1)], b * p * i, f64::NAN, 0).expect("the same rows");
            let scatter = Command::ScatterAdd(lookup(2, 1));
            both(&scatter, [&index, &noise(b * p * i, 2)], b * rows * i, 0.0, p).expect("the same sums");
        }
        let (batch, positions) = (vec![b], vec![p]);
        let [index_view, out] = [0, 2].map(|slot| View::new(slot, 0, &[p, 1]));
        let first = Command::First(First { batch, positions, index: index_view, out });
        both(&first, [&index, &[0.0]], b * p, -1.0, 0).expect("the same positions");
    }
}

/// A row that very many add to keeps its digits: in f32 alone, 2²⁴ + 1 + 1 + … stays what it is.
#[test]
fn many_additions_keep_their_digits() {
    let n = 100_000;
    let mut values = vec![1f32; n];
    values[0] = 16_777_216.0;
    let scatter = Command::ScatterAdd(Lookup {
        positions: vec![n],
        rows: 2,
        index: View::new(0, 0, &[0]),
        table: View::new(2, 0, &[1]),
        values: View::new(1, 0, &[1]),
        ..Lookup::default()
    });
    let slots = vec![Slot::Input(1), Slot::Input(n), Slot::Output { len: 2, wide: false }];
    let mut out = [5.0, 1.0];
    let mut cpu = Cpu::new(Program::new(slots, vec![scatter]).expect("a program"));
    cpu.run(&[&[1.0], &values], &mut [Out::Real(&mut out)]).expect("a run");
    assert_eq!(out, [5.0, 16_777_216.0 + 100_000.0]);
}

#[test]
fn malformed_lookups_are_refused() {
    let slots = || {
        let wide = Slot::Output { len: 6, wide: true };
        vec![Slot::Input(2), Slot::Input(6), Slot::Output { len: 6, wide: false }, wide]
    };
    let good = Lookup {
        batch: vec![],
        positions: vec![2],
        rows: 2,
        inner: vec![3],
        index: View::new(0, 0, &[1]),
        table: View::new(1, 0, &[3, 1]),
        values: View::new(2, 0, &[3, 1]),
    };
    assert!(Program::new(slots(), vec![Command::Gather(good.clone())]).is_ok());
    let first = |index: View, out: View| Command::First(First { batch: vec![], positions: vec![2], index, out });
    let cases = [
        (Command::Gather(Lookup { rows: 3, ..good.clone() }), "the table ends at 9 of a slot of 6"),
        (Command::Gather(Lookup { rows: 0, ..good.clone() }), "the table has a loop of extent 0"),
        (Command::Gather(Lookup { positions: vec![3], ..good.clone() }), "the index ends at 3 of a slot of 2"),
        (
            Command::Gather(Lookup { values: View::new(3, 0, &[3, 1]), ..good.clone() }),
            "a gather cannot be written to a wide output",
        ),
        (Command::Gather(Lookup { values: View::new(2, 0, &[0, 1]), ..good.clone() }), "the output's loops overlap"),
        (Command::ScatterAdd(good.clone()), "the output is an input or a constant"),
        (
            Command::ScatterAdd(Lookup {
                table: View::new(2, 0, &[1, 1]),
                values: View::new(1, 0, &[3, 1]),
                ..good.clone()
            }),
            "the output's loops overlap",
        ),
        (
            Command::ScatterAdd(Lookup {
                table: View::new(3, 0, &[3, 1]),
                values: View::new(1, 0, &[3, 1]),
                ..good.clone()
            }),
            "a scatter cannot be written to a wide output",
        ),
        (
            Command::Gather(Lookup { rows: 1 << 40, table: View::new(1, 0, &[0, 1]), ..good.clone() }),
            "2 positions and 1099511627776 rows, but a lookup has at most 4294967295",
        ),
        (first(View::new(0, 1, &[1]), View::new(2, 0, &[1])), "the index ends at 3 of a slot of 2"),
        (first(View::new(0, 0, &[1]), View::new(3, 0, &[1])), "a position cannot be written to a wide output"),
        (first(View::new(0, 0, &[1]), View::new(2, 0, &[0])), "the output's loops overlap"),
    ];
    for (command, why) in cases {
        let got = Program::new(slots(), vec![command]).err();
        assert_eq!(got, Some(Error::Command { command: 0, why: why.into() }));
    }
}
