"""JAX's times for the three steps: value_and_grad, jvp of it along a direction, and the scalar variances of both per example.

Reads a model and a number of runs a line from standard input, writes one JSON object of milliseconds a line: so whoever asks can
take turns with others. `plain` maps over examples, which holds all their gradients; `scan` takes one example after the other.
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

rng = np.random.default_rng(0)
N = int(sys.argv[1]) if len(sys.argv) > 1 else 128
tree = jax.tree_util


def normal(shape, fan_in):
    return (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)


def dense(i, o):
    return normal((i, o), i), np.zeros(o, np.float32)


def kernel(i, o, k):
    return normal((o, i, k, k), i * k * k)


def conv(x, w, stride=1, pad="SAME"):
    return lax.conv_general_dilated(x[None], w, (stride, stride), pad)[0]


def pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3), (1, 2, 2), "SAME")


def head(p, x):
    for at, (w, b) in enumerate(p):
        x = x @ w + b
        if at + 1 < len(p):
            x = jax.nn.relu(x)
    return x


def norm(x, gain, shift):
    c, h, w = x.shape
    groups = x.reshape(8, -1)
    groups = groups - groups.mean(1, keepdims=True)
    groups = groups * lax.rsqrt((groups**2).mean(1, keepdims=True) + 1e-5)
    return groups.reshape(c, h, w) * gain[:, None, None] + shift[:, None, None]


def mlp(sizes=(784, 1000, 500, 100, 10)):
    return [dense(a, b) for a, b in zip(sizes, sizes[1:])], head, (784,)


def c3d3():
    sizes = [(3, 64, 5), (64, 96, 3), (96, 128, 3)]
    params = [(kernel(i, o, k), np.zeros(o, np.float32)) for i, o, k in sizes]

    def apply(p, x):
        for (w, b), pad in zip(p[0], ("VALID", "VALID", "SAME")):
            x = pool(jax.nn.relu(conv(x, w, pad=pad) + b[:, None, None]))
        return head(p[1], x.reshape(-1))

    return (params, [dense(1152, 512), dense(512, 256), dense(256, 10)]), apply, (3, 32, 32)


def resnet32():
    ones, zeros = (lambda c: np.ones(c, np.float32)), (lambda c: np.zeros(c, np.float32))
    blocks, channels = [], 16
    for c in (16, 32, 64):
        for _ in range(5):
            blocks.append((kernel(channels, c, 3), ones(c), zeros(c), kernel(c, c, 3), ones(c), zeros(c)))
            channels = c
    stem = (kernel(3, 16, 3), np.zeros(16, np.float32), ones(16), zeros(16))

    def apply(p, x):
        w, b, gain, shift = p[0]
        x = jax.nn.relu(norm(conv(x, w) + b[:, None, None], gain, shift))
        for w1, g1, b1, w2, g2, b2 in p[1]:
            grows = w1.shape[0] != w1.shape[1]
            h = jax.nn.relu(norm(conv(x, w1, 2 if grows else 1), g1, b1))
            h = norm(conv(h, w2), g2, b2)
            if grows:
                x = jnp.pad(x[:, ::2, ::2], ((0, w1.shape[0] - x.shape[0]), (0, 0), (0, 0)))
            x = jax.nn.relu(h + x)
        return head([p[2]], x.mean((1, 2)))

    return (stem, blocks, dense(64, 10)), apply, (3, 32, 32)


def steps(make):
    params, apply, shape = make()
    p = tree.tree_map(jnp.asarray, params)
    v = tree.tree_map(lambda a: jnp.asarray(normal(a.shape, 2e4)), p)
    xs, ys = rng.random((N, *shape), dtype=np.float32), rng.integers(0, 10, N).astype(np.int32)
    size = sum(a.size for a in tree.tree_leaves(p))

    def loss(p, x, y):
        return -jax.nn.log_softmax(apply(p, x))[y]

    def mean(p, xs, ys):
        return jax.vmap(loss, (None, 0, 0))(p, xs, ys).mean()

    def single(p, v, x, y):
        return jax.jvp(lambda q: jax.value_and_grad(loss)(q, x, y), (p,), (v,))

    def plain(p, v, xs, ys):
        (l, g), (_, h) = jax.vmap(single, (None, None, 0, 0))(p, v, xs, ys)
        of = lambda t: sum(jnp.sum(jnp.var(a, 0, ddof=1)) for a in tree.tree_leaves(t)) / size
        first = lambda t: tree.tree_map(lambda a: a.mean(0), t)
        return l.mean(), first(g), first(h), jnp.var(l), of(g), of(h)

    def scan(p, v, xs, ys):
        squares = lambda t: sum(jnp.sum(a * a) for a in tree.tree_leaves(t))

        def body(sums, example):
            (l, g), (_, h) = single(p, v, *example)
            return tree.tree_map(jnp.add, sums, (g, h, squares(g), squares(h), l, l * l)), None

        zero = tree.tree_map(jnp.zeros_like, p)
        return lax.scan(body, (zero, zero, 0.0, 0.0, 0.0, 0.0), (xs, ys))[0]

    return {
        "gradient": (jax.jit(lambda p, v, xs, ys: jax.value_and_grad(mean)(p, xs, ys)), (p, v, xs, ys)),
        "grad_hvp": (
            jax.jit(lambda p, v, xs, ys: jax.jvp(lambda q: jax.value_and_grad(mean)(q, xs, ys), (p,), (v,))),
            (p, v, xs, ys),
        ),
        "moments": (jax.jit(plain), (p, v, xs, ys)),
        "moments_scan": (jax.jit(scan), (p, v, xs, ys)),
    }


MODELS = {"logreg": lambda: mlp((784, 10)), "mlp": mlp, "3c3d": c3d3, "resnet32": resnet32}
made = {}
print(json.dumps({"peer": f"JAX {jax.__version__}"}), flush=True)
for line in sys.stdin:
    model, step, runs = line.split()
    if model not in made:
        made = {model: steps(MODELS[model])}
    run, arguments = made[model][step]
    taken = []
    for _ in range(int(runs)):
        began = time.perf_counter()
        jax.block_until_ready(run(*arguments))
        taken.append((time.perf_counter() - began) * 1e3)
    print(json.dumps(taken), flush=True)
