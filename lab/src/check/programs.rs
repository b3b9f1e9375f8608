//! Random losses for comparison with another system: every primitive and elementwise function, small and size-1 axes, edge values.

use osculate::{Array, Func, Kind, Rng, Spec, spec};

use super::draw::Draw;

/// A loss of lists of arrays.
pub type Loss = Func<Vec<Spec>, Vec<Spec>, Spec>;

/// A random loss and where to evaluate it.
pub struct Program {
    pub loss: Loss,
    pub params: Vec<Array<f64>>,
    pub direction: Vec<Array<f64>>,
    /// Of [`EXAMPLES`] examples.
    pub data: Vec<Array<f64>>,
}

/// Examples of a minibatch.
pub const EXAMPLES: usize = 2;

/// Classes of the labels, and rows of what they index.
pub const CLASSES: usize = 3;

/// Elements of the largest array.
pub const LARGEST: usize = 48;

impl Program {
    /// The program of a seed, with up to `nodes` operations.
    pub fn new(seed: u64, nodes: usize) -> osculate::Result<Program> {
        let rng = &mut Rng::new(seed);
        let params = vec![spec(extents(rng)), spec(extents(rng))];
        let data = vec![spec(extents(rng)), Spec::index([], CLASSES), Spec::index([2], CLASSES)];
        let loss = Func::trace(params.clone(), data.clone(), |tape, p, d| {
            let last = Draw::new(rng, tape, &[p[0], p[1], d[0]], &[d[1], d[2]]).operations(nodes);
            // The parameters too, so that no derivative is zero throughout.
            last.sum() + 0.25 * p[0].sum() * p[1].mean()
        })?;
        let rng = &mut Rng::new(seed ^ 0x9e37_79b9_7f4a_7c15);
        // Few programs hold what is not finite: it hides whatever else is wrong.
        let wild = rng.uniform(0.0, 1.0) < 0.04;
        let mut fill =
            |specs: &[Spec]| specs.iter().map(|s| values(s, rng, wild)).collect::<osculate::Result<Vec<_>>>();
        let batched: Vec<Spec> =
            data.iter().map(|s| Spec { shape: [&[EXAMPLES], &s.shape[..]].concat().into(), kind: s.kind }).collect();
        Ok(Program { params: fill(&params)?, direction: fill(&params)?, data: fill(&batched)?, loss })
    }
}

/// One to three axes of one to three elements.
fn extents(rng: &mut Rng) -> Vec<usize> {
    let below = |rng: &mut Rng, n: usize| (rng.uniform(0.0, 1.0) * n as f64) as usize;
    let rank = below(rng, 4);
    (0..rank).map(|_| 1 + below(rng, 3)).collect()
}

/// Random values, some of them at edges.
fn values(spec: &Spec, rng: &mut Rng, wild: bool) -> osculate::Result<Array<f64>> {
    if let Kind::Index(bound) = spec.kind {
        let labels = (0..spec.shape.size()).map(|_| (rng.uniform(0.0, 1.0) * bound as f64) as u32).collect();
        return Array::index(&spec.shape, labels);
    }
    const EDGES: [f64; 10] = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-8, -1e-160, 1e3, -40.0];
    const WILD: [f64; 3] = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    Ok(Array::from_fn(&spec.shape, |_| {
        let at = |rng: &mut Rng, n: usize| (rng.uniform(0.0, 1.0) * n as f64) as usize;
        match rng.uniform(0.0, 1.0) {
            p if p < 0.8 => rng.normal(),
            p if p < 0.9 && wild => WILD[at(rng, WILD.len())],
            _ => EDGES[at(rng, EDGES.len())],
        }
    }))
}
