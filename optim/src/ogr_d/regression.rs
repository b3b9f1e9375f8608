//! Regression of gradients over exponentially fading points, in d dimensions.

use super::Config;
use crate::Result;
use crate::symmetric::{Symmetric, product};

/// Parts of the largest eigenvalue of C below which nothing varies.
const LEAST: f64 = 1e-10;

/// What is known of gradients in the subspace.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Regression {
    d: usize,
    pub weight: f64,
    /// Means of t, counted from the parameters, and of Vg.
    pub t: Vec<f64>,
    g: Vec<f64>,
    /// Covariances of t, of Vg with t, of Vg.
    tt: Vec<f64>,
    gt: Vec<f64>,
    gg: Vec<f64>,
}

impl Regression {
    pub fn new(d: usize) -> Regression {
        let (vector, square) = (|| vec![0.0; d], || vec![0.0; d * d]);
        Regression { d, weight: 0.0, t: vector(), g: vector(), tt: square(), gt: square(), gg: square() }
    }

    pub fn copy(&mut self, other: &Regression) {
        self.weight = other.weight;
        self.all_mut().into_iter().zip(other.all()).for_each(|(to, from)| to.copy_from_slice(from));
    }

    /// Adds the gradient at the parameters.
    pub fn add(&mut self, g: &[f64], decay: f64) {
        let new = 1.0 - decay;
        let weight = decay * self.weight + new;
        let spread = decay * self.weight * new / weight;
        // The parameters themselves are at t = 0.
        let away = |i: usize| (-self.t[i], g[i] - self.g[i]);
        for i in 0..self.d {
            let (dt, dg) = away(i);
            for j in 0..self.d {
                let ((et, eg), at) = (away(j), i * self.d + j);
                self.tt[at] = decay * self.tt[at] + spread * dt * et;
                self.gt[at] = decay * self.gt[at] + spread * dg * et;
                self.gg[at] = decay * self.gg[at] + spread * dg * eg;
            }
        }
        for (i, &new_g) in g.iter().enumerate() {
            self.t[i] -= new / weight * self.t[i];
            self.g[i] += new / weight * (new_g - self.g[i]);
        }
        self.weight = weight;
    }

    /// The basis turned by R `[d, d]`.
    pub fn turn(&mut self, r: &[f64], half: &mut [f64]) {
        for matrix in [&mut self.tt, &mut self.gt, &mut self.gg] {
            product(r, false, matrix, false, half);
            product(half, false, r, true, matrix);
        }
        for vector in [&mut self.t, &mut self.g] {
            for (out, row) in half.iter_mut().zip(r.chunks(self.d)) {
                *out = row.iter().zip(vector.iter()).map(|(r, x)| r * x).sum();
            }
            vector.copy_from_slice(&half[..self.d]);
        }
    }

    /// The symmetric H `[d, d]` that the points make most likely, by one of the estimates.
    pub fn estimate(&self, by: usize, room: &mut Symmetric, into: &mut [f64]) -> Result<()> {
        match by {
            Config::LYAPUNOV => room.lyapunov(&self.tt, &self.gt, LEAST, into),
            Config::GEOMETRIC => room.geometric_mean(&self.tt, &self.gg, LEAST, into),
            _ => {
                for ((h, t), g) in into.iter_mut().zip(&self.tt).zip(&self.gg) {
                    let ratio = (g / t).abs().sqrt();
                    *h = if ratio.is_finite() { ratio } else { 0.0 };
                }
                Ok(())
            }
        }
    }

    /// Whether all that is known is finite.
    pub fn is_finite(&self) -> bool {
        self.all().into_iter().flatten().all(|x| x.is_finite())
    }

    pub fn all(&self) -> [&Vec<f64>; 5] {
        [&self.t, &self.g, &self.tt, &self.gt, &self.gg]
    }

    pub fn all_mut(&mut self) -> [&mut Vec<f64>; 5] {
        [&mut self.t, &mut self.g, &mut self.tt, &mut self.gt, &mut self.gg]
    }
}

/// Names of the buffers in a state.
pub(super) const NAMES: [&str; 5] = ["t", "g", "tt", "gt", "gg"];
