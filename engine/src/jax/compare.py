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
    """value, gradient and Hv of all examples, in one pass: the derivative of the gradient's program holds all three."""
    def one(params, direction, data):
        both = jax.value_and_grad(lambda q: f(q, data)[0])
        (value, gradient), (_, hvp) = jax.jvp(both, (params,), (direction,))
        return {"value": [value], "gradient": gradient, "hvp": hvp}
    each = jax.jit(jax.vmap(one, (None, None, 0)))
    def results(params, direction, data):
        batched = each(params, direction, data)
        alone = {name: [x[0] for x in arrays] for name, arrays in batched.items()}
        return alone | {f"vmap {name}": arrays for name, arrays in batched.items()}
    return results

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
    # Of nothing but zeros, a difference may be more than the largest number.
    return min(float(off), sys.float_info.max), apart

def nudged(arrays, factor):
    """Inputs a few units of the last place away: what changes much is ill-conditioned."""
    nudge = lambda x: x * factor if x.dtype == np.float64 else x
    with np.errstate(all="ignore"):
        return [nudge(x) for x in arrays]

def compare(f, params, direction, data, want):
    """For each result (difference, elements not finite on one side alone, change of JAX's own result if inputs move by 4 ulp)."""
    run = evaluate(f)
    got = run(params, direction, data)
    report = {name: [*difference(got[name], want[name]), 0.0] for name in got}
    for factor in (1 + 2.0**-50, 1 - 2.0**-50):
        moved = run(nudged(params, factor), nudged(direction, factor), nudged(data, factor))
        for name in got:
            noise, _ = difference(moved[name], got[name])
            report[name][2] = max(report[name][2], noise)
    return report

def finite(want):
    """Whether the loss of every example is a finite number: elsewhere systems differ in what derivatives they give."""
    return bool(np.all(np.isfinite(np.asarray(want["vmap value"]))))
