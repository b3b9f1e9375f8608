"""PyTorch's own optimizers on the finite sum of optimizer_traces.json, in f64: python torch_optimizers.py > torch_optimizers.json"""

import json
from pathlib import Path

import torch

problem = json.loads((Path(__file__).parent / "optimizer_traces.json").read_text())["problem"]
xi, a = (torch.tensor(problem[key], dtype=torch.float64) for key in ("xi", "A"))


def loss(theta, t):
    rows = [(3 * t + i) % 7 for i in range(3)]
    gap = theta - xi[rows]
    quadratic = 0.5 * torch.einsum("ni,nij,nj->n", gap, a[rows], gap).mean()
    return quadratic + problem["kappa"] / 12 * (theta**4).sum()


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd weight-decay": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "adam weight-decay": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.05),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=1.0, rho=0.95, eps=1e-6),
}

traces = {"torch": torch.__version__}
for name in [*OPTIMIZERS, "sgd clip"]:
    theta = torch.tensor(problem["theta0"], dtype=torch.float64, requires_grad=True)
    make = OPTIMIZERS.get(name, OPTIMIZERS["sgd"])
    optimizer = make([theta])
    traces[name] = []
    for t in range(15):
        optimizer.zero_grad()
        loss(theta, t).backward()
        if name.endswith("clip"):
            # Without the 1e-6 that clip_grad_norm_ adds to the norm.
            theta.grad *= min(1.0, 0.5 / theta.grad.norm().item())
        optimizer.step()
        traces[name].append(theta.tolist())
print(json.dumps(traces, indent=1))
