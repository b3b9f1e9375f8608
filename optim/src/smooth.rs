//! Exponential moving averages.

/// A debiased exponential moving average: `v ← βv + (1−β)x`, `w ← βw + (1−β)`, value `v/w`.
///
/// ```
/// let mut mean = osculate_optim::Smooth::new(0.9);
/// assert_eq!(mean.add(3.0), 3.0);
/// assert!((mean.add(5.0) - (0.9 * 3.0 + 5.0) / 1.9).abs() < 1e-15);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smooth {
    decay: f64,
    value: f64,
    weight: f64,
}

impl Smooth {
    /// An average of nothing, with decay β in [0, 1).
    pub fn new(decay: f64) -> Smooth {
        Smooth { decay, value: 0.0, weight: 0.0 }
    }

    /// Takes a value in and returns the average.
    pub fn add(&mut self, x: f64) -> f64 {
        self.value = self.decay * self.value + (1.0 - self.decay) * x;
        self.weight = self.decay * self.weight + (1.0 - self.decay);
        self.get()
    }

    /// The average, 0 of nothing.
    pub fn get(&self) -> f64 {
        if self.weight == 0.0 { 0.0 } else { self.value / self.weight }
    }

    /// What is saved.
    pub(crate) fn state(&self) -> [f64; 2] {
        [self.value, self.weight]
    }

    /// An average as it was saved.
    pub(crate) fn restored(self, [value, weight]: [f64; 2]) -> Smooth {
        Smooth { value, weight, ..self }
    }
}
