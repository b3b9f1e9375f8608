//! Seeded minibatches.

use osculate_engine::Rng;

/// Rows of minibatches, epoch after epoch, each epoch in its own random order; the last of an epoch may be smaller, but a lone
/// last row joins the minibatch before it: one example has no variance.
///
/// The order of an epoch depends on the seed and the epoch alone, so [`position`](Batches::position) is all there is to save.
///
/// ```
/// use osculate_nn::Batches;
/// let mut batches = Batches::new(8, 3, 7);
/// let sizes: Vec<usize> = (0..3).map(|_| batches.next_rows().len()).collect();
/// assert_eq!(sizes, [3, 3, 2]);
/// let mut batches = Batches::new(7, 3, 7);
/// assert_eq!((batches.next_rows().len(), batches.next_rows().len()), (3, 4));
/// let position = batches.position();
/// let next = batches.next_rows().to_vec();
/// assert_eq!(Batches::new(7, 3, 7).at(position).next_rows(), next);
/// ```
#[derive(Debug, Clone)]
pub struct Batches {
    order: Vec<usize>,
    size: usize,
    seed: u64,
    epoch: u64,
    next: usize,
}

impl Batches {
    /// Of `count` examples, `size` at a time (at least 1, at most all); of none, or of more than memory can number, all are empty.
    pub fn new(count: usize, size: usize, seed: u64) -> Batches {
        let mut order = Vec::new();
        if order.try_reserve_exact(count).is_ok() {
            order.extend(0..count);
        }
        let mut batches = Batches { order, size: size.clamp(1, count.max(1)), seed, epoch: 0, next: 0 };
        batches.shuffle();
        batches
    }

    /// Minibatches an epoch has.
    pub fn per_epoch(&self) -> usize {
        let lone = self.order.len() % self.size == 1 && self.order.len() > 1 && self.size > 1;
        self.order.len().div_ceil(self.size) - usize::from(lone)
    }

    /// Epoch and first row of the next minibatch.
    pub fn position(&self) -> (u64, usize) {
        (self.epoch, self.next)
    }

    /// The number of examples, of a minibatch's, and the seed: with them a position means the same minibatches.
    ///
    /// ```
    /// assert_eq!(osculate_nn::Batches::new(8, 3, 7).source(), [8, 3, 7]);
    /// ```
    pub fn source(&self) -> [u64; 3] {
        [self.order.len() as u64, self.size as u64, self.seed]
    }

    /// The same minibatches from a position on.
    pub fn at(mut self, (epoch, next): (u64, usize)) -> Batches {
        self.epoch = epoch;
        self.next = next;
        self.shuffle();
        self
    }

    /// Rows of the next minibatch.
    pub fn next_rows(&mut self) -> &[usize] {
        if self.next >= self.order.len() {
            self.next = 0;
            self.epoch += 1;
            self.shuffle();
        }
        let from = self.next;
        self.next = (from + self.size).min(self.order.len());
        if self.next + 1 == self.order.len() && self.size > 1 {
            self.next += 1;
        }
        &self.order[from..self.next]
    }

    fn shuffle(&mut self) {
        self.order.sort_unstable();
        // Any odd multiplier keeps the seeds of epochs apart.
        Rng::new(self.seed.wrapping_add(self.epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15))).shuffle(&mut self.order);
    }
}
