//! `max`: the largest element over a set of axes.
//!
//! | rule | |
//! |---|---|
//! | jvp | mean of ẋ over the elements that attain the maximum (ties share evenly); NaN where the maximum is |
//! | batch | the leading axis is kept |
//! | canonical | no axes: the argument |

use osculate_kernels::{Body, Comparison, Fold};

use super::{Compare, Labels, Primitive, Select, contract, sum};
use crate::expr::labels;
use crate::plan::{Lowering, Value};
use crate::{Expr, Shape, Spec, Tape};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Max {
    /// Ascending.
    pub axes: Vec<usize>,
}

impl Max {
    fn kept(&self, rank: usize) -> Labels {
        labels(0, rank).into_iter().filter(|&l| !self.axes.contains(&(l as usize))).collect()
    }
}

impl Primitive for Max {
    fn text(&self) -> String {
        format!("max{:?}", self.axes)
    }

    fn shape(&self, args: &[Spec]) -> Result<Spec, String> {
        let x = &args[0];
        if x.is_index() {
            return Err(super::not_numbers(x));
        }
        if self.axes.iter().any(|&a| a >= x.shape.rank()) || self.axes.windows(2).any(|w| w[0] == w[1]) {
            return Err(format!("{:?} are not distinct axes of {x}", self.axes));
        }
        let kept = self.kept(x.shape.rank());
        Ok(Spec::real(kept.iter().map(|&l| x.shape[l as usize]).collect::<Vec<_>>()))
    }

    fn make<'t>(&self, tape: &'t Tape, args: &[Expr<'t>], spec: Spec) -> Expr<'t> {
        match (self.axes.is_empty(), args[0].constant()) {
            (true, _) => args[0],
            (_, Some(value)) => tape.full(&spec.shape, value),
            _ => tape.intern(self.clone().into(), args, spec),
        }
    }

    fn jvp<'t>(&self, args: &[Expr<'t>], out: Expr<'t>, tangents: &[Option<Expr<'t>>]) -> Option<Expr<'t>> {
        let tangent = tangents[0]?;
        let (x, tape) = (args[0], out.tape);
        let shape: Shape = x.shape();
        let (all, kept) = (labels(0, shape.rank()), self.kept(shape.rank()));
        let top = contract(1.0, &[(out, &kept)], &all, &shape, tape);
        // Nothing is below a NaN: then all elements share in it.
        let below = tape.apply(Compare(Comparison::Less).into(), &[x, top]);
        let among: usize = self.axes.iter().map(|&axis| shape[axis]).product();
        let rest = contract(-1.0, &[(below, &all)], &kept, &shape, tape);
        let ties = sum(&[tape.full(out.shape(), among as f64), rest], tape);
        let number = tape.apply(Compare(Comparison::Equal).into(), &[out, out]);
        let share = tape.apply(Select.into(), &[number, ties.recip(), tape.full(out.shape(), f64::NAN)]);
        let chosen = tape.apply(Select.into(), &[below, tape.zero(&shape), tangent]);
        Some(contract(1.0, &[(chosen, &all), (share, &kept)], &kept, &shape, tape))
    }

    fn batch<'t>(&self, args: &[Expr<'t>], _: &[bool], _: usize) -> Expr<'t> {
        args[0].max_axes(&self.axes.iter().map(|a| a + 1).collect::<Vec<_>>())
    }

    fn lower(&self, cx: &mut Lowering, args: &[Value], spec: &Spec) -> Value {
        let kept: Vec<usize> = self.kept(args[0].shape.rank()).into_iter().map(usize::from).collect();
        let out = cx.result(&spec.shape, &[args[0].axes(&kept, &[])]);
        let over: Vec<usize> = self.axes.iter().map(|&a| args[0].shape[a]).collect();
        cx.reduce(Body::product(1), &[args[0].axes(&kept, &self.axes)], &over, Fold::Max, 1.0, &out);
        out
    }

    fn jax(&self, args: &[&str], _: &Spec) -> String {
        format!(
            "jnp.max({}, axis=({},))",
            args[0],
            self.axes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
        )
    }
}
