"""JAX's times for an embedding table, by its rows: those of `cargo bench --bench embedding`.

The gradient of the mean loss; then the per-example norms of gradients, by gradients mapped over examples, which holds a table an example.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

EXAMPLES, WORDS, WIDTH, RUNS = 32, 16, 32, 9


def loss(table, words, target):
    return 0.5 * jnp.sum((jnp.tanh(table[words]).sum(0) - target) ** 2)


def timed(f, *args):
    times = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        jax.block_until_ready(f(*args))
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times[1:])


mean = jax.jit(jax.value_and_grad(lambda t, w, y: jnp.mean(jax.vmap(loss, (None, 0, 0))(t, w, y))))


@jax.jit
def norms(table, words, targets):
    each = jax.vmap(jax.grad(loss), (None, 0, 0))(table, words, targets)
    return each.mean(0), jnp.sum(each**2, (1, 2))


rng = np.random.default_rng(1)
print("milliseconds: gradient, per-example norms and mean")
for rows in [1_000, 10_000, 50_000, 200_000]:
    table = jnp.asarray(0.3 * rng.standard_normal((rows, WIDTH)), jnp.float32)
    words = jnp.asarray(rng.integers(rows, size=(EXAMPLES, WORDS)))
    targets = jnp.asarray(rng.standard_normal((EXAMPLES, WIDTH)), jnp.float32)
    print(f"{rows:>8} {timed(mean, table, words, targets):9.3f} {timed(norms, table, words, targets):9.3f}")
