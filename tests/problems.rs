//! The functions that optimizers are tried on.

use osculate::nn::problems::{SURFACES, Surface, noise, quadratic};
use osculate::optim::{Minibatches, Oracle, by_name};
use osculate::{Array, Batch, Device, Rng, check};
use proptest::prelude::*;

#[test]
fn minima_are_where_they_are_said_to_be() {
    for surface in SURFACES {
        let loss = surface.loss().expect("a loss");
        let batch = noise(1, 2, 0.0, &mut Rng::new(0)).and_then(|e| e.all()).expect("an example");
        let mut oracles = Minibatches::<_, f64>::new(&loss, &Device::cpu());
        let mut oracle = oracles.on(&batch);
        let value = |oracle: &mut dyn Oracle<f64>, at: [f64; 2]| oracle.loss(&at).expect("a value");
        for &[x, y] in surface.minima {
            let mut g = [0.0; 2];
            let least = oracle.gradient(&[x, y], &mut g).expect("a gradient");
            assert!((least - surface.least).abs() < 1e-12, "{}: {least}", surface.name);
            assert!(g.iter().all(|g| g.abs() < 1e-9), "{}: {g:?}", surface.name);
            for (dx, dy) in [(1e-3, 0.0), (-1e-3, 0.0), (0.0, 1e-3), (0.0, -1e-3), (1e-3, 1e-3), (1e-3, -1e-3)] {
                assert!(value(&mut oracle, [x + dx, y + dy]) > least, "{}", surface.name);
            }
        }
        assert!(value(&mut oracle, surface.start) > surface.least + 1.0);
        for (at, [low, high]) in surface.start.iter().zip(surface.window) {
            assert!((low..=high).contains(at));
        }
        assert_eq!(Surface::named(surface.name).expect("itself").name, surface.name);
    }
    assert!(Surface::named("ackley").err().is_some_and(|e| e.to_string().contains("there are rosenbrock, beale")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Derivatives of every surface, anywhere in its window.
    #[test]
    fn derivatives(which in 0usize..6, x in 0.0..1.0f64, y in 0.0..1.0f64, dx in -1.0..1.0f64) {
        let surface = SURFACES[which];
        let [wx, wy] = surface.window;
        let at = Array::new([2], vec![wx[0] + x * (wx[1] - wx[0]), wy[0] + y * (wy[1] - wy[0])]).expect("a point");
        let loss = surface.loss().expect("a loss");
        let noise = Array::new([2], vec![dx, -dx]).expect("an example");
        prop_assert!(check::derivatives(&loss, &at, &noise, 2).is_ok());
    }
}

#[test]
fn quadratics_have_the_noise_of_their_minima() {
    let h = Array::new([3, 3], vec![2.0, 0.3, 0.0, 0.3, 1.0, -0.2, 0.0, -0.2, 0.5]).expect("a matrix");
    let loss = quadratic(&h).expect("a loss");
    let examples = noise(4000, 3, 0.7, &mut Rng::new(5)).expect("examples");
    let all: Batch<f64> = examples.all().expect("a batch");
    let mut oracles = Minibatches::new(&loss, &Device::cpu());
    let mut oracle = oracles.on(&all);
    let moments = oracle.moments(&[1.0, -1.0, 2.0], None, osculate::Request::gradient()).expect("moments");
    // Gradients are H(θ − ξ): 0.49 ‖H‖²/3 a coordinate, with a relative standard error of a few hundredths at most.
    let variance = moments.gradient_variance().expect("a variance").value;
    let want = 0.49 * h.values().iter().map(|v| v * v).sum::<f64>() / 3.0;
    assert!((variance / want - 1.0).abs() < 0.1, "{variance} instead of {want}");
    assert!(quadratic(&Array::full([2, 3], 1.0)).is_err());
}

#[test]
fn surfaces_are_descended() {
    for (surface, name) in [
        ("rosenbrock", "lradapt-adam"),
        ("matyas", "kafisto"),
        ("beale", "lradapt-adam"),
        ("goldstein-price", "armijo"),
        ("branin", "lradapt-sgd"),
    ] {
        let surface = Surface::named(surface).expect("a surface");
        let batch = noise(2, 2, 0.0, &mut Rng::new(0)).and_then(|e| e.all()).expect("examples");
        let loss = surface.loss().expect("a loss");
        let mut oracles = Minibatches::<_, f64>::new(&loss, &Device::cpu());
        let above = |oracles: &mut Minibatches<_, f64>, at: &[f64]| {
            oracles.on(&batch).loss(at).expect("a value") - surface.least
        };
        let (mut at, mut optimizer) = (surface.start, by_name::<f64>(name, 2).expect("an optimizer"));
        let start = above(&mut oracles, &at);
        for _ in 0..500 {
            optimizer.step(&mut at, &mut oracles.on(&batch)).expect("a step");
        }
        let end = above(&mut oracles, &at);
        assert!(end < start / 10.0, "{name} on {}: from {start} to {end} at {at:?}", surface.name);
    }
}
