//! Every word of {grad, jvp, vmap} up to length 3, each letter checked against the word before it: vmap against a loop, grad and
//! jvp against central differences. And derivatives in two orders of transforms that must agree.

mod support;

use osculate::{Device, Rng};
use proptest::prelude::*;
use support::*;

fn letter(f: &F, letter: char, rng: &mut Rng, p: &Arrays) -> Result<F, String> {
    match letter {
        'v' => {
            vmap_is_a_loop(f, p, rng, 2)?;
            Ok(f.vmap(2).expect("a batch"))
        }
        'j' => {
            let word = jvp_word(f);
            let data = arrays(word.data(), rng);
            let (d, v) = data.split_at(f.data().len());
            let got = run(&word, p, &data);
            is_slope(&got, |t| run(f, &moved(p, t, &v.to_vec()), &d.to_vec()), 1e-5, 1e-2)?;
            Ok(word)
        }
        _ => {
            let word = grad_word(f);
            let data = arrays(word.data(), rng);
            let (d, u) = data.split_at(f.data().len());
            let gradient = run(&word, p, &data);
            // Every partial derivative of <u, f>.
            for (k, array) in gradient.iter().enumerate() {
                for i in 0..array.values().len() {
                    let mut unit: Arrays = p.iter().map(|a| osculate::Array::full(a.shape(), 0.0)).collect();
                    unit[k].values_mut()[i] = 1.0;
                    let along = |t: f64| {
                        vec![osculate::Array::scalar(dot(&run(f, &moved(p, t, &unit), &d.to_vec()), &u.to_vec()))]
                    };
                    let got = vec![osculate::Array::scalar(array.values()[i])];
                    is_slope(&got, along, 1e-5, 1e-1).map_err(|e| format!("partial {k}.{i}: {e}"))?;
                }
            }
            Ok(word)
        }
    }
}

fn words() -> Vec<String> {
    let mut all = vec![String::new()];
    for length in 0..3 {
        let longer: Vec<String> =
            all.iter().filter(|w| w.len() == length).flat_map(|w| ["g", "j", "v"].map(|l| format!("{w}{l}"))).collect();
        all.extend(longer);
    }
    all.retain(|w| w.len() == 3); // their beginnings are the shorter words
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_word_of_length_three(seed in any::<u64>(), ops in 1usize..8) {
        for word in words() {
            let rng = &mut Rng::new(seed ^ 1);
            let mut f = random_function(seed, ops, false);
            let p = arrays(f.params(), rng);
            for l in word.chars() {
                f = letter(&f, l, rng, &p).map_err(|e| TestCaseError::fail(format!("{word}, letter {l}: {e}")))?;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Hv is the difference of gradients, symmetric, and the same in reverse-over-forward and forward-over-forward.
    #[test]
    fn hessian_vector_products(seed in any::<u64>(), ops in 1usize..12) {
        let f = random_function(seed, ops, false);
        let rng = &mut Rng::new(seed ^ 2);
        let p = arrays(f.params(), rng);
        let (u, v) = (arrays(f.params(), rng), arrays(f.params(), rng));
        let scalar = f.dot_output().unwrap();
        let (d, w) = (arrays(f.data(), rng), arrays(f.outputs(), rng));
        let data = (d, w);
        let cpu = Device::cpu();
        let mut hvp = scalar.hvp().unwrap().compile::<f64>(&cpu).unwrap();
        let mut grad = scalar.grad().unwrap().compile::<f64>(&cpu).unwrap();
        let (gradient, hv) = hvp.run(&(p.clone(), v.clone()), &data).unwrap();
        let fail = TestCaseError::fail;
        same(&gradient, &grad.run(&p, &data).unwrap(), 1e-12).map_err(fail)?;
        is_slope(&hv, |t| grad.run(&moved(&p, t, &v), &data).unwrap(), 1e-6, 1e-2).map_err(fail)?;
        let (_, hu) = hvp.run(&(p.clone(), u.clone()), &data).unwrap();
        let scale = dot(&hv, &hv).sqrt() * dot(&u, &u).sqrt() + 1e-6;
        prop_assert!((dot(&u, &hv) - dot(&v, &hu)).abs() <= 1e-10 * scale);
        // Reverse over forward: the gradient of Df[v].
        let n = f.data().len();
        let lists = trace(f.params().clone(), [f.data().clone(), f.outputs().clone()].concat(), |tape, p, d| {
            vec![scalar.call(tape, &p, &(d[..n].to_vec(), d[n..].to_vec()))]
        });
        let backwards = grad_word(&jvp_word(&lists));
        let one = vec![osculate::Array::scalar(1.0)];
        let extended = [data.0.clone(), data.1.clone(), v.clone(), one].concat();
        same(&run(&backwards, &p, &extended), &hv, 1e-11).map_err(fail)?;
        // Forward over forward: vᵀHv.
        let along = scalar.directional(2).unwrap().compile::<f64>(&cpu).unwrap().run(&(p.clone(), v.clone()), &data).unwrap();
        prop_assert!((along[2].item().unwrap() - dot(&v, &hv)).abs() <= 1e-11 * scale.max(dot(&v, &v)));
        // The whole Hessian, and the Jacobian of the gradient both ways.
        let flat = |a: &Arrays| a.iter().flat_map(|a| a.values().to_vec()).collect::<Vec<_>>();
        let hessian = scalar.hessian().unwrap().compile::<f64>(&cpu).unwrap().run(&p, &data).unwrap();
        let (flat_v, flat_hv) = (flat(&v), flat(&hv));
        let size = flat_v.len();
        prop_assert_eq!(hessian.shape().to_vec(), vec![size, size]);
        for (row, want) in hessian.values().chunks(size).zip(flat_hv) {
            let product: f64 = row.iter().zip(&flat_v).map(|(h, v)| h * v).sum();
            prop_assert!((product - want).abs() <= 1e-10 * scale.max(1.0), "{} {}", product, want);
        }
        let gradient = scalar.grad().unwrap().flat().unwrap();
        let forward = gradient.jacfwd().unwrap().compile::<f64>(&cpu).unwrap().run(&p, &data).unwrap();
        let reverse = gradient.jacrev().unwrap().compile::<f64>(&cpu).unwrap().run(&p, &data).unwrap();
        same(&forward, &reverse, 1e-11).map_err(fail)?;
    }

    /// The batch's gradient is the sum of the examples', and a linearisation pushes any number of tangents.
    #[test]
    fn sums_and_linearisations(seed in any::<u64>(), ops in 1usize..12) {
        let f = random_function(seed, ops, true);
        let rng = &mut Rng::new(seed ^ 3);
        let p = arrays(f.params(), rng);
        let scalar = f.dot_output().unwrap();
        let n = 3;
        let rows = (arrays(&batched(f.data(), n), rng), arrays(&batched(f.outputs(), n), rng));
        let cpu = Device::cpu();
        let mean = scalar.mean(n).unwrap().grad().unwrap().compile::<f64>(&cpu).unwrap().run(&p, &rows).unwrap();
        let each = scalar.grad().unwrap().vmap(n).unwrap().compile::<f64>(&cpu).unwrap().run(&p, &rows).unwrap();
        let averaged: Arrays = each.iter().zip(f.params()).map(|(all, s)| {
            let size = s.shape.size();
            osculate::Array::from_fn(s.shape.clone(), |i| (0..n).map(|b| all.values()[b * size + i]).sum::<f64>() / n as f64)
        }).collect();
        same(&mean, &averaged, 1e-12).map_err(TestCaseError::fail)?;

        let d = arrays(f.data(), rng);
        let split = f.linearize().unwrap();
        let (value, residuals) = split.value.compile::<f64>(&cpu).unwrap().run(&p, &d).unwrap();
        same(&value, &run(&f, &p, &d), 1e-13).map_err(TestCaseError::fail)?;
        let mut push = split.map.compile::<f64>(&cpu).unwrap();
        let mut jvp = f.jvp().unwrap().compile::<f64>(&cpu).unwrap();
        for _ in 0..2 {
            let v = arrays(f.params(), rng);
            let (_, want) = jvp.run(&(p.clone(), v.clone()), &d).unwrap();
            same(&push.run(&v, &residuals).unwrap(), &want, 1e-12).map_err(TestCaseError::fail)?;
        }
    }
}
