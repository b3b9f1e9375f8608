//! Reference models, each for one example: what benchmarks compare and users start from.

use osculate_engine::{Expr, Spec, Window, spec, tree};

use crate::{Conv, Dense, Mlp, Norm, Padding, Sliding, convolve, global_average_pool, max_pool};

/// The perceptron 784-1000-500-100-10 of DeepOBS: 1,336,610 parameters; use with relu.
pub fn mlp() -> Mlp<Spec> {
    Mlp::new(&[784, 1000, 500, 100, 10])
}

tree! {
    /// Three convolutions and three dense layers for `[3, 32, 32]` images (DeepOBS's 3c3d): 895,210 parameters.
    pub struct ThreeCThreeD {
        /// 5×5 to 64, 3×3 to 96, 3×3 to 128 channels.
        convs: [Conv],
        /// 1152-512-256-10.
        dense: [Dense],
    }
}

impl ThreeCThreeD<Spec> {
    /// Its shapes.
    #[allow(clippy::new_without_default)]
    pub fn new() -> ThreeCThreeD<Spec> {
        ThreeCThreeD {
            convs: vec![Conv::new(3, 64, &[5, 5]), Conv::new(64, 96, &[3, 3]), Conv::new(96, 128, &[3, 3])],
            dense: vec![Dense::new(1152, 512), Dense::new(512, 256), Dense::new(256, 10)],
        }
    }
}

impl<'t> ThreeCThreeD<Expr<'t>> {
    /// Logits `[10]`.
    #[track_caller]
    pub fn apply(&self, x: Expr<'t>) -> Expr<'t> {
        let halve = Sliding { stride: 2, ..Sliding::default() };
        let mut h = x;
        for (at, conv) in self.convs.iter().enumerate() {
            let padding = if at < 2 { Padding::Valid } else { Padding::Same };
            h = max_pool(conv.apply(h, Sliding { padding, ..Sliding::default() }).relu(), &[3, 3], halve);
        }
        h = h.flatten();
        for (at, layer) in self.dense.iter().enumerate() {
            h = layer.apply(if at == 0 { h } else { h.relu() });
        }
        h
    }
}

tree! {
    /// Two 3×3 convolutions without biases, each with its group normalisation.
    pub struct Block { w1, norm1: Norm, w2, norm2: Norm }
}

impl Block<Spec> {
    fn new(inputs: usize, outputs: usize) -> Block<Spec> {
        let conv = |inputs| spec([outputs, inputs, 3, 3]);
        Block { w1: conv(inputs), norm1: Norm::new(outputs), w2: conv(outputs), norm2: Norm::new(outputs) }
    }
}

impl<'t> Block<Expr<'t>> {
    /// A residual block (He et al. 2016), post-activation: relu(x + norm(conv(relu(norm(conv x))))). Where it widens, the shortcut
    /// is subsampled and padded with zero channels.
    #[track_caller]
    pub fn apply(&self, x: Expr<'t>, stride: usize, groups: usize) -> Expr<'t> {
        let first = convolve(x, self.w1, Sliding { stride, ..Sliding::default() }, 1);
        let h = convolve(self.norm1.group(first, groups).relu(), self.w2, Sliding::default(), 1);
        let h = self.norm2.group(h, groups);
        let mut shortcut = x;
        if stride > 1 {
            let picked = x.patches(&[Window::new(1, 1).stride(stride), Window::new(2, 1).stride(stride)], 0.0);
            shortcut = picked.reshape(picked.shape().get(..3).unwrap_or(&[]).to_vec());
        }
        let missing =
            h.shape().first().copied().unwrap_or(0).saturating_sub(shortcut.shape().first().copied().unwrap_or(0));
        (h + shortcut.pad(0, 0, missing)).relu()
    }
}

tree! {
    /// ResNet-32 with group normalisation for `[3, 32, 32]` images: 0.46 million parameters.
    pub struct ResNet32 { stem: Conv, norm: Norm, blocks: [Block], head: Dense }
}

impl ResNet32<Spec> {
    /// Its shapes: 3 stages of 5 blocks with 16, 32 and 64 channels.
    #[allow(clippy::new_without_default)]
    pub fn new() -> ResNet32<Spec> {
        let mut blocks = Vec::new();
        let mut inputs = 16;
        for channels in [16, 32, 64] {
            for _ in 0..5 {
                blocks.push(Block::new(inputs, channels));
                inputs = channels;
            }
        }
        ResNet32 { stem: Conv::new(3, 16, &[3, 3]), norm: Norm::new(16), blocks, head: Dense::new(64, 10) }
    }
}

impl<'t> ResNet32<Expr<'t>> {
    /// Logits `[10]`; every normalisation has 8 groups.
    #[track_caller]
    pub fn apply(&self, x: Expr<'t>) -> Expr<'t> {
        let mut h = self.norm.group(self.stem.apply(x, Sliding::default()), 8).relu();
        for (at, block) in self.blocks.iter().enumerate() {
            h = block.apply(h, if at > 0 && at % 5 == 0 { 2 } else { 1 }, 8);
        }
        self.head.apply(global_average_pool(h))
    }
}
