//! Operations drawn at random: each is well-formed whatever it is drawn from.

use osculate::{Expr, Rng, Tape, Window, elementwise, elementwise2};

use super::programs::{CLASSES, LARGEST};

/// A program under way: its random numbers, its tape, and the expressions that the next operation may take.
pub struct Draw<'a, 't> {
    rng: &'a mut Rng,
    tape: &'t Tape,
    pool: Vec<Expr<'t>>,
    labels: Vec<Expr<'t>>,
}

impl<'a, 't> Draw<'a, 't> {
    pub fn new(rng: &'a mut Rng, tape: &'t Tape, pool: &[Expr<'t>], labels: &[Expr<'t>]) -> Draw<'a, 't> {
        Draw { rng, tape, pool: pool.to_vec(), labels: labels.to_vec() }
    }

    /// The last of up to `most` operations, at least one.
    pub fn operations(mut self, most: usize) -> Expr<'t> {
        let mut last = self.any();
        for _ in 0..1 + self.below(most.max(1)) {
            let made = self.operation();
            last = if made.shape().size() > LARGEST { made.mean() } else { made };
            self.pool.push(last);
        }
        last
    }

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

    /// The numbers of an array, mostly brought within an interval.
    fn within(&mut self, x: Expr<'t>, (low, high): (f64, f64)) -> Expr<'t> {
        if self.often(0.8) { 0.5 * (low + high) + 0.5 * (high - low) * x.sin() } else { x }
    }

    /// An elementwise function, mostly of arguments within its domain.
    fn row(&mut self) -> Expr<'t> {
        let rows = elementwise();
        let row = &rows[self.below(rows.len())];
        let x = self.any();
        (row.apply)(self.within(x, row.domain))
    }

    /// An elementwise function of two arguments, mostly within its domains.
    fn row2(&mut self) -> Expr<'t> {
        let rows = elementwise2();
        let row = &rows[self.below(rows.len())];
        let (a, b) = self.pair();
        let [first, second] = row.domains;
        (row.apply)(self.within(a, first), self.within(b, second))
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
        let (before, after) = (1 + self.below(2), self.below(2));
        let (size, dilation) = (1 + self.below(2), 1 + self.below(2));
        let fits = (size - 1) * dilation < extent(x, axis) + before + after;
        let window = Window::new(axis, size)
            .stride(1 + self.below(2))
            .dilation(if fits { dilation } else { 1 })
            .pad(before, after);
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
        let end = start + 1 + self.below(extent - start);
        match self.below(6) {
            0 => x.slice_step(axis, start..end, 1 + self.below(2)),
            1 => x.flip(axis),
            2 => x.roll(axis, self.below(5) as isize - 2),
            3 => x.at(axis, start),
            _ => x.slice(axis, start..end),
        }
    }

    fn reduced(&mut self) -> Expr<'t> {
        let (x, axis) = self.array();
        let axes: Vec<usize> = (0..x.shape().rank()).filter(|a| *a == axis || self.often(0.3)).collect();
        match self.below(10) {
            0 => x.sum_axes(&axes),
            1 => x.mean_axes(&axes),
            2 => x.max_axes(&axes),
            3 => x.min_axes(&axes),
            4 => x.prod_axes(&axes),
            5 => x.norm_axes(&axes),
            6 => x.var_axes(&axes),
            7 => x.std_axes(&axes),
            8 => x.cumsum(axis),
            _ => x.cumprod(axis),
        }
    }

    /// Elements in an order that they decide themselves.
    fn ordered(&mut self) -> Expr<'t> {
        let (x, axis) = self.array();
        match self.below(4) {
            0 => x.sort(axis),
            1 => x.sin().take_along_axis(x.argsort(axis), axis),
            2 => x.argmax(axis).to_real() * self.number(),
            _ => self.tape.arange(extent(x, axis)).take(x.argmin(axis), 0),
        }
    }

    /// Matrices made of arrays, and parts of matrices.
    fn matrix(&mut self) -> Expr<'t> {
        let (a, b) = (self.any(), self.any());
        let (outer, offset) = (a.flatten().outer(b.flatten()), self.below(3) as isize - 1);
        match self.below(4) {
            0 => outer.tril(offset),
            1 => outer.triu(offset),
            2 => a.flatten().diag(),
            _ => outer,
        }
    }

    /// Constants of the program, broadcast against an array.
    fn constant(&mut self) -> Expr<'t> {
        let x = self.any();
        let shape = x.shape();
        let values: Vec<f64> = (0..shape.size()).map(|_| self.number()).collect();
        x * self.tape.constant(&shape, &values)
    }

    /// Functions with a derivative rule of their own.
    fn ruled(&mut self) -> Expr<'t> {
        let (a, b) = self.pair();
        match self.below(3) {
            // Straight through.
            0 => self.tape.custom(&[a], |a| a[0].less(0.5).select(0.0, 1.0), |_, tangents| tangents[0]),
            // Another derivative than its own.
            1 => self.tape.custom(&[a], |a| a[0].tanh(), |a, tangents| tangents[0] * a[0].cos()),
            _ => self.tape.custom(
                &[a, b],
                |a| a[0] * a[1].sin(),
                |a, tangents| tangents[0] * a[1].sin() + (a[0] * a[1].cos()).clip(-1.0, 1.0) * tangents[1],
            ),
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
        if extent(x, axis) == CLASSES && self.often(0.7) {
            return x.take(label, axis);
        }
        if self.often(0.5) {
            return x.take_along_axis(self.places(x, axis), axis);
        }
        let table = match extent(x, axis) {
            CLASSES => x.sum_axes(&(0..x.shape().rank()).filter(|a| *a != axis).collect::<Vec<_>>()),
            _ => x.mean() * self.tape.stack(&[self.tape.lit(1.0), self.tape.lit(-0.5), self.tape.lit(2.0)]),
        };
        if self.often(0.5) { table.take(label, 0) } else { label.one_hot().dot(table) }
    }

    /// Constant indices along an axis, which repeat along some of the others.
    fn places(&mut self, x: Expr<'t>, axis: usize) -> Expr<'t> {
        let shape = x.shape();
        let each = |draw: &mut Self, at: usize, extent: usize| match at == axis {
            true => 1 + draw.below(3),
            false if draw.often(0.5) => 1,
            false => extent,
        };
        let extents: Vec<usize> = shape.iter().enumerate().map(|(at, &extent)| each(self, at, extent)).collect();
        let bound = extent(x, axis);
        let values: Vec<u32> = (0..extents.iter().product::<usize>()).map(|_| self.below(bound) as u32).collect();
        self.tape.indices(extents, &values, bound)
    }

    fn operation(&mut self) -> Expr<'t> {
        match self.below(26) {
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
            18 | 19 => self.indexed(),
            20 | 21 => self.row2(),
            22 => self.ordered(),
            23 => self.matrix(),
            24 => {
                if self.often(0.5) {
                    self.constant()
                } else {
                    self.ruled()
                }
            }
            _ => {
                let (x, axis) = self.array();
                let number = self.number();
                match self.below(7) {
                    5 => x.clip(-1.0, number.max(-1.0)),
                    6 => x.expand_dims(axis).swapaxes(axis, axis + 1).squeeze(axis + 1),
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
