//! The step of most probable improvement: unique, global, with the limits and invariances that its theory promises.

use osculate_optim::improvement::{Coefficients, Outcome};
use proptest::prelude::*;

fn decades() -> impl Strategy<Value = f64> {
    (-4.0f64..4.0).prop_map(|e| 10f64.powf(e))
}

prop_compose! {
    fn coefficients()(
        a in decades(), b in decades(), v0 in decades(), v2 in decades(), v4 in decades(), extra in decades(),
        negative in any::<bool>(), drop in 0usize..4, which in 0usize..3,
    ) -> Coefficients {
        Coefficients {
            slope: a,
            curvature: if negative { -b } else { b },
            cubic: if which == 1 { extra } else { 0.0 },
            v0,
            v2: if drop == 1 { 0.0 } else { v2 },
            v4: if drop == 2 { 0.0 } else { v4 },
            v6: if which == 2 { extra } else { 0.0 },
        }
    }
}

/// Log-spaced steps around a point.
fn around(step: f64) -> impl Iterator<Item = f64> {
    (-400..=400).map(move |i| step * 10f64.powf(f64::from(i) / 100.0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn unique_and_global(c in coefficients()) {
        let (step, outcome) = c.best_step();
        match outcome {
            Outcome::Unbounded => {
                prop_assert!(step.is_infinite() && c.curvature < 0.0 && c.cubic == 0.0 && c.v6 == 0.0 && c.v4 == 0.0);
            }
            Outcome::Ok => {
                prop_assert!(step > 0.0 && step.is_finite());
                let best = c.objective(step)[0];
                for other in around(step) {
                    let value = c.objective(other)[0];
                    // Global: nowhere is J less, but for rounding.
                    prop_assert!(value >= best - 1e-13 * best.abs(), "J({}) = {} < J({}) = {}", other, value, step, best);
                    // Unique: J falls before and rises after, up to the mean's minimiser.
                    let slope = c.objective(other)[1];
                    if other < step * 0.999 {
                        prop_assert!(slope < 0.0, "J' = {slope} at {other} < {step}");
                    } else if other > step * 1.001 && c.mean_minimiser().is_none_or(|m| other < m) {
                        prop_assert!(slope >= 0.0, "J' = {slope} at {other} > {step}");
                    }
                }
                if c.curvature > 0.0 || c.cubic > 0.0 {
                    prop_assert!(step <= c.mean_minimiser().unwrap() * (1.0 + 1e-15));
                }
            }
            Outcome::Mean => prop_assert!(c.v2 == 0.0 && c.v4 == 0.0 && c.v6 == 0.0),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn derivatives_of_the_objective(c in coefficients(), at in 0.1f64..2.0) {
        let (step, outcome) = c.best_step();
        prop_assume!(outcome == Outcome::Ok);
        let x = step * at;
        let h = 1e-4 * x;
        let [_, slope, bend] = c.objective(x);
        let [low, high] = [c.objective(x - h), c.objective(x + h)];
        let scale = c.objective(x)[0].abs();
        prop_assert!(((high[0] - low[0]) / (2.0 * h) - slope).abs() * x <= 1e-6 * (slope.abs() * x + scale));
        prop_assert!(((high[1] - low[1]) / (2.0 * h) - bend).abs() * x * x <= 1e-6 * (bend.abs() * x * x + slope.abs() * x + scale));
    }

    #[test]
    fn invariances(c in coefficients(), k in decades(), v in decades(), m in decades()) {
        let (step, outcome) = c.best_step();
        prop_assume!(outcome == Outcome::Ok);
        // The loss in other units; the variances in common by any factor; the direction by k.
        let scaled = Coefficients {
            slope: k * m * c.slope,
            curvature: k * k * m * c.curvature,
            cubic: k * k * k * m * c.cubic,
            v0: v * c.v0,
            v2: v * k.powi(2) * c.v2,
            v4: v * k.powi(4) * c.v4,
            v6: v * k.powi(6) * c.v6,
        };
        let (other, outcome) = scaled.best_step();
        prop_assert_eq!(outcome, Outcome::Ok);
        prop_assert!((other * k / step - 1.0).abs() < 1e-9, "{} {}", other * k, step);
    }
}

#[test]
fn limits() {
    let c = Coefficients { slope: 3.0, curvature: 2.0, v0: 1.0, v2: 1.0, v4: 1.0, ..Coefficients::default() };
    let step = |c: Coefficients| c.best_step().0;
    // A noisier loss makes the step bolder, up to the mean's minimiser; an exact loss makes it vanish.
    assert!((step(Coefficients { v0: 1e12, ..c }) / 1.5 - 1.0).abs() < 1e-9);
    assert!(step(Coefficients { v0: 1e-12, ..c }) < 1e-3);
    let big = 1e15;
    let noisy_slope = step(Coefficients { v2: big, v4: 0.0, ..c }) / (2.0 * 3.0 / (2.0 * big)).cbrt();
    assert!((noisy_slope - 1.0).abs() < 1e-4, "{noisy_slope}");
    let noisy_curvature = step(Coefficients { v2: 0.0, v4: big, ..c }) / (4.0 / big).powf(0.25);
    assert!((noisy_curvature - 1.0).abs() < 2e-3, "{noisy_curvature}");
    // Huge and tiny scales do not overflow.
    for scale in [1e-140, 1e140] {
        let s = Coefficients {
            slope: scale * c.slope,
            curvature: scale * c.curvature,
            v0: scale,
            v2: scale,
            v4: scale,
            ..c
        };
        assert!((s.best_step().0 / step(c) - 1.0).abs() < 1e-12);
    }
    // Without a constant variance, on a hilltop: J = -(a + |b|α/2)/√(p̃ + q̃α²/4) has its minimum at 2|b|p̃/(aq̃).
    let hill = Coefficients { slope: 2.0, curvature: -1.0, v2: 0.5, v4: 0.25, ..Coefficients::default() };
    assert!((step(hill) - 2.0 * 0.5 / (2.0 * 0.25)).abs() < 1e-12);
    assert_eq!(c.probability(0.0), 0.5);
    assert!(c.probability(step(c)) > c.probability(1.5));
}
