//! The step-size problem: everything that the theory of its polynomial promises, and expected improvement beside it.

use osculate::Rng;
use osculate::optim::improvement::{Coefficients, Outcome};
use proptest::prelude::*;

/// Numbers over eight decades.
fn decades() -> impl Strategy<Value = f64> {
    (-4.0..4.0f64).prop_map(|e| 10f64.powf(e))
}

/// Coefficients with a > 0 and V₀ > 0; at most one of c and ℓ is not 0, and any of b, p̃, q̃ may be.
fn coefficients() -> impl Strategy<Value = Coefficients> {
    let maybe = || prop_oneof![Just(0.0), decades()];
    let curvature = prop_oneof![Just(0.0), decades(), decades().prop_map(|b| -b)];
    let third = prop_oneof![Just((0.0, 0.0)), decades().prop_map(|c| (c, 0.0)), decades().prop_map(|l| (0.0, l))];
    (decades(), curvature, decades(), maybe(), maybe(), third).prop_map(
        |(slope, curvature, v0, v2, v4, (cubic, v6))| Coefficients { slope, curvature, cubic, v0, v2, v4, v6 },
    )
}

/// Steps from far below to far above a scale.
fn scan(about: f64) -> impl Iterator<Item = f64> {
    (-400..=400).map(move |i| about * 10f64.powf(f64::from(i) / 100.0))
}

fn improvement(c: &Coefficients, step: f64) -> f64 {
    c.mean(step) / c.variance(step).sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The step is a stationary point, the only one up to the mean's minimiser, and no other step is better.
    #[test]
    fn the_step_is_the_best_there_is(c in coefficients()) {
        let (step, outcome) = c.best_step();
        match outcome {
            Outcome::Ok => {
                let best = improvement(&c, step);
                let [_, slope, bend] = c.objective(step);
                prop_assert!(bend > 0.0 && slope.abs() <= 1e-9 * bend * step, "{c:?}: {slope} {bend} at {step}");
                for other in scan(step) {
                    prop_assert!(improvement(&c, other) >= best * (1.0 + 1e-12), "{c:?}: {other} beats {step}");
                }
                // One change of sign of the derivative below the mean's minimiser.
                let end = c.mean_minimiser().unwrap_or(f64::INFINITY);
                let signs: Vec<bool> = scan(step).filter(|&s| s < end).map(|s| c.objective(s)[1] > 0.0).collect();
                let changes = signs.windows(2).filter(|pair| pair[0] != pair[1]).count();
                prop_assert!(changes <= 1 && !signs[0], "{c:?}: {changes} changes");
                if c.curvature > 0.0 {
                    prop_assert!(step <= end * (1.0 + 1e-15), "{c:?}: {step} beyond {end}");
                }
            }
            Outcome::Mean => prop_assert!(c.v2 == 0.0 && c.v4 == 0.0 && c.v6 == 0.0),
            Outcome::Unbounded => {
                // Better and better for ever.
                prop_assert!(c.curvature <= 0.0);
                let values: Vec<f64> = scan(1.0).map(|s| improvement(&c, s)).collect();
                prop_assert!(values.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 - 1e-15)), "{c:?}");
            }
            _ => prop_assert!(false, "{c:?}: {outcome:?}"),
        }
    }

    #[test]
    fn derivatives_are_those_of_differences(c in coefficients(), at in decades()) {
        let at = at * (c.v0 / (c.v2 + c.v4 + c.v6 + c.v0)).sqrt();
        let h = 1e-4 * at;
        let value = |s: f64| c.objective(s)[0];
        let [_, slope, bend] = c.objective(at);
        // Richardson's, of fourth order.
        let first = (8.0 * (value(at + h) - value(at - h)) - (value(at + 2.0 * h) - value(at - 2.0 * h))) / (12.0 * h);
        let scale = (value(at).abs() + at * slope.abs()) / at;
        prop_assert!((first - slope).abs() <= 1e-6 * scale, "{c:?} at {at}: {first} {slope}");
        let slopes = |s: f64| c.objective(s)[1];
        let second = (8.0 * (slopes(at + h) - slopes(at - h)) - (slopes(at + 2.0 * h) - slopes(at - 2.0 * h))) / (12.0 * h);
        prop_assert!((second - bend).abs() <= 1e-6 * (scale / at + bend.abs()), "{c:?} at {at}: {second} {bend}");
    }

    /// Units of the loss, of the direction, and of all variances together.
    #[test]
    fn units_do_not_matter(c in coefficients(), k in decades()) {
        let Coefficients { slope, curvature, cubic, v0, v2, v4, v6 } = c;
        let (step, outcome) = c.best_step();
        let same = |other: Coefficients, factor: f64| {
            let (got, how) = other.best_step();
            let want = step * factor;
            prop_assert_eq!(outcome, how);
            prop_assert!(got == want || (got - want).abs() <= 1e-10 * want, "{:?}: {} instead of {}", c, got, want);
            Ok(())
        };
        let k2 = k * k;
        same(Coefficients { slope: k * slope, curvature: k * curvature, cubic: k * cubic, v0: k2 * v0, v2: k2 * v2, v4: k2 * v4, v6: k2 * v6 }, 1.0)?;
        same(
            Coefficients {
                slope: k * slope, curvature: k2 * curvature, cubic: k * k2 * cubic, v0, v2: k2 * v2, v4: k2 * k2 * v4, v6: k2 * k2 * k2 * v6,
            },
            1.0 / k,
        )?;
        same(Coefficients { v0: k * v0, v2: k * v2, v4: k * v4, v6: k * v6, ..c }, 1.0)?;
    }

    #[test]
    fn expected_improvement_has_its_first_maximum_there(c in coefficients()) {
        let (step, outcome) = c.best_expected(None);
        let Some(minimiser) = c.mean_minimiser() else {
            prop_assert_eq!((step, outcome), (f64::INFINITY, Outcome::Unbounded));
            let (step, outcome) = c.best_expected(Some(3.0));
            prop_assert_eq!((step, outcome), (3.0, Outcome::Ok));
            return Ok(());
        };
        prop_assert!(outcome == Outcome::Ok && step >= minimiser * (1.0 - 1e-12) && step <= 10.0 * minimiser * (1.0 + 1e-12));
        // Where it is no smaller than numbers can be, it grows up to the step and falls behind it.
        let [best, slope] = c.expected_improvement(step);
        prop_assume!(best > 1e-290);
        let values: Vec<f64> = (1..=1000).map(|i| c.expected_improvement(step * f64::from(i) / 1000.0)[0]).collect();
        prop_assert!(values.windows(2).all(|pair| pair[1] >= pair[0] * (1.0 - 1e-12)), "{c:?}: falls before {step}");
        if step < 10.0 * minimiser * (1.0 - 1e-9) {
            prop_assert!(slope.abs() * step <= 1e-7 * best.max(c.variance(step).sqrt()), "{c:?}: slope {slope} at {step}");
            prop_assert!(c.expected_improvement(step * 1.0001)[1] <= 0.0);
        }
    }

    #[test]
    fn expected_improvements_derivative_is_that_of_differences(c in coefficients(), at in decades()) {
        let at = at * (c.v0 / (c.v2 + c.v4 + c.v6 + c.v0)).sqrt();
        let h = 1e-4 * at;
        let value = |s: f64| c.expected_improvement(s)[0];
        let first = (8.0 * (value(at + h) - value(at - h)) - (value(at + 2.0 * h) - value(at - 2.0 * h))) / (12.0 * h);
        let [now, slope] = c.expected_improvement(at);
        // Where J runs through the bend of Φ, or far in its tail, within a step of differences these say nothing.
        let change = (improvement(&c, at + 2.0 * h) - improvement(&c, at - 2.0 * h)).abs();
        prop_assume!(improvement(&c, at) < 5.0 && change < 0.04);
        prop_assert!((first - slope).abs() <= 1e-6 * (slope.abs() + now / at), "{c:?} at {at}: {first} {slope}");
    }
}

#[test]
fn limits() {
    let c = Coefficients { slope: 1.0, curvature: 1.0, v0: 2.0, ..Coefficients::default() };
    let step = |c: Coefficients| c.best_step().0;
    // No noise along the direction, or endless noise of the loss: the mean's minimiser, from below.
    assert!((step(Coefficients { v2: 1e-12, ..c }) - 1.0).abs() < 1e-11);
    assert!((step(Coefficients { v0: 1e12, v2: 1.0, v4: 1.0, ..c }) - 1.0).abs() < 1e-11);
    // A certain loss and an uncertain slope: no step.
    assert!(step(Coefficients { v0: 1e-12, v2: 1.0, v4: 1.0, ..c }) < 1e-3);
    // Endless noise of the slope, of the curvature.
    let slope = step(Coefficients { v2: 1e12, ..c }) / (2.0 * 2.0 / 1e12f64).cbrt();
    let curvature = step(Coefficients { v4: 1e12, ..c }) / (4.0 * 2.0 / 1e12f64).powf(0.25);
    assert!((slope - 1.0).abs() < 1e-3 && (curvature - 1.0).abs() < 2e-3, "{slope} {curvature}");
    assert_eq!(Coefficients { v0: 0.0, v2: 1.0, ..c }.best_step(), (0.0, Outcome::ZeroV0));
}

/// Against the mean of max(−change, 0) over random changes.
#[test]
fn expected_improvement_is_the_mean_of_improvements() {
    let c = Coefficients { slope: 1.0, curvature: 0.8, v0: 0.5, v2: 0.3, v4: 0.2, ..Coefficients::default() };
    let rng = &mut Rng::new(5);
    const N: usize = 200_000;
    for step in [0.0, 0.3, 1.25, 2.0, 5.0] {
        let (mean, deviation) = (c.mean(step), c.variance(step).sqrt());
        let gains: Vec<f64> = (0..N).map(|_| (-(mean + deviation * rng.normal())).max(0.0)).collect();
        let average = gains.iter().sum::<f64>() / N as f64;
        let spread = (gains.iter().map(|g| (g - average).powi(2)).sum::<f64>() / N as f64 / N as f64).sqrt();
        let [value, _] = c.expected_improvement(step);
        assert!((value - average).abs() < 3.0 * spread, "{step}: {value} {average} ± {spread}");
    }
    assert_eq!(c.best_expected(Some(0.5)), (0.5, Outcome::Ok));
    let certain = Coefficients { v0: 0.0, v2: 0.0, v4: 0.0, ..c };
    assert_eq!(certain.best_expected(None), (1.25, Outcome::Mean));
    assert_eq!(certain.expected_improvement(1.25), [0.625, 0.0]);
    assert_eq!(Coefficients { slope: -1.0, ..c }.best_expected(None), (0.0, Outcome::NotDescent));
    assert_eq!(Coefficients { v0: f64::NAN, ..c }.best_expected(None).1, Outcome::NonFinite);
    // A limit a hair beyond the minimiser of the mean.
    for limit in [1.0 + f64::EPSILON, 1.0 + 1e-14, 1.0 + 1e-13] {
        let unit = Coefficients { slope: 1.0, curvature: 1.0, v0: 2.0, v2: 1.0, ..Coefficients::default() };
        assert_eq!(unit.best_expected(Some(limit)), (limit, Outcome::Ok));
    }
}
