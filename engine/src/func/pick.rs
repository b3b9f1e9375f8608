//! Parts of a function's results, and weighted sums of them.

use super::{paths, specs};
use crate::tree::Signature;
use crate::{Error, Func, Result, Spec};

impl<P: Signature, D: Signature, A: Signature, B: Signature> Func<P, D, (A, B)> {
    /// The function of the first result alone; what only the second needed is not computed.
    ///
    /// # Errors
    /// None but those of tracing.
    #[track_caller]
    pub fn first(&self) -> Result<Func<P, D, A>> {
        self.results(0, self.outputs.0.clone())
    }

    /// The function of the second result alone; what only the first needed is not computed.
    ///
    /// # Errors
    /// None but those of tracing.
    #[track_caller]
    pub fn second(&self) -> Result<Func<P, D, B>> {
        let skip = specs(&self.outputs.0).len();
        self.results(skip, self.outputs.1.clone())
    }
}

impl<P: Signature, D: Signature, O: Signature> Func<P, D, O> {
    /// The function of one array of the result, by its path; what only others needed is not computed.
    ///
    /// ```
    /// use osculate_engine::{spec, tree, Array, Device, Func};
    /// tree! { pub struct Line { slope, offset } }
    /// let line = Line { slope: spec([]), offset: spec([]) };
    /// let loss = Func::trace(line, spec([]), |_, p, x| (p.slope * x + p.offset).square())?;
    /// let slope = loss.value_and_grad()?.output("1.slope")?;
    /// let at = Line { slope: Array::scalar(2.0), offset: Array::scalar(1.0) };
    /// assert_eq!(slope.compile::<f64>(&Device::cpu())?.run(&at, &Array::scalar(3.0))?.item(), Some(42.0));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Transform`]: there is no such path; the error names those that there are.
    #[track_caller]
    pub fn output(&self, path: &str) -> Result<Func<P, D, Spec>> {
        let leaves = self.outputs.leaves("");
        match leaves.iter().position(|(at, _)| at.to_string() == path) {
            Some(at) => self.results(at, leaves[at].1.clone()),
            None => {
                let known = paths(&self.outputs, "").join(", ");
                Err(Error::Transform { transform: "output", why: format!("there is no {path:?}; there are {known}") })
            }
        }
    }

    /// The function of the arrays of the result whose paths are picked, as a list.
    ///
    /// # Errors
    /// [`Error::Transform`]: no path is picked; the error names those that there are.
    #[track_caller]
    pub fn outputs_where(&self, picked: impl Fn(&str) -> bool) -> Result<Func<P, D, Vec<Spec>>> {
        let leaves = self.outputs.leaves("");
        let wanted: Vec<bool> = leaves.iter().map(|(path, _)| picked(&path.to_string())).collect();
        let outputs: Vec<Spec> = leaves.iter().zip(&wanted).filter(|(_, w)| **w).map(|(l, _)| l.1.clone()).collect();
        if outputs.is_empty() {
            let why = format!("no result is picked; there are {}", paths(&self.outputs, "").join(", "));
            return Err(Error::Transform { transform: "outputs_where", why });
        }
        let picked: Vec<usize> = (0..wanted.len()).filter(|&at| wanted[at]).collect();
        let graph = self.plain().picked(&picked)?;
        Ok(Func::of(graph, self.params.clone(), self.data.clone(), outputs))
    }

    /// The results from `first` on, as many as `outputs` has.
    #[track_caller]
    fn results<O2: Signature>(&self, first: usize, outputs: O2) -> Result<Func<P, D, O2>> {
        let picked: Vec<usize> = (first..first + specs(&outputs).len()).collect();
        let graph = self.plain().picked(&picked)?;
        Ok(Func::of(graph, self.params.clone(), self.data.clone(), outputs))
    }
}

impl<P: Signature, D: Signature> Func<P, D, Spec> {
    /// The weighted sum Σᵢ wᵢ lossᵢ over `n` examples, a function of `(minibatch, weights [n])`: importance weights, influence,
    /// clipped gradients. Its gradient Σᵢ wᵢ ∇lossᵢ never holds one of a single example.
    ///
    /// Weights are data: no derivative flows through them. An example of weight 0 must still have a finite loss (0·∞ is NaN).
    ///
    /// Gradients clipped to length C by example, as differentially private training wants them, are two programs: the lengths, then
    /// the sum with weights min(1, C/‖gᵢ‖):
    ///
    /// ```
    /// use osculate_engine::{spec, Array, Device, Examples, Func, Request};
    /// let loss = Func::trace(spec([2]), spec([2]), |_, w, x| w.dot(x))?; // gradient x
    /// let mut lengths = loss.moments::<f64>(2, Request::gradient(), &Device::cpu())?;
    /// let mut clipped = loss.weighted(2)?.grad()?.compile::<f64>(&Device::cpu())?;
    /// let w = Array::new([2], vec![1.0, 1.0])?;
    /// let x = Array::new([2, 2], vec![3.0, 4.0, 0.0, 0.5])?;
    /// let mut moments = lengths.moments();
    /// lengths.run(w.values(), None, &Examples::new(spec([2]), x.clone())?.all()?, &mut moments)?;
    /// let squares = moments.gradient()?.norms.totals();
    /// let weights = squares.iter().map(|s| (1.0 / s.sqrt()).min(1.0)).collect();
    /// let sum = clipped.run(&w, &(x, Array::new([2], weights)?))?;
    /// assert!(sum.values().iter().zip([0.6, 1.3]).all(|(got, want)| (got - want).abs() < 1e-15));
    /// # Ok::<(), osculate_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Empty`]: `n` is 0.
    #[track_caller]
    pub fn weighted(&self, n: usize) -> Result<Func<P, (D, Spec), Spec>> {
        if n == 0 {
            return Err(Error::empty("weighted"));
        }
        let each = self.vmap(n)?;
        let graph = each.plain().weighted(n)?;
        Ok(Func::of(graph, each.params, (each.data, Spec::real([n])), self.outputs.clone()))
    }
}
