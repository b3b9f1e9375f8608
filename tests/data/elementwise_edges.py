"""Prints elementwise_edges.txt: elementwise functions with two derivatives at edges, from 60 digits (needs mpmath).

One line `points TYPE …` with the arguments of a type; for each function and type a line `NAME TYPE ORDER …` with the function (order 0)
or a derivative at all of them; for functions of two arguments the points are pairs, and orders are 0, x, z, xx, xz, zz. Numbers are
rounded to f64, `*` is where nothing is asked (outside the domain), `~inf` an infinity of either sign (at a pole, of -0). At a kink the
derivative is that which the documentation of the function names.
"""

import mpmath as mp

mp.mp.dps = 60
INF, NAN = mp.inf, mp.nan
ANY, POLE = "*", "~inf"

TYPES = {
    "f32": (-149, -126, mp.mpf(2) ** 128 - mp.mpf(2) ** 104, 24),
    "f64": (-1074, -1022, mp.mpf(2) ** 1024 - mp.mpf(2) ** 971, 53),
}


def rounded(x, kind):
    """A normal number of the type."""
    if x == 0:
        return x
    mantissa, exponent = mp.frexp(x)
    return mp.ldexp(mp.nint(mp.ldexp(mantissa, TYPES[kind][3])), exponent - TYPES[kind][3])


def text(v, kind):
    if isinstance(v, str):
        return v
    if mp.isnan(v):
        return "nan"
    if mp.isinf(v):
        return "inf" if v > 0 else "-inf"
    value = float(mp.nstr(mp.mpf(v), 40))
    short = f"{value:.12g}" if kind == "f32" else repr(value)
    return short[:-2] if short.endswith(".0") else short


SIZES = ["1e-30", "1e-10", "1e-4", "0.01", "0.1", "0.3", "0.5", "0.7", "0.99", "1", "1.01", "1.3", "1.5", "2", "2.5", "3", "4", "5.5",
         "6", "8", "9.0109", "13", "14.1", "17", "20", "30", "38.2", "40", "88.5", "101", "1e3", "1e6", "1e10", "1e19", "1e30"]
MORE = {"f32": [], "f64": ["1e-200", "300", "709.5", "744", "1e100", "1e154", "1e160", "1e300"]}


def points(kind):
    least, normal, most, bits = TYPES[kind]
    positive = [mp.mpf(2) ** least, mp.mpf(2) ** normal, mp.mpf(2) ** (1 - bits), most]
    positive += [rounded(mp.mpf(s), kind) for s in SIZES + MORE[kind]]
    return [mp.mpf(0), "-0"] + sorted(positive) + [-x for x in sorted(positive)] + [INF, -INF, NAN]


def exp(x):
    """Beyond 2000 it is infinite or 0 in every type."""
    return INF if x > 2000 else mp.mpf(0) if x < -2000 else mp.exp(x)


def gaussian(x):
    return exp(-x * x)


def pdf(x):
    return exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def cdf(x):
    return mp.mpf(x > 0) if abs(x) > 2000 else mp.erfc(-x / mp.sqrt(2)) / 2


def sech2(x):
    e = exp(-2 * abs(x))
    return 4 * e / (1 + e) ** 2


def tanh(x):
    return sign(x) if abs(x) > 2000 else mp.tanh(x)


def sigmoid(x):
    return 1 / (1 + exp(-x)) if x > 0 else exp(x) / (1 + exp(x))


def sign(x):
    return mp.mpf(1 if x > 0 else -1 if x < 0 else 0)


class Row:
    """A function with two derivatives inside its domain (none is zero everywhere), and at infinities and other points."""

    def __init__(self, orders, plus, minus, at=None, domain=(-INF, INF), constant=None):
        self.orders, self.at, self.domain, self.constant = orders, {INF: plus, -INF: minus, **(at or {})}, domain, constant

    def value(self, x, order):
        f = self.orders[order]
        if x == "-0":
            if "-0" in self.at:
                return self.at["-0"][order]
            x = mp.mpf(0)
        if mp.isnan(x):
            return f(mp.mpf(1)) if order == self.constant else NAN if f else mp.mpf(0)
        if x in self.at:
            return self.at[x][order]
        if not self.domain[0] <= x <= self.domain[1]:
            return NAN if order == 0 else ANY
        return f(x) if f else mp.mpf(0)


def sinh(x):
    return (exp(x) - exp(-x)) / 2 if abs(x) > 1 else mp.sinh(x)


def cosh(x):
    return (exp(x) + exp(-x)) / 2


LN2 = mp.log(2)
Z3 = (0, 0, 0)
LOG = {0: (-INF, INF, -INF), "-0": (-INF, POLE, POLE)}
N3 = (NAN, NAN, NAN)
OUT = (NAN, ANY, ANY)
ROOT_PI = mp.sqrt(mp.pi)
UNARY = {
    "sqrt": Row([mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x)), lambda x: -1 / (4 * x * mp.sqrt(x))], (INF, 0, 0), OUT,
                {0: (0, INF, -INF), "-0": (0, POLE, POLE)}, (0, INF)),
    "rsqrt": Row([lambda x: 1 / mp.sqrt(x), lambda x: -1 / (2 * x * mp.sqrt(x)), lambda x: 3 / (4 * x * x * mp.sqrt(x))], Z3, OUT,
                 {0: (INF, -INF, INF), "-0": (POLE, POLE, POLE)}, (0, INF)),
    "exp": Row([exp] * 3, (INF, INF, INF), Z3),
    "exp_m1": Row([lambda x: INF if x > 2000 else -1 if x < -2000 else mp.expm1(x), exp, exp], (INF, INF, INF), (-1, 0, 0)),
    "ln": Row([mp.log, lambda x: 1 / x, lambda x: -1 / x**2], (INF, 0, 0), OUT, LOG, (0, INF)),
    "ln_1p": Row([mp.log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2], (INF, 0, 0), OUT, {-1: (-INF, INF, -INF)}, (-1, INF)),
    "sin": Row([mp.sin, mp.cos, lambda x: -mp.sin(x)], N3, N3),
    "cos": Row([mp.cos, lambda x: -mp.sin(x), lambda x: -mp.cos(x)], N3, N3),
    "tanh": Row([tanh, sech2, lambda x: -2 * tanh(x) * sech2(x)], (1, 0, 0), (-1, 0, 0)),
    "sech2": Row([sech2, lambda x: -2 * tanh(x) * sech2(x), lambda x: (4 - 6 * sech2(x)) * sech2(x)], Z3, Z3),
    "sigmoid": Row([sigmoid, lambda x: sech2(x / 2) / 4, lambda x: -tanh(x / 2) * sech2(x / 2) / 4], (1, 0, 0), Z3),
    "softplus": Row([lambda x: max(x, mp.mpf(0)) + mp.log1p(exp(-abs(x))), sigmoid, lambda x: sech2(x / 2) / 4], (INF, 1, 0), Z3),
    "softsign": Row([lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2, lambda x: -2 * sign(x) / (1 + abs(x)) ** 3],
                    (1, 0, 0), (-1, 0, 0)),
    "erf": Row([lambda x: sign(x) if abs(x) > 2000 else mp.erf(x), lambda x: 2 / ROOT_PI * gaussian(x),
                lambda x: -4 * x / ROOT_PI * gaussian(x)], (1, 0, 0), (-1, 0, 0)),
    "erfc": Row([lambda x: 1 - sign(x) if abs(x) > 2000 else mp.erfc(x), lambda x: -2 / ROOT_PI * gaussian(x),
                 lambda x: 4 * x / ROOT_PI * gaussian(x)], Z3, (2, 0, 0)),
    "gaussian": Row([gaussian, lambda x: -2 * x * gaussian(x), lambda x: (4 * x * x - 2) * gaussian(x)], Z3, Z3),
    "ndtr": Row([cdf, pdf, lambda x: -x * pdf(x)], (1, 0, 0), Z3),
    "normal_pdf": Row([pdf, lambda x: -x * pdf(x), lambda x: (x * x - 1) * pdf(x)], Z3, Z3),
    "relu": Row([lambda x: max(x, mp.mpf(0)), lambda x: mp.mpf(x > 0), None], (INF, 1, 0), Z3),
    "min0": Row([lambda x: min(x, mp.mpf(0)), lambda x: mp.mpf(x <= 0), None], Z3, (-INF, 1, 0)),
    "step": Row([lambda x: mp.mpf(x > 0), None, None], (1, 0, 0), Z3),
    "abs": Row([abs, sign, None], (INF, 1, 0), (INF, -1, 0)),
    "sign": Row([sign, None, None], (1, 0, 0), (-1, 0, 0)),
    "silu": Row([lambda x: x * sigmoid(x), lambda x: sigmoid(x) + x * sech2(x / 2) / 4,
                 lambda x: (2 - x * tanh(x / 2)) * sech2(x / 2) / 4], (INF, 1, 0), Z3),
    "gelu": Row([lambda x: x * cdf(x), lambda x: cdf(x) + x * pdf(x), lambda x: (2 - x * x) * pdf(x)], (INF, 1, 0), Z3),
    "exp2": Row([lambda x, k=k: exp(LN2 * x) * LN2**k for k in range(3)], (INF, INF, INF), Z3),
    "log2": Row([lambda x: mp.log(x) / LN2, lambda x: 1 / x / LN2, lambda x: -1 / x**2 / LN2], (INF, 0, 0), OUT, LOG, (0, INF)),
    "log10": Row([mp.log10, lambda x: 1 / x / mp.log(10), lambda x: -1 / x**2 / mp.log(10)], (INF, 0, 0), OUT, LOG, (0, INF)),
    "tan": Row([mp.tan, lambda x: mp.sec(x) ** 2, lambda x: 2 * mp.tan(x) * mp.sec(x) ** 2], N3, N3),
    "asin": Row([mp.asin, lambda x: 1 / mp.sqrt(1 - x * x), lambda x: x / mp.sqrt(1 - x * x) ** 3], OUT, OUT,
                {1: (mp.pi / 2, INF, INF), -1: (-mp.pi / 2, INF, -INF)}, (-1, 1)),
    "acos": Row([mp.acos, lambda x: -1 / mp.sqrt(1 - x * x), lambda x: -x / mp.sqrt(1 - x * x) ** 3], OUT, OUT,
                {1: (0, -INF, -INF), -1: (mp.pi, -INF, INF)}, (-1, 1)),
    "atan": Row([mp.atan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2], (mp.pi / 2, 0, 0), (-mp.pi / 2, 0, 0)),
    "sinh": Row([sinh, cosh, sinh], (INF, INF, INF), (-INF, INF, -INF)),
    "cosh": Row([cosh, sinh, cosh], (INF, INF, INF), (INF, -INF, INF)),
    "asinh": Row([mp.asinh, lambda x: 1 / mp.sqrt(1 + x * x), lambda x: -x / mp.sqrt(1 + x * x) ** 3], (INF, 0, 0), (-INF, 0, 0)),
    "acosh": Row([mp.acosh, lambda x: 1 / mp.sqrt(x * x - 1), lambda x: -x / mp.sqrt(x * x - 1) ** 3], (INF, 0, 0), OUT,
                 {1: (0, INF, -INF)}, (1, INF)),
    "atanh": Row([mp.atanh, lambda x: 1 / (1 - x * x), lambda x: 2 * x / (1 - x * x) ** 2], OUT, OUT,
                 {1: (INF, INF, INF), -1: (-INF, INF, -INF)}, (-1, 1)),
    "cbrt": Row([lambda x: sign(x) * mp.cbrt(abs(x)), lambda x: 1 / mp.cbrt(abs(x)) ** 2 / 3, lambda x: -2 / (9 * x * mp.cbrt(abs(x)) ** 2)],
                (INF, 0, 0), (-INF, 0, 0), {0: (0, INF, ANY)}),
    # Where it is negative it is looked at elsewhere, and only beside the size of its terms.
    "ln_gamma": Row([lambda x: ANY if x < 0 else mp.loggamma(x), lambda x: ANY if x < 0 else mp.digamma(x),
                     lambda x: ANY if x < 0 else mp.polygamma(1, x)], (INF, INF, 0), (INF, ANY, ANY), {0: (INF, POLE, INF)}),
    "digamma": Row([lambda x: ANY if x < 0 else mp.digamma(x), lambda x: ANY if x < 0 else mp.polygamma(1, x),
                    lambda x: ANY if x < 0 else mp.polygamma(2, x)], (INF, 0, 0), (NAN, ANY, ANY), {0: (POLE, INF, POLE)}),
    "round": Row([mp.nint, None, None], (INF, 0, 0), (-INF, 0, 0)),
    "floor": Row([mp.floor, None, None], (INF, 0, 0), (-INF, 0, 0)),
    "ceil": Row([mp.ceil, None, None], (INF, 0, 0), (-INF, 0, 0)),
    "trunc": Row([lambda x: sign(x) * mp.floor(abs(x)), None, None], (INF, 0, 0), (-INF, 0, 0)),
    # Functions of the layers' crate, with the options that its tests name.
    "elu(0.5)": Row([lambda x: x if x > 0 else mp.expm1(max(x, -2000)) / 2, lambda x: 1 if x > 0 else exp(x) / 2,
                     lambda x: 0 if x > 0 else exp(x) / 2], (INF, 1, 0), (-0.5, 0, 0)),
    "leaky_relu(0.01)": Row([lambda x: x if x > 0 else mp.mpf(0.01) * x, lambda x: 1 if x > 0 else mp.mpf(0.01), None], (INF, 1, 0),
                            (-INF, mp.mpf(0.01), 0)),
}


def power(n):
    """x^n; at 0 a negative one is infinite, with a sign that -0 may turn."""
    def order(k):
        factor = mp.mpf(1)
        for i in range(k):
            factor *= n - i
        p = n - k
        return (lambda x: factor * x**p) if factor else None

    def at(x, k):
        f, p = order(k), n - k
        if f is None:
            return mp.mpf(0)
        sign = (1 if f(mp.mpf(1)) > 0 else -1) * (-1 if x < 0 and p % 2 else 1)
        if x == 0:
            return f(x) if p >= 0 else sign * INF
        return sign * INF if p > 0 else f(mp.mpf(1)) if p == 0 else mp.mpf(0)

    limits = {x: tuple(at(x, k) for k in range(3)) for x in (INF, -INF, mp.mpf(0))}
    minus = tuple(POLE if n - k < 0 and order(k) else limits[mp.mpf(0)][k] for k in range(3))
    return Row([order(k) for k in range(3)], limits[INF], limits[-INF], {0: limits[mp.mpf(0)], "-0": minus}, constant=n)


for n in (-12, -3, -2, -1, 0, 1, 2, 3, 5):
    UNARY[f"powi({n})"] = power(n)


PAIRS = ["0.3", "1", "-1", "1.5", "-3", "49", "1e-10", "-1e5", "1e19"]


def pairs(kind):
    least, normal, most, _ = TYPES[kind]
    return [mp.mpf(0), "-0", mp.mpf(2) ** least, mp.mpf(2) ** normal, *(rounded(mp.mpf(s), kind) for s in PAIRS), most, -most, INF, -INF,
            NAN]


def divide(x, z, order, kind):
    """IEEE's quotient; its derivatives are right where it is a normal number."""
    if order == "xx":
        return mp.mpf(0)
    signs = [v == "-0" for v in (x, z)]
    x, z = [mp.mpf(0) if v == "-0" else v for v in (x, z)]
    if mp.isnan(z) or order != "x" and mp.isnan(x):
        return NAN
    if order == "x":
        x, signs[0] = mp.mpf(1), False
    if x == 0 and z == 0 or mp.isinf(x) and mp.isinf(z):
        return NAN
    sign = mp.mpf(-1 if (x < 0 or signs[0]) != (z < 0 or signs[1]) else 1)
    if order in ("0", "x"):
        return sign * INF if z == 0 or mp.isinf(x) else mp.mpf(0) if mp.isinf(z) else x / z
    quotient = INF if z == 0 or mp.isinf(x) else mp.mpf(0) if mp.isinf(z) else abs(x / z)
    smallest = mp.mpf(2) ** TYPES[kind][1]
    power, factor = (2, -1) if order == "z" else (3, 2)
    if mp.isinf(quotient):
        return factor * INF * (1 if x > 0 else -1) * (sign * (1 if x > 0 else -1) if power == 3 else 1)
    if quotient == 0:
        return mp.mpf(0)
    if quotient < smallest or power == 3 and quotient / abs(z) < smallest:
        return ANY
    return factor * x / z**power


def plain(x, z):
    """Both as numbers, if they are finite."""
    x, z = [mp.mpf(0) if v == "-0" else v for v in (x, z)]
    return (x, z) if mp.isfinite(x) and mp.isfinite(z) else None


def beyond(x, z, order, kind):
    """Whether the distance from 0, or a second derivative of it, is more than the type can hold."""
    h = mp.hypot(x, z)
    return h > TYPES[kind][2] or len(order) > 1 and h < mp.sqrt(mp.mpf(2) ** TYPES[kind][1])


def atan2(x, z, order, kind):
    if plain(x, z) is None or plain(x, z) == (0, 0) or "-0" in (x, z) or beyond(x, z, order, kind):
        return ANY
    squares = x * x + z * z
    return {"0": lambda: mp.atan2(x, z), "x": lambda: z / squares, "z": lambda: -x / squares, "xx": lambda: -2 * x * z / squares**2,
            "zz": lambda: 2 * x * z / squares**2}[order]()


def hypot(x, z, order, kind):
    if plain(x, z) is None or plain(x, z) == (0, 0):
        return ANY
    x, z = plain(x, z)
    h = mp.hypot(x, z)
    if order != "0" and beyond(x, z, order, kind):
        return ANY
    return {"0": h, "x": x / h, "z": z / h, "xx": z * z / h**3, "zz": x * x / h**3}[order]


def pow(x, z, order, kind):
    """Of positive numbers, others follow C99, which is looked at elsewhere; derivatives where the lower power is a number of the type."""
    if plain(x, z) is None or plain(x, z)[0] <= 0:
        return ANY
    x, z = plain(x, z)
    log = z * mp.log(x)
    lower = {"x": 1, "xx": 2}.get(order, 0)
    if lower and (z - lower) * mp.log(x) > mp.log(TYPES[kind][2]) and z * (z - 1) and abs(z) < 1:
        return ANY

    def at(shift):
        e = log + shift * mp.log(x)
        return INF if e > 2000 else mp.mpf(0) if e < -2000 else mp.exp(e)
    return {"0": lambda: at(0), "x": lambda: z * at(-1) if z else mp.mpf(0), "z": lambda: at(0) * mp.log(x) if x != 1 else mp.mpf(0),
            "xx": lambda: z * (z - 1) * at(-2) if z * (z - 1) else mp.mpf(0), "zz": lambda: at(0) * mp.log(x) ** 2 if x != 1 else mp.mpf(0)}[order]()


def logaddexp(x, z, order, kind):
    if plain(x, z) is None:
        return ANY
    x, z = plain(x, z)
    slope = sech2((x - z) / 2) / 4
    return {"0": max(x, z) + mp.log1p(exp(-abs(x - z))), "x": sigmoid(x - z), "z": sigmoid(z - x), "xx": slope, "zz": slope}[order]


def unit(x, z, order, kind):
    if plain(x, z) is None or plain(x, z) == (0, 0):
        return ANY
    x, z = plain(x, z)
    h = mp.hypot(x, z)
    if order != "0" and beyond(x, z, order, kind):
        return ANY
    return {"0": x / h, "x": z * z / h**3, "z": -x * z / h**3, "xx": -3 * x * z * z / h**5,
            "zz": x * (2 * z * z - x * x) / h**5}[order]


def larger(x, z, order, kind):
    """Of the two; at ties derivatives are shared."""
    x, z = [mp.mpf(0) if v == "-0" else v for v in (x, z)]
    if order in ("xx", "zz"):
        return ANY if mp.isnan(x) or mp.isnan(z) else mp.mpf(0)
    if mp.isnan(x) or mp.isnan(z):
        return NAN
    return max(x, z) if order == "0" else mp.mpf(0.5) if x == z else mp.mpf((x > z) == (order == "x"))


def smaller(x, z, order, kind):
    value = larger(*("-0" if v == 0 else -v for v in (mp.mpf(0) if v == "-0" else v for v in (x, z))), order, kind)
    return -value if order == "0" else value


def polygamma(x, n, order, kind):
    """Of orders 1, and a positive argument; no derivative for the order."""
    if plain(x, n) is None or plain(x, n)[0] <= 0 or plain(x, n)[1] != 1:
        return ANY
    shift = {"0": 1, "x": 2, "xx": 3}.get(order)
    return mp.polygamma(shift, plain(x, n)[0]) if shift else mp.mpf(0)


def gap(x, z, order, kind):
    """Their difference, and 0 of two equal infinities; its derivatives are those of the difference everywhere."""
    x, z = [mp.mpf(0) if v == "-0" else v for v in (x, z)]
    if order != "0":
        return mp.mpf({"x": 1, "z": -1}.get(order, 0))
    return mp.mpf(0) if x == z else x - z


BINARY = {"gap": gap, "unit": unit, "maximum": larger, "minimum": smaller, "polygamma": polygamma, "divide": divide, "atan2": atan2, "hypot": hypot, "pow": pow, "logaddexp": logaddexp}


def main():
    for kind in TYPES:
        xs = points(kind)
        print("points", kind, *("-0" if x == "-0" else text(x, "f64") for x in xs))
        for name, row in UNARY.items():
            for order in range(3):
                print(name, kind, order, *(text(row.value(x, order), kind) for x in xs))
        xs = pairs(kind)
        print("pairs", kind, *("-0" if x == "-0" else text(x, "f64") for x in xs))
        for name, f in BINARY.items():
            for order in ("0", "x", "z", "xx", "zz"):
                print(name, kind, order, *(text(f(x, z, order, kind), kind) for x in xs for z in xs))


main()
