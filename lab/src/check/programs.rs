//! Random losses for comparison with another system: every primitive and elementwise function, small and size-1 axes, edge values.

use osculate::{Array, Expr, Func, Kind, Rng, Spec, Tape, Window, elementwise, spec};

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
const CLASSES: usize = 3;

/// Elements of the largest array.
const LARGEST: usize = 48;

impl Program {
    /// The program of a seed, with up to `nodes` operations.
    pub fn new(seed: u64, nodes: usize) -> osculate::Result<Program> {
        let rng = &mut Rng::new(seed);
        let params = vec![spec(extents(rng)), spec(extents(rng))];
        let data = vec![spec(extents(rng)), Spec::index([], CLASSES), Spec::index([2], CLASSES)];
        let loss = Func::trace(params.clone(), data.clone(), |tape, p, d| {
            let mut draw = Draw { rng, tape, pool: vec![p[0], p[1], d[0]], labels: vec![d[1], d[2]] };
            let operations = 1 + draw.below(nodes.max(1));
            for _ in 0..operations {
                let made = draw.operation();
                let made = if made.shape().size() > LARGEST { made.mean() } else { made };
                draw.pool.push(made);
            }
            // What was made last, and the parameters, so that no derivative is zero throughout.
            let last = draw.pool[draw.pool.len() - 1];
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

/// What a program is drawn from.
struct Draw<'a, 't> {
    rng: &'a mut Rng,
    tape: &'t Tape,
    pool: Vec<Expr<'t>>,
    labels: Vec<Expr<'t>>,
}

impl<'t> Draw<'_, 't> {
    fn below(&mut self, n: usize) -> usize {
        (self.rng.uniform(0.0, 1.0) * n as f64) as usize
    }

    fn often(&mut self, probability: f64) -> bool {
        self.rng.uniform(0.0, 1.0) < probability
    }

    fn any(&mut self) -> Expr<'t> {
        let at = self.below(self.pool.len());
        self.pool[at]
    }

    /// One with at least one axis, and one of its axes.
    fn array(&mut self) -> (Expr<'t>, usize) {
        let x = self.any();
        match x.shape().rank() {
            0 => (x.reshape([1]), 0),
            rank => (x, self.below(rank)),
        }
    }

    /// Two that broadcast together.
    fn pair(&mut self) -> (Expr<'t>, Expr<'t>) {
        let (a, b) = (self.any(), self.any());
        let fits = |(x, y): (&usize, &usize)| x == y || *x == 1 || *y == 1;
        let broadcast = a.shape().iter().rev().zip(b.shape().iter().rev()).all(fits);
        (a, if broadcast { b } else { b.mean() })
    }

    /// A number, some of them at edges.
    fn number(&mut self) -> f64 {
        const EDGES: [f64; 8] = [0.0, 1.0, -1.0, 2.0, 0.5, 1e-30, 1e30, -3.0];
        if self.often(0.5) { self.rng.normal() } else { EDGES[self.below(EDGES.len())] }
    }

    /// An elementwise function, mostly of arguments within its domain.
    fn row(&mut self) -> Expr<'t> {
        let rows = elementwise();
        let row = &rows[self.below(rows.len())];
        let x = self.any();
        let (low, high) = row.domain;
        let tame = self.often(0.8);
        (row.apply)(if tame { 0.5 * (low + high) + 0.5 * (high - low) * x.sin() } else { x })
    }

    /// Any einsum of one to three arrays: axes of one extent may share a letter, and any letters are kept.
    fn einsum(&mut self) -> Expr<'t> {
        let mut extents: Vec<usize> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let operands: Vec<Expr<'t>> = (0..1 + self.below(3)).map(|_| self.any()).collect();
        for x in &operands {
            let mut name: Vec<usize> = Vec::new();
            for &extent in x.shape().iter() {
                let shared = (0..extents.len()).find(|l| extents[*l] == extent && !name.contains(l));
                let letter = match shared {
                    Some(letter) if self.often(0.7) => letter,
                    _ => {
                        extents.push(extent);
                        extents.len() - 1
                    }
                };
                name.push(letter);
            }
            names.push(name.into_iter().map(letter).collect());
        }
        let mut kept: Vec<usize> = (0..extents.len()).filter(|_| self.often(0.4)).collect();
        self.rng.shuffle(&mut kept);
        while kept.iter().map(|l| extents[*l]).product::<usize>() > LARGEST {
            kept.pop();
        }
        let out: String = kept.into_iter().map(letter).collect();
        self.tape.einsum(&format!("{}->{out}", names.join(",")), &operands)
    }

    fn window(&mut self) -> Expr<'t> {
        let (x, axis) = self.array();
        let window = Window::new(axis, 1 + self.below(2))
            .stride(1 + self.below(2))
            .dilation(1 + self.below(2))
            .pad(1 + self.below(2), self.below(2));
        let pad = if self.often(0.7) { 0.0 } else { self.number() };
        x.patches(&[window], pad)
    }

    fn select(&mut self) -> Expr<'t> {
        let (a, b) = self.pair();
        let mask = match self.below(3) {
            0 => a.less(b),
            1 => a.less_equal(b),
            _ => a.equal(b),
        };
        if self.often(0.5) { mask.select(a, b) } else { mask.select(b.sin(), a * self.number()) }
    }

    fn joined(&mut self) -> Expr<'t> {
        let (x, axis) = self.array();
        let other = self.any();
        let parts = match other.shape() == x.shape() {
            true => [x, other],
            false => [x, x * other.mean()],
        };
        if self.often(0.5) { self.tape.concat(&parts, axis) } else { self.tape.stack(&parts) }
    }

    fn part(&mut self) -> Expr<'t> {
        let (x, axis) = self.array();
        let extent = extent(x, axis);
        let start = self.below(extent);
        x.slice(axis, start..start + 1 + self.below(extent - start))
    }

    fn reduced(&mut self) -> Expr<'t> {
        let (x, axis) = self.array();
        let axes: Vec<usize> = (0..x.shape().rank()).filter(|a| *a == axis || self.often(0.3)).collect();
        match self.below(3) {
            0 => x.sum_axes(&axes),
            1 => x.mean_axes(&axes),
            _ => x.max_axes(&axes),
        }
    }

    fn turned(&mut self) -> Expr<'t> {
        let x = self.any();
        let mut order: Vec<usize> = (0..x.shape().rank()).collect();
        self.rng.shuffle(&mut order);
        let x = x.permute(&order);
        if self.often(0.5) { x.flatten() } else { x }
    }

    fn indexed(&mut self) -> Expr<'t> {
        let at = self.below(self.labels.len());
        let label = self.labels[at];
        let (x, axis) = self.array();
        let table = match extent(x, axis) {
            CLASSES => x.sum_axes(&(0..x.shape().rank()).filter(|a| *a != axis).collect::<Vec<_>>()),
            _ => x.mean() * self.tape.stack(&[self.tape.lit(1.0), self.tape.lit(-0.5), self.tape.lit(2.0)]),
        };
        if self.often(0.5) { table.take(label, 0) } else { label.one_hot().dot(table) }
    }

    fn operation(&mut self) -> Expr<'t> {
        match self.below(20) {
            0..5 => self.row(),
            5 => {
                let (a, b) = self.pair();
                a + b
            }
            6 => {
                let (a, b) = self.pair();
                a - b
            }
            7 => {
                let (a, b) = self.pair();
                a * b
            }
            8 => {
                let (a, b) = self.pair();
                a / if self.often(0.8) { b.exp() } else { b }
            }
            9 => {
                let (a, b) = self.pair();
                if self.often(0.5) { a.maximum(b) } else { a.minimum(b) }
            }
            10 | 11 => self.einsum(),
            12 => self.window(),
            13 => self.select(),
            14 => self.joined(),
            15 => self.part(),
            16 => self.reduced(),
            17 => self.turned(),
            18 => self.indexed(),
            _ => {
                let (x, axis) = self.array();
                let number = self.number();
                match self.below(5) {
                    0 => x * number,
                    1 => x + number,
                    2 => x.powi(self.below(6) as i32 - 2),
                    3 => x.pad(axis, self.below(2), self.below(2)),
                    _ => x.stop_gradient(),
                }
            }
        }
    }
}

/// The extent of an axis; 1 where a malformed operation left none, whose error the trace returns.
fn extent(x: Expr<'_>, axis: usize) -> usize {
    x.shape().get(axis).copied().unwrap_or(1)
}

fn letter(at: usize) -> char {
    char::from(b'a' + at as u8)
}
