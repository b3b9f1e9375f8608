"""Prints truth.txt: arguments, and functions of them as the nearest f64 and what that is short of the truth in units of its last
place, from 60 digits (needs mpmath). Arguments are of all magnitudes, near zeros, poles and where methods change."""

import random

import mpmath as mp

mp.mp.dps = 60
R = random.Random(1)


def some(low, high, n=40):
    return [R.uniform(low, high) for _ in range(n)]


def all_scales(n=40, low=-300, high=300, signs=(-1, 1)):
    return [R.choice(signs) * R.uniform(1, 10) * 10.0 ** R.uniform(low, high) for _ in range(n)]


def near(center, n=30, signs=(-1, 1)):
    return [center + R.choice(signs) * 10.0 ** R.uniform(-15.5, -1) for _ in range(n)]


def ln_gamma(x):
    return mp.log(abs(mp.gamma(x))) if x < 100 else mp.loggamma(x)


LEAST = [5e-324, 3e-310, 2.5e-308]
POSITIVE = (1,)
ONE = {
    "exp": (mp.exp, some(-745, 709) + some(-2, 2)),
    "exp_m1": (mp.expm1, some(-40, 709) + some(-2, 2) + all_scales(20, -300, -2)),
    "ln": (mp.log, all_scales(40, signs=POSITIVE) + near(1) + LEAST),
    "ln_1p": (mp.log1p, some(-1, 3) + all_scales(40, signs=POSITIVE) + all_scales(20, -300, -2)),
    "tanh": (mp.tanh, some(-20, 20) + some(-2, 2) + all_scales(20, -300, -2)),
    "erf": (mp.erf, some(-6, 6) + some(-1.5, 1.5) + all_scales(20, -300, -2)),
    "erfc": (mp.erfc, some(-6, 0.5) + some(0.4, 3) + some(0, 27.3) + some(26, 27.2, 10)),
    "gaussian": (lambda x: mp.exp(-x * x), some(-27.3, 27.3) + some(-3, 3) + some(26, 27.2, 10)),
    "exp2": (lambda x: mp.power(2, x), some(-1074, 1023) + some(-3, 3)),
    "log2": (lambda x: mp.log(x, 2), all_scales(40, signs=POSITIVE) + some(0.5, 2) + near(1) + LEAST),
    "log10": (mp.log10, all_scales(40, signs=POSITIVE) + some(0.5, 2) + near(1) + LEAST),
    "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), all_scales() + some(-9, 9) + LEAST + [1.7e308]),
    "sinh": (mp.sinh, some(-710.4, 710.4) + some(-3, 3) + some(0.9, 1.1) + all_scales(20, -300, -2) + [710.4]),
    "cosh": (mp.cosh, some(-710.4, 710.4) + some(-3, 3) + all_scales(20, -300, -2) + [710.4]),
    "asinh": (mp.asinh, all_scales() + some(-3, 3) + [1e200, 1.7e308]),
    "acosh": (mp.acosh, all_scales(40, 0, 300, POSITIVE) + some(1, 3) + near(1, 30, POSITIVE) + [1e200, 1.7e308]),
    "atanh": (mp.atanh, some(-1, 1) + near(1, 30, (-1,)) + all_scales(20, -300, -1)),
    "asin": (mp.asin, some(-1, 1) + some(0.45, 0.55) + near(1, 30, (-1,)) + all_scales(20, -300, -1)),
    "acos": (mp.acos, some(-1, 1) + some(0.45, 0.55) + near(1, 30, (-1,)) + near(-1, 30, (1,)) + near(0)),
    "atan": (mp.atan, some(-4, 4, 80) + all_scales()),
    "ln_gamma": (
        ln_gamma,
        some(0, 10, 80) + some(-2.4, 0) + all_scales(40, -300, 300, POSITIVE) + near(1) + near(2) + some(8, 200) + [2.5e305],
    ),
    "digamma": (
        mp.digamma,
        some(0, 10, 80) + some(8, 200) + all_scales(40, -300, 300, POSITIVE) + near(1.4616321449683622) + some(-0.4, 0),
    ),
}
TWO = {
    "pow": (
        lambda x, y: mp.power(x, y),
        list(zip(some(0, 5), some(-300, 300)))
        + list(zip(all_scales(40, signs=POSITIVE), some(-2, 2)))
        + list(zip(near(1), all_scales(30, 2, 5)))
        + list(zip(some(-9, 0, 10), [2, 3, -3, 5, -7, 101, 300, -301, 1, -1]))
        + [(2.0, -1074.0), (10.0, -320.0), (3e-310, 0.5), (0.99999, 5e7), (1.00001, 7e7)],
    ),
    "atan2": (
        mp.atan2,
        list(zip(all_scales(), all_scales()))
        + list(zip(some(-4, 4, 80), some(-4, 4, 80)))
        + list(zip(all_scales(30, 305, 307), all_scales(30, 305, 307)))
        + [(1.7e308, 1.7e308), (-1e308, -1.7e308), (5e-324, 5e-324), (1e-320, -2e-320)],
    ),
    "hypot": (
        mp.hypot,
        list(zip(all_scales(), all_scales())) + list(zip(some(-4, 4, 80), some(-4, 4, 80))) + [(1e308, 1e308), (5e-324, 5e-324), (1e-320, 2e-320)],
    ),
    "unit": (
        lambda x, y: x / mp.hypot(x, y),
        list(zip(all_scales(), all_scales())) + list(zip(some(-4, 4, 80), some(-4, 4, 80))) + [(1e308, 1e308), (5e-324, 5e-324), (1e-320, 2e-320)],
    ),
    "logaddexp": (
        lambda x, y: mp.log(mp.exp(x) + mp.exp(y)),
        list(zip(some(0, 40), some(-40, 40))) + list(zip(some(-700, -1), some(-50, 50))) + [(1000.0, 1000.0), (-1000.0, -1001.0)],
    ),
    "polygamma": (
        lambda n, x: mp.polygamma(int(n), x),
        [(float(n), x) for n in range(1, 6) for x in some(0, 3, 12) + some(3, 60, 8) + all_scales(8, -40, 40, POSITIVE)]
        + [(float(n), x) for n in (1, 3) for x in some(-5, 0, 10)],
    ),
}


ACTIVATIONS = {
    "sech2": (lambda x: mp.sech(x) ** 2, some(-370, 370) + some(-2, 2) + all_scales(20, -300, -2)),
    "normal_pdf": (lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi), some(-38.5, 38.5) + some(-3, 3) + some(37, 38.5, 10)),
    "ndtr": (lambda x: mp.erfc(-x / mp.sqrt(2)) / 2, some(-38.5, 9) + some(-2, 2) + some(-38.5, -37, 10)),
    "gelu": (lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2, some(-38.5, 40) + some(-2, 2) + some(-38.5, -37, 10) + all_scales(20, -300, -2)),
    "silu": (lambda x: x / (1 + mp.exp(-x)), some(-750, 100) + some(-3, 3) + some(-751, -700, 20) + all_scales(20, -300, -2)),
}


def line(name, arguments, truth):
    if abs(truth) > 1.7976931348623157e308 or not truth:
        return
    value = float(truth)  # to the nearest: mpmath rounds so, but for subnormals
    exponent = max(mp.frexp(abs(truth))[1], -1021) - 53
    value = float(mp.ldexp(mp.nint(mp.ldexp(truth, -exponent)), exponent))
    short = (truth - mp.mpf(value)) / mp.ldexp(1, exponent)
    print(name, *map(repr, arguments), repr(value), mp.nstr(short, 2))


def print_all(functions):
    for name, (f, arguments) in functions.items():
        for x in arguments:
            line(name, [x], f(mp.mpf(x)))


print_all(ONE)
for name, (f, arguments) in TWO.items():
    for x in arguments:
        line(name, x, f(*map(mp.mpf, x)))
print_all(ACTIVATIONS)
