//! The program of one chunk: losses, sums, squares and inner products of so many examples.

use osculate_kernels::{Out, Outer, Real, Size, spread};

use super::Listed;
use crate::func::specs;
use crate::moments::unit;
use crate::program::{Device, In, Program};
use crate::transform::{Product, Spread, Vectors, jvp, outer_products, replay, vmap};
use crate::{Batch, Error, Expr, Moments, Request, Result, Spec};

/// Results of a chunk's program: losses; sums and squared deviations, of gradients and of products; factors of per-example numbers, and
/// of vectors whose deviations are still to be formed.
type Results = (Spec, ((Vec<Spec>, Vec<Spec>), (Vec<Spec>, Vec<Spec>)), Vec<Spec>, Vec<Spec>);

/// The program of `n` examples.
#[derive(Debug, Clone)]
pub(super) struct Chunk<T> {
    pub program: Program<T, (Vec<Spec>, Vec<Spec>), Vec<Spec>, Results>,
    pub n: usize,
    /// Elements of an example, of each leaf of the data.
    elements: Vec<usize>,
    scalars: Scalars,
    spreads: Spreads<T>,
    /// Why each parameter's vectors are factored or made, of gradients, then of products.
    pub reasons: Vec<String>,
}

/// Per-example numbers as sums of products of per-example factors.
#[derive(Debug, Clone, Default)]
struct Scalars {
    /// Of each kind (see [`Kind`]) one entry a product: its segment, coefficient, and the positions of its factors.
    products: [Vec<(usize, f64, Vec<usize>)>; 5],
    /// All factors, `[n]` each.
    factors: Vec<f64>,
}

/// Squared deviations of coordinates from factors of the vectors.
#[derive(Debug, Clone)]
struct Spreads<T> {
    /// Of gradients and of products one entry a parameter that has factors: its segment, its rows and columns, and its terms.
    of: [Vec<(usize, [usize; 2], Vec<Outer>)>; 2],
    /// All factors.
    factors: Vec<T>,
}

/// What per-example numbers are.
#[derive(Debug, Clone, Copy)]
enum Kind {
    GradientNorm,
    HvpNorm,
    Slope,
    Crossing,
    Curvature,
}

impl<T: Real> Chunk<T> {
    /// For one thread.
    pub fn new(loss: &Listed, n: usize, request: Request, device: &Device) -> Result<Self> {
        let one = loss.value_and_grad()?;
        let leaves = specs(loss.params());
        let directions = if request.directed() { leaves.clone() } else { Vec::new() };
        let data: Vec<Spec> =
            specs(loss.data()).into_iter().map(|s| Spec { shape: s.shape.batched(n), kind: s.kind }).collect();
        let count = leaves.len();
        // One example: value, gradient, and its tangent along v.
        let pair = (leaves.clone(), directions);
        let single = one.rebuild(pair.clone(), one.data().clone(), Vec::<Spec>::new(), |tape, params, data| {
            let inputs = [&params[..count], &data].concat();
            if !request.hvp {
                return replay(one.graph(), tape, &inputs);
            }
            let along = (0..count).map(|at| params.get(count + at).copied());
            let tangents: Vec<_> = along.chain(data.iter().map(|_| None)).collect();
            let (mut outputs, moved) = jvp(one.graph(), tape, &inputs, &tangents);
            let zero = |at: usize| tape.zero(outputs[at].shape());
            let products: Vec<_> = (1..=count).map(|at| moved[at].unwrap_or_else(|| zero(at))).collect();
            outputs.extend(products);
            outputs
        })?;
        let part = |wanted: bool| if wanted { leaves.clone() } else { Vec::new() };
        let sums = |wanted: bool| (part(wanted), part(wanted && request.elementwise));
        let mut results: Results =
            (Spec::real([n]), (sums(request.gradient), sums(request.hvp)), Vec::new(), Vec::new());
        let (mut scalars, mut reasons) = (Scalars::default(), Vec::new());
        let mut spreads = Spreads { of: [Vec::new(), Vec::new()], factors: Vec::new() };
        let mut shapes = Vec::new();
        let func = single.rebuild(pair, data, results.clone(), |tape, params, data| {
            let batched: Vec<bool> = params.iter().map(|_| false).chain(data.iter().map(|_| true)).collect();
            let each = vmap(single.graph(), tape, &[&params[..], &data].concat(), &batched, n);
            if tape.failed() {
                return each; // the trace returns the error
            }
            let outer = outer_products(tape);
            let vectors = |wanted: bool, from: usize| -> Vec<Vectors<'_>> {
                let squares = request.variances || request.inner;
                let open = |&x| Vectors::new(x, &outer, squares, request.form);
                if wanted { each[from..from + count].iter().map(open).collect() } else { Vec::new() }
            };
            let (g, h) = (vectors(request.gradient, 1), vectors(request.hvp, 1 + count));
            reasons = g.iter().chain(&h).map(|x| x.reason.clone()).collect();
            let mut results = vec![each[0]];
            let (mut outer, mut end) = (Vec::new(), 0);
            for (vectors, of) in [&g, &h].into_iter().zip(&mut spreads.of) {
                results.extend(vectors.iter().zip(&leaves).map(|(x, leaf)| x.sum(&leaf.shape)));
                for (segment, (x, leaf)) in vectors.iter().zip(&leaves).enumerate().filter(|_| request.elementwise) {
                    results.push(match x.spread(&leaf.shape, unit::<T>()) {
                        Spread::Made(spread) => spread,
                        Spread::Factors(terms, sides) => {
                            let place = |[a, b]: &[Expr<'_>; 2]| {
                                let (at, inner) = (end, a.shape()[1]);
                                end += a.shape().size() + b.shape().size();
                                Outer { a: at, b: at + a.shape().size(), inner }
                            };
                            of.push((segment, sides, terms.iter().map(place).collect()));
                            outer.extend(terms.into_iter().flatten());
                            tape.zero(leaf.shape.clone())
                        }
                    });
                }
            }
            shapes = outer.iter().map(|x| Spec::real(x.shape())).collect();
            spreads.factors = vec![T::zero(); end];
            let mut factors = Vec::new();
            if request.variances {
                scalars.collect(Kind::GradientNorm, g.iter().map(Vectors::norms), &mut factors);
                scalars.collect(Kind::HvpNorm, h.iter().map(Vectors::norms), &mut factors);
            }
            if request.inner {
                let v = &params[count..];
                scalars.collect(Kind::Slope, g.iter().zip(v).map(|(g, &v)| g.along(v)), &mut factors);
                scalars.collect(Kind::Crossing, g.iter().zip(&h).map(|(g, h)| g.inner(h)), &mut factors);
                scalars.collect(Kind::Curvature, h.iter().zip(v).map(|(h, &v)| h.along(v)), &mut factors);
            }
            scalars.factors = vec![0.0; n * factors.len()];
            results.extend(factors);
            results.extend(outer);
            results
        })?;
        results.3 = shapes;
        results.2 = vec![Spec::real([n]); scalars.factors.len() / n];
        // Losses and factors of per-example numbers are wanted in f64.
        let wide = |path: &str| path == "result.0" || path.starts_with("result.2.");
        let func = func.with_outputs(results).wide(wide)?;
        let elements = specs(loss.data()).iter().map(|spec| spec.shape.size()).collect();
        Ok(Chunk { program: func.compile_shared(device, 1)?, n, elements, scalars, spreads, reasons })
    }

    /// The same, its commands shared among threads; the results are the same.
    pub fn shared(self, threads: usize) -> Result<Self> {
        Ok(Chunk { program: self.program.shared(threads)?, ..self })
    }

    /// Bytes of the program alone.
    pub fn bytes(&self) -> usize {
        let factors = 8 * self.scalars.factors.len() + size_of::<T>() * self.spreads.factors.len();
        self.program.owned_bytes() + factors
    }

    /// The moments of `n` examples from row `from` on; `into` is overwritten. Sums of gradients and of products go to `vectors`, if
    /// those are given, else to `into`. Tells how large what the program made is, if it is to look.
    #[allow(clippy::too_many_arguments, reason = "what a run is given and what it fills")]
    pub fn run(
        &mut self,
        params: &[T],
        along: Option<&[T]>,
        batch: &Batch<T>,
        from: usize,
        into: &mut Moments<T>,
        vectors: [Option<&mut [T]>; 2],
        look: bool,
    ) -> Result<Size> {
        let n = self.n;
        into.losses.resize(n, 0.0);
        let mut outputs: [Out<'_, T>; 7] = std::array::from_fn(|_| Out::Real(&mut []));
        let mut used = 0;
        let mut push = |out| {
            outputs[used] = out;
            used += 1;
        };
        push(Out::Wide(&mut into.losses));
        for (sums, vector) in [&mut into.gradient, &mut into.hvp].into_iter().zip(vectors) {
            match (vector, sums) {
                (Some(vector), _) => push(Out::Real(vector)),
                (None, Some(sums)) => {
                    push(Out::Real(&mut sums.sum));
                    if let Some(deviations) = &mut sums.deviations {
                        push(Out::Real(deviations));
                    }
                }
                (None, None) => {}
            }
        }
        if !self.scalars.factors.is_empty() {
            push(Out::Wide(&mut self.scalars.factors));
        }
        if !self.spreads.factors.is_empty() {
            push(Out::Real(&mut self.spreads.factors));
        }
        let (program, outputs, rows) = (&mut self.program, &mut outputs[..used], from..from + n);
        let run = |inputs: &[In<'_, T>]| match look {
            true => program.run_sized(inputs, outputs),
            false => program.run_flat(inputs, outputs).map(|()| Size::Moderate),
        };
        let fed = match along {
            Some(v) => batch.feed_rows(rows, [In::Real(params), In::Real(v)], run),
            None => batch.feed_rows(rows, [In::Real(params)], run),
        };
        let size = fed.map_err(|error| among_all(error, &self.elements, from))?;
        into.count_losses();
        self.spreads.put_together(n, into)?;
        let scalars = &self.scalars;
        for (kind, sums) in [(Kind::GradientNorm, &mut into.gradient), (Kind::HvpNorm, &mut into.hvp)] {
            if let (Some(sums), true) = (sums, into.request.variances) {
                scalars.put_together(kind, n, &mut sums.norms.values, sums.squares.len());
                for (segment, square) in sums.squares.iter_mut().enumerate() {
                    *square = (0..n).map(|i| sums.norms.example(i)[segment]).sum();
                }
            }
        }
        if let Some(inner) = &mut into.inner {
            let segments = into.layout.segments().len();
            let [g, h] = [into.request.gradient, into.request.hvp];
            for (kind, wanted, numbers) in [
                (Kind::Slope, g, &mut inner.slopes),
                (Kind::Crossing, g && h, &mut inner.crossings),
                (Kind::Curvature, h, &mut inner.curvatures),
            ] {
                if wanted {
                    scalars.put_together(kind, n, &mut numbers.values, segments);
                }
            }
        }
        Ok(size)
    }
}

/// An index's error with its position among all examples of the minibatch, not among those from row `from` on.
fn among_all(error: Error, elements: &[usize], from: usize) -> Error {
    match error {
        Error::Index { path, position, value, bound } => {
            let leaf = path.rsplit('.').next().and_then(|at| at.parse::<usize>().ok());
            let each = leaf.and_then(|at| elements.get(at)).copied().unwrap_or(0);
            Error::Index { path, position: position + from * each, value, bound }
        }
        error => error,
    }
}

impl<T: Real> Spreads<T> {
    fn put_together(&self, n: usize, into: &mut Moments<T>) -> Result<()> {
        for (sums, of) in [&mut into.gradient, &mut into.hvp].into_iter().zip(&self.of) {
            let Some(deviations) = sums.as_mut().and_then(|sums| sums.deviations.as_mut()) else { continue };
            for (segment, sides, terms) in of {
                let range = into.layout.segments()[*segment].range();
                spread(n, &self.factors, terms, *sides, &mut deviations[range])?;
            }
        }
        Ok(())
    }
}

impl Scalars {
    /// Notes how the numbers of all segments are made; adds their factors to `factors`, each once.
    fn collect<'t>(&mut self, kind: Kind, of: impl Iterator<Item = Vec<Product<'t>>>, factors: &mut Vec<Expr<'t>>) {
        for (segment, products) in of.enumerate() {
            for Product { coef, factors: parts } in products {
                let place = |part: Expr<'t>| {
                    factors.iter().position(|f| f.var == part.var).unwrap_or_else(|| {
                        factors.push(part);
                        factors.len() - 1
                    })
                };
                let places = parts.into_iter().map(place).collect();
                self.products[kind as usize].push((segment, coef, places));
            }
        }
    }

    /// The numbers of a kind, `[n, segments]`.
    fn put_together(&self, kind: Kind, n: usize, into: &mut Vec<f64>, segments: usize) {
        into.clear();
        into.resize(n * segments, 0.0);
        for (segment, coef, factors) in &self.products[kind as usize] {
            for (i, numbers) in into.chunks_exact_mut(segments).enumerate() {
                numbers[*segment] += coef * factors.iter().map(|f| self.factors[f * n + i]).product::<f64>();
            }
        }
    }
}
