import json
import math
import sys

import numpy as np

def array(values, shape):
    """An array of the values written in the file."""
    return np.array(values, dtype=np.float64).reshape(shape)

def index(values, shape):
    """An array of labels written in the file."""
    return np.array(values, dtype=np.int32).reshape(shape)

def evaluate(f):
    """value, gradient and Hv of the first example, and of all examples by vmap."""
    def all_of_them(params, direction, data):
        loss = lambda p, d: f(p, d)[0]
        gradient = jax.grad(loss)
        hvp = lambda p, v, d: jax.jvp(lambda q: gradient(q, d), (p,), (v,))[1]
        first = [x[0] for x in data]
        return {
            "value": [loss(params, first)],
            "gradient": gradient(params, first),
            "hvp": hvp(params, direction, first),
            "vmap value": [jax.vmap(loss, (None, 0))(params, data)],
            "vmap gradient": jax.vmap(gradient, (None, 0))(params, data),
            "vmap hvp": jax.vmap(hvp, (None, None, 0))(params, direction, data),
        }
    return jax.jit(all_of_them)

def difference(got, want):
    """The largest difference, relative to the largest finite number wanted, and how many elements are not finite on one side alone."""
    got = np.concatenate([np.ravel(np.asarray(x)) for x in got])
    want = np.concatenate([np.ravel(np.asarray(x)) for x in want])
    with np.errstate(all="ignore"):
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        finite = np.isfinite(got) & np.isfinite(want)
        apart = int(np.sum(~same & ~finite))
        scale = max(np.max(np.abs(want[finite]), initial=0.0), np.finfo(np.float64).tiny)
        off = np.max(np.abs(got / scale - want / scale), initial=0.0, where=finite & ~same)
    return float(off), apart

def nudged(arrays, factor):
    """Inputs a few units of the last place away: what changes much is ill-conditioned."""
    nudge = lambda x: x * factor if x.dtype == np.float64 else x
    with np.errstate(all="ignore"):
        return [nudge(x) for x in arrays]

def compare(f, params, direction, data, want):
    """For each result (difference, elements not finite on one side alone, change of JAX's own result if inputs move by 4 ulp)."""
    run = evaluate(f)
    got = run(params, direction, data)
    report = {}
    for factor in (1 + 2.0**-50, 1 - 2.0**-50):
        moved = run(nudged(params, factor), nudged(direction, factor), nudged(data, factor))
        for name in got:
            noise, _ = difference(moved[name], got[name])
            report.setdefault(name, [*difference(got[name], want[name]), 0.0])
            report[name][2] = max(report[name][2], noise)
    return report
