"""PyTorch's times for the three steps, like those of jax_peer.py: same protocol, same models.

The gradient is `backward`'s; the product is the faster of forward over reverse (torch.func) and reverse over reverse.
"""

import json
import sys
import time
import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad_and_value, jvp, vmap

warnings.filterwarnings("ignore")
N = int(sys.argv[1]) if len(sys.argv) > 1 else 128
if len(sys.argv) > 2:
    torch.set_num_threads(int(sys.argv[2]))
torch.manual_seed(0)


class Pool(nn.Module):
    """3×3, stride 2, padded like TensorFlow's SAME."""

    def forward(self, x):
        side = x.shape[-1]
        pad = max((-(-side // 2) - 1) * 2 + 3 - side, 0)
        edges = (pad // 2, pad - pad // 2) * 2
        return F.max_pool2d(F.pad(x, edges, value=-1e9), 3, 2)


class Block(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.stride, self.grown = (2 if i != o else 1), o - i
        self.conv1, self.norm1 = nn.Conv2d(i, o, 3, self.stride, 1, bias=False), nn.GroupNorm(8, o)
        self.conv2, self.norm2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.GroupNorm(8, o)

    def forward(self, x):
        h = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.stride == 2:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.grown))
        return F.relu(h + x)


def mlp(sizes=(784, 1000, 500, 100, 10)):
    layers = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1]), (784,)


def c3d3():
    convs = [nn.Conv2d(3, 64, 5), nn.Conv2d(64, 96, 3), nn.Conv2d(96, 128, 3, padding=1)]
    body = [m for c in convs for m in (c, nn.ReLU(), Pool())]
    dense = [nn.Linear(1152, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)]
    return nn.Sequential(*body, nn.Flatten(), *dense), (3, 32, 32)


def resnet32():
    sizes = [16] + [16] * 5 + [32] * 5 + [64] * 5
    blocks = [Block(a, b) for a, b in zip(sizes, sizes[1:])]
    stem = [nn.Conv2d(3, 16, 3, 1, 1), nn.GroupNorm(8, 16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), (3, 32, 32)


def steps(make):
    model, shape = make()
    params = {k: v.detach() for k, v in model.named_parameters()}
    v = {k: torch.randn_like(p) * 1e-2 for k, p in params.items()}
    size = sum(p.numel() for p in params.values())
    xs, ys = torch.rand(N, *shape), torch.randint(0, 10, (N,))

    def mean(q, xs, ys):
        return F.cross_entropy(functional_call(model, q, (xs,)), ys)

    def gradient():
        model.zero_grad()
        F.cross_entropy(model(xs), ys).backward()

    def forward_over_reverse():
        jvp(lambda q: grad_and_value(mean)(q, xs, ys), (params,), (v,))

    def reverse_over_reverse():
        weights = list(model.parameters())
        g = torch.autograd.grad(F.cross_entropy(model(xs), ys), weights, create_graph=True)
        torch.autograd.grad(g, weights, grad_outputs=list(v.values()))

    def moments():
        def each(x, y):
            return jvp(lambda q: grad_and_value(mean)(q, x[None], y[None]), (params,), (v,))

        (g, l), (h, _) = vmap(each)(xs, ys)
        of = lambda t: sum(a.var(0).sum() for a in t.values()) / size
        first = lambda t: {k: a.mean(0) for k, a in t.items()}
        return l.mean(), first(g), first(h), l.var(), of(g), of(h)

    return {
        "gradient": [gradient],
        "grad_hvp": [forward_over_reverse, reverse_over_reverse],
        "moments": [moments],
    }


MODELS = {"logreg": lambda: mlp((784, 10)), "mlp": mlp, "3c3d": c3d3, "resnet32": resnet32}
made = {}
print(json.dumps({"peer": f"PyTorch {torch.__version__}"}), flush=True)
for line in sys.stdin:
    model, step, runs = line.split()
    if model not in made:
        made = {model: steps(MODELS[model])}
    best = []
    for run in made[model].get(step, []):
        taken = []
        for _ in range(int(runs)):
            began = time.perf_counter()
            run()
            taken.append((time.perf_counter() - began) * 1e3)
        best = min(best or taken, taken, key=lambda t: sorted(t)[len(t) // 2])
    print(json.dumps(best), flush=True)
