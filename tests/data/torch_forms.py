"""PyTorch's formulas written out in numpy, on the finite sum of optimizer_traces.json, in f64: python torch_forms.py > torch_forms.json

For what torch_optimizers.py does not run: torch.optim.{SGD, Adam, NAdam, RMSprop, Adagrad} as their documentation (2.x) has them.
"""

import json
from pathlib import Path

import numpy as np

problem = json.loads((Path(__file__).parent / "optimizer_traces.json").read_text())["problem"]
xi, a = (np.array(problem[key], dtype=np.float64) for key in ("xi", "A"))


def gradient(theta, t):
    rows = [(3 * t + i) % 7 for i in range(3)]
    gap = theta - xi[rows]
    symmetric = a[rows] + a[rows].transpose(0, 2, 1)
    return 0.5 * np.einsum("nij,nj->i", symmetric, gap) / 3 + problem["kappa"] / 3 * theta**3


def sgd(lr, momentum, dampening):
    buffer = None

    def step(theta, g):
        nonlocal buffer
        buffer = g.copy() if buffer is None else momentum * buffer + (1 - dampening) * g
        return theta - lr * buffer

    return step


def adam(lr, eps=1e-8, amsgrad=False, b1=0.9, b2=0.999):
    m, v, most, t = 0.0, 0.0, 0.0, 0

    def step(theta, g):
        nonlocal m, v, most, t
        t += 1
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        most = np.maximum(most, v)
        root = np.sqrt(most if amsgrad else v) / np.sqrt(1 - b2**t)
        return theta - lr / (1 - b1**t) * m / (root + eps)

    return step


def nadam(lr, eps=1e-8, b1=0.9, b2=0.999, psi=4e-3):
    m, v, product, t = 0.0, 0.0, 1.0, 0

    def step(theta, g):
        nonlocal m, v, product, t
        t += 1
        mu, after = (b1 * (1 - 0.5 * 0.96 ** (s * psi)) for s in (t, t + 1))
        product *= mu
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        root = np.sqrt(v / (1 - b2**t)) + eps
        theta = theta - lr * (1 - mu) / (1 - product) * g / root
        return theta - lr * after / (1 - product * after) * m / root

    return step


def rmsprop(lr, alpha=0.99, eps=1e-8, momentum=0.0, centred=False):
    v, mean, buffer = 0.0, 0.0, 0.0

    def step(theta, g):
        nonlocal v, mean, buffer
        v = alpha * v + (1 - alpha) * g * g
        mean = alpha * mean + (1 - alpha) * g
        root = np.sqrt(v - mean**2 if centred else v) + eps
        buffer = momentum * buffer + g / root
        return theta - lr * (buffer if momentum > 0 else g / root)

    return step


def adagrad(lr, initial, eps=1e-10):
    total = initial

    def step(theta, g):
        nonlocal total
        total = total + g * g
        return theta - lr * g / (np.sqrt(total) + eps)

    return step


FORMS = {
    "dampening": sgd(0.05, 0.9, 0.3),
    "amsgrad": adam(0.1, amsgrad=True),
    "adam without epsilon": adam(0.1, eps=0.0),
    "nadam": nadam(0.1),
    "rmsprop momentum": rmsprop(0.02, momentum=0.8),
    "rmsprop centred": rmsprop(0.02, centred=True),
    "rmsprop centred momentum": rmsprop(0.02, momentum=0.8, centred=True),
    "rmsprop without epsilon": rmsprop(0.02, eps=0.0),
    "adagrad initial": adagrad(0.3, 0.5),
    "adagrad without epsilon": adagrad(0.3, 0.0, eps=0.0),
}

traces = {}
for name, step in FORMS.items():
    theta = np.array(problem["theta0"])
    traces[name] = []
    for t in range(12):
        theta = step(theta, gradient(theta, t))
        traces[name].append(theta.tolist())
print(json.dumps(traces, indent=1))
