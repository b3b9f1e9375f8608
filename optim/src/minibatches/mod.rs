//! Oracles for minibatches of one loss, whatever their sizes.

mod pieces;
mod programs;

use std::ops::Range;
use std::panic::Location;

use osculate_engine::{Batch, Device, Func, Layout, Moments, Real, Request, Signature, Size, Spec};

use crate::oracle::WHOLE;
use crate::{Error, Oracle, Result};
use pieces::pieces;
use programs::Programs;

/// Oracles for the minibatches of a loss: what an optimizer asks is compiled when it is first asked for.
///
/// A size of at most four significant binary digits, or a round decimal one, has programs of its own. Minibatches of other sizes are
/// taken in pieces of such sizes, so that a few programs serve all; those that were not used for longest are dropped. Results
/// depend on the minibatch alone, never on what was asked before.
///
/// ```
/// use osculate_engine::{spec, Array, Device, Examples, Func};
/// use osculate_optim::{FirstOrder, Minibatches, Optimizer, Oracle, first_order::Config};
/// let loss = Func::trace(spec([]), spec([]), |_, w, x| 0.5 * (w - x).square())?;
/// let data = Examples::new(spec([]), Array::new([4], vec![1.0, 2.0, 3.0, 6.0])?)?.all()?;
/// let mut oracles = Minibatches::new(&loss, &Device::cpu());
/// let mut w = [0.0];
/// let sgd = Config { rate: 0.5, ..Config::sgd() };
/// let report = FirstOrder::new(1, sgd)?.step(&mut w, &mut oracles.on(&data))?;
/// assert_eq!((report.loss, w), (6.25, [1.5]));
/// # Ok::<(), osculate_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Minibatches<D, T> {
    layout: Layout,
    programs: Programs<D, T>,
    piece: Piece<T>,
}

/// Where pieces of minibatches are put together.
#[derive(Debug, Clone)]
struct Piece<T> {
    batch: Batch<T>,
    vector: Vec<T>,
    moments: Vec<(Request, Filled<T>)>,
}

/// Moments of a minibatch and of a piece of it, made when they are needed.
#[derive(Debug, Clone)]
struct Filled<T> {
    total: Option<Moments<T>>,
    part: Option<Moments<T>>,
}

impl<T: Real, D: Signature> Minibatches<D, T> {
    /// For the loss of one example, whatever tree its parameters are: optimizers see one flat buffer.
    pub fn new<P: Signature>(loss: &Func<P, D, Spec>, device: &Device) -> Minibatches<D, T> {
        Minibatches {
            layout: Layout::of(loss.params(), "params"),
            programs: Programs::new(loss.listed(), *device),
            piece: Piece { batch: Batch::default(), vector: Vec::new(), moments: Vec::new() },
        }
    }

    /// The oracle of one minibatch.
    #[track_caller]
    pub fn on<'a>(&'a mut self, batch: &'a Batch<T>) -> On<'a, D, T> {
        let Minibatches { layout, programs, piece } = self;
        On { layout, programs, piece, batch, whole: None, at: Location::caller() }
    }

    /// Number of programs compiled so far.
    pub fn compiled(&self) -> usize {
        self.programs.compiled()
    }
}

/// The oracle of one minibatch, see [`Minibatches`].
#[derive(Debug)]
pub struct On<'a, D, T> {
    layout: &'a Layout,
    programs: &'a mut Programs<D, T>,
    piece: &'a mut Piece<T>,
    batch: &'a Batch<T>,
    /// All the data, if it was named.
    whole: Option<&'a Batch<T>>,
    /// Where it was made.
    at: &'static Location<'static>,
}

impl<'a, D: Signature, T: Real> On<'a, D, T> {
    /// The same, drawn from these data: for optimizers that look at all of them now and then (SVRG).
    pub fn of(self, whole: &'a Batch<T>) -> On<'a, D, T> {
        On { whole: Some(whole), ..self }
    }
}

/// A minibatch's pieces in order: the examples that each has, and itself.
fn each_piece<T: Real>(
    batch: &Batch<T>,
    at: &Location<'_>,
    copy: &mut Batch<T>,
    mut run: impl FnMut(Range<usize>, &Batch<T>) -> Result<()>,
) -> Result<()> {
    let n = batch.count();
    if n == 0 {
        let call = format!("oracle at {}:{}", at.file(), at.line());
        return Err(osculate_engine::Error::Empty { call }.into());
    }
    for rows in pieces(n) {
        if rows.len() == n {
            return run(rows, batch);
        }
        copy.copy_rows(batch, rows.clone())?;
        run(rows, copy)?;
    }
    Ok(())
}

/// The mean of vectors that pieces have means of: `make` fills one and returns its loss and how large all is.
fn mean<T: Real>(
    batch: &Batch<T>,
    at: &Location<'_>,
    piece: &mut Piece<T>,
    into: &mut [T],
    mut make: impl FnMut(&Batch<T>, &mut [T]) -> Result<(f64, Size)>,
) -> Result<(f64, Size)> {
    let n = batch.count();
    let Piece { batch: copy, vector, .. } = piece;
    let (mut loss, mut largest) = (0.0, Size::Moderate);
    each_piece(batch, at, copy, |rows, part| {
        if rows.len() == n {
            (loss, largest) = make(part, into)?;
            return Ok(());
        }
        vector.resize(into.len(), T::zero());
        let (value, size) = make(part, vector)?;
        let weight = rows.len() as f64 / n as f64;
        (loss, largest) = (loss + weight * value, largest.max(size));
        let weight = T::from_f64(weight);
        match rows.start {
            0 => into.iter_mut().zip(&*vector).for_each(|(mean, &x)| *mean = weight * x),
            _ => into.iter_mut().zip(&*vector).for_each(|(mean, &x)| *mean += weight * x),
        }
        Ok(())
    })?;
    Ok((loss, largest))
}

impl<T: Real, D: Signature> On<'_, D, T> {
    fn gradient_of(&mut self, batch: &Batch<T>, at: &[T], into: &mut [T], look: bool) -> Result<(f64, Size)> {
        let programs = &mut self.programs;
        let several = pieces(batch.count()).nth(1).is_some();
        let (loss, size) = mean(batch, self.at, self.piece, into, |part, into| {
            let program = programs.gradient(part.count())?;
            Ok(match look {
                true => program.run_sized(at, None, part, Some(into), None)?,
                false => (program.run(at, None, part, Some(into), None)?, Size::Moderate),
            })
        })?;
        Ok((loss, if look && several { size.max(Size::of(into)) } else { size }))
    }
}

impl<T: Real, D: Signature> Oracle<T> for On<'_, D, T> {
    fn layout(&self) -> &Layout {
        self.layout
    }

    fn count(&self) -> usize {
        self.batch.count()
    }

    fn loss(&mut self, at: &[T]) -> Result<f64> {
        let (n, mut mean) = (self.batch.count(), 0.0);
        each_piece(self.batch, self.at, &mut self.piece.batch, |rows, part| {
            mean += rows.len() as f64 / n as f64 * self.programs.loss(at, part)?;
            Ok(())
        })?;
        Ok(mean)
    }

    fn gradient(&mut self, at: &[T], into: &mut [T]) -> Result<f64> {
        Ok(self.gradient_of(self.batch, at, into, false)?.0)
    }

    fn checked_gradient(&mut self, at: &[T], into: &mut [T]) -> Result<(f64, Size)> {
        self.gradient_of(self.batch, at, into, true)
    }

    fn hvp(&mut self, at: &[T], along: &[T], into: &mut [T]) -> Result<()> {
        let programs = &mut self.programs;
        mean(self.batch, self.at, self.piece, into, |part, into| {
            Ok((programs.hvp(part.count())?.run(at, Some(along), part, None, Some(into))?, Size::Moderate))
        })?;
        Ok(())
    }

    fn directional(&mut self, at: &[T], along: &[T], order: usize) -> Result<[f64; 4]> {
        let (n, order, mut means) = (self.batch.count(), order.min(3), [0.0; 4]);
        each_piece(self.batch, self.at, &mut self.piece.batch, |rows, part| {
            let values = self.programs.directional(at, along, order, part)?;
            let weight = rows.len() as f64 / n as f64;
            means.iter_mut().zip(values).for_each(|(mean, x)| *mean += weight * x);
            Ok(())
        })?;
        Ok(means)
    }

    fn moments(&mut self, at: &[T], along: Option<&[T]>, request: Request) -> Result<&Moments<T>> {
        let (n, programs) = (self.batch.count(), &mut self.programs);
        let Piece { batch: copy, moments, .. } = &mut *self.piece;
        let at_hand = moments.iter().position(|(of, _)| *of == request).unwrap_or_else(|| {
            moments.push((request, Filled { total: None, part: None }));
            moments.len() - 1
        });
        let Filled { total, part } = &mut moments[at_hand].1;
        each_piece(self.batch, self.at, copy, |rows, batch| {
            let program = programs.moments(batch.count(), request)?;
            let total = total.get_or_insert_with(|| program.moments());
            if rows.len() == n {
                return Ok(program.run(at, along, batch, total)?);
            }
            let part = part.get_or_insert_with(|| program.moments());
            program.run(at, along, batch, part)?;
            if rows.start == 0 {
                total.clear();
            }
            Ok(total.merge(part)?)
        })?;
        total.as_ref().ok_or(Error::Oracle { what: "moments of no examples", instead: "skip the step" })
    }

    fn per_example(&mut self, at: &[T], along: Option<&[T]>, gradients: &mut [T], products: &mut [T]) -> Result<()> {
        let d = self.layout.len();
        for (rows, wanted) in [(&*gradients, true), (&*products, along.is_some())] {
            let want = self.batch.count() * d;
            if wanted && rows.len() != want {
                return Err(Error::Matrix { want, got: rows.len() });
            }
        }
        let programs = &mut self.programs;
        each_piece(self.batch, self.at, &mut self.piece.batch, |rows, part| {
            let rows = rows.start * d..rows.end * d;
            let products = if along.is_some() { &mut products[rows.clone()] } else { &mut [] };
            programs.per_example(at, along, part, &mut gradients[rows], products)
        })
    }

    fn whole_gradient(&mut self, at: &[T], into: &mut [T]) -> Result<f64> {
        let Some(whole) = self.whole else {
            return Err(Error::Oracle { what: "the gradient of all the data", instead: WHOLE });
        };
        Ok(self.gradient_of(whole, at, into, false)?.0)
    }
}
