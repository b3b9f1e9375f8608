//! The text of graphs, and that construction is a fixpoint: replaying a graph through the constructors changes nothing.

mod support;

use osculate::nn::{Mlp, cross_entropy};
use osculate::{Func, label, spec};
use support::*;

#[test]
fn the_gradient_of_a_perceptron_reads_so() {
    let loss = Func::trace(Mlp::new(&[3, 4, 2]), (spec([3]), label(2)), |_, p, (x, y)| {
        cross_entropy(p.apply(x, |h| h.tanh()), y)
    })
    .expect("a trace");
    assert_eq!(loss.grad().expect("a gradient").graph().to_string(), include_str!("golden/mlp_grad.txt"));
    let each = loss.hvp().expect("hvp").vmap(5).expect("a batch");
    assert_eq!(each.graph().to_string(), include_str!("golden/mlp_hvp_vmap.txt"));
}

#[test]
fn construction_is_a_fixpoint() {
    for seed in 0..60 {
        let mut f = random_function(seed, 10, true);
        for letter in ["", "j", "g", "v", "g"] {
            f = match letter {
                "j" => jvp_word(&f),
                "g" => grad_word(&f),
                "v" => f.vmap(2).expect("a batch"),
                _ => f,
            };
            let again = trace(f.params().clone(), f.data().clone(), |tape, p, d| f.call(tape, &p, &d));
            assert_eq!(again.graph().len(), f.graph().len(), "seed {seed}: {}\n{}", f.graph(), again.graph());
        }
    }
}

#[test]
fn canonical_forms() {
    let text = |f: for<'t> fn(&'t osculate::Tape, osculate::Expr<'t>, osculate::Expr<'t>) -> osculate::Expr<'t>| {
        let f = Func::trace(spec([2, 3]), spec([2, 3]), f).expect("a trace");
        let text = f.graph().to_string();
        text.lines().skip(2).map(|l| l.split_once(" = ").map_or(l, |(_, r)| r)).collect::<Vec<_>>().join("; ")
    };
    // Views fold into whatever uses them; coefficients multiply.
    assert_eq!(text(|_, w, x| (2.0 * w.t()).t().dot((x * -0.5).t())), "contract[-1 ac,bc->ab] %0 %1; return %2");
    assert_eq!(text(|_, w, _| w.t().t()), "return %0");
    assert_eq!(text(|_, w, _| 2.0 * w + w), "contract[3 ab->ab] %0; return %2");
    assert_eq!(text(|_, w, x| w + x - w), "add %0 %1; contract[-1 ab->ab] %0; add %2 %3; return %4");
    // Where w is infinite these are NaN.
    assert_eq!(text(|_, w, _| w - w), "contract[-1 ab->ab] %0; add %0 %2; return %3");
    assert_eq!(text(|_, w, _| 0.0 * w.exp() + w), "exp %0; contract[0 ab->ab] %2; add %0 %3; return %4");
    assert_eq!(text(|_, w, x| w * x + x * w), "contract[2 ab,ab->ab] %0 %1; return %2");
    // What sums is not computed again with another coefficient.
    assert_eq!(
        text(|_, w, x| w.dot(x.t()) + w.dot(x.t())),
        "contract[ac,bc->ab] %0 %1; contract[2 ab->ab] %2; return %3"
    );
    assert_eq!(
        text(|_, w, x| w.dot(x.t()) + 2.0 * w.dot(x.t())),
        "contract[ac,bc->ab] %0 %1; contract[3 ab->ab] %2; return %3"
    );
    assert_eq!(
        text(|t, w, _| (t.full([2, 3], 3.0) * t.lit(2.0)).exp_m1() * w),
        "contract[402.4287934927351 ab->ab] %0; return %2"
    );
    // A sum over what nobody carries counts.
    assert_eq!(text(|t, _, _| t.full([2, 3], 1.0).sum()), "contract[6 ->]; return %2");
    // Reshapes collapse; axes of extent 1 are views.
    assert_eq!(text(|_, w, _| w.reshape([6]).reshape([3, 2]).reshape([2, 3])), "return %0");
    assert_eq!(text(|_, w, x| w.reshape([2, 1, 3]).reshape([2, 3]) * x), "contract[ab,ab->ab] %0 %1; return %2");
    // Slices look through pads and concats.
    assert_eq!(text(|_, w, _| w.pad(0, 2, 1).slice(0, 2..4)), "return %0");
    assert_eq!(text(|_, w, _| w.pad(0, 2, 1).slice(0, 0..2)), "zero; return %2");
    assert_eq!(text(|t, w, x| t.concat(&[w, x], 1).slice(1, 3..6)), "return %1");
    assert_eq!(text(|t, w, x| t.concat(&[t.concat(&[w, x], 1), w], 1)), "concat[1] %0 %1 %0; return %2");
    assert_eq!(text(|_, w, x| w.pad(1, 0, 3) + x.pad(1, 3, 0)), "concat[1] %0 %1; return %2");
    assert_eq!(text(|_, w, _| w.stop_gradient().stop_gradient()), "stop %0; return %2");
}

#[test]
fn transforms_stay_small() {
    // Nodes of a classifier's per-example Hessian-vector product: a guard against a transform that loses sharing.
    let loss = Func::trace(Mlp::new(&[3, 4, 4, 2]), (spec([3]), label(2)), |_, p, (x, y)| {
        cross_entropy(p.apply(x, |h| h.tanh()), y)
    })
    .expect("a trace");
    let each = loss.hvp().expect("hvp").vmap(8).expect("a batch");
    let text = each.graph().to_string();
    assert_eq!(text.matches("tanh").count(), 2);
    assert_eq!(text.matches(" exp ").count(), 1);
    assert!(each.graph().len() <= 110, "{} nodes", each.graph().len());
}
