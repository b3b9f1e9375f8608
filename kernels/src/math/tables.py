"""Prints tables.rs: polynomials of the elementary functions, interpolated at Chebyshev's points in 60 digits (needs mpmath)."""

import mpmath as mp
import struct

mp.mp.dps = 60


def interpolant(f, low, high, degree):
    """Coefficients, lowest first, of the polynomial that meets f at Chebyshev's points of [low, high]."""
    points = [mp.mpf(low + high) / 2 + mp.mpf(high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * degree + 2))
              for i in range(degree + 1)]
    powers = mp.matrix([[x**j for j in range(degree + 1)] for x in points])
    return list(mp.lu_solve(powers, mp.matrix([f(x) for x in points])))


def rounded(x, bits):
    """x with so many bits."""
    mantissa, exponent = mp.frexp(x)
    return mp.ldexp(mp.nint(mp.ldexp(mantissa, bits)), exponent - bits)


def expm1(r):  # (e^r - 1 - r) / r^2
    return mp.nsum(lambda j: r**j / mp.factorial(j + 2), [0, 40]) if abs(r) < 1e-3 else (mp.exp(r) - 1 - r) / r**2


def log(z):  # (2 artanh s / s - 2) / z, z = s^2
    return mp.fsum(2 * z**j / (2 * j + 3) for j in range(60))


def erf(z):  # erf(x) / x - 1, z = x^2
    return 2 / mp.sqrt(mp.pi) * mp.fsum((-1) ** j * z**j / (mp.factorial(j) * (2 * j + 1)) for j in range(80)) - 1


def tail(t):  # (1 + 2a) exp(a^2) erfc(a), a = 3 (1 + t) / (1 - t)
    a = 3 * (1 + t) / (1 - t)
    return (1 + 2 * a) * mp.exp(a * a) * mp.erfc(a)


def odd(f):  # (f(x) / x - 1) / z, z = x^2
    return lambda z: (f(mp.sqrt(z)) / mp.sqrt(z) - 1) / z


def long_log(z):  # (2 artanh s / s - 2 - 2z/3) / z^2, z = s^2
    return mp.fsum(2 * z**j / (2 * j + 5) for j in range(60))


def sin_pi(z):  # sin(pi x) / x, z = x^2
    return mp.sin(mp.pi * mp.sqrt(z)) / mp.sqrt(z)


def stirling(w):  # (ln Gamma(x) - (x - 1/2) ln x + x - ln(2 pi) / 2) x, w = 1 / x^2
    x = 1 / mp.sqrt(w)
    return (mp.loggamma(x) - (x - 0.5) * mp.log(x) + x - mp.log(2 * mp.pi) / 2) * x


def digamma_tail(w):  # (ln x - 1 / (2x) - psi(x)) x^2, w = 1 / x^2
    x = 1 / mp.sqrt(w)
    return (mp.log(x) - 0.5 / x - mp.digamma(x)) / w


def gamma(e):  # ln Gamma(2 + e) / e
    return mp.loggamma(2 + e) / e if e else 1 - mp.euler


ROOT = mp.findroot(mp.digamma, 1.46)


def digamma(t):  # psi(x) / (x - ROOT), x = t + 1.5
    return mp.digamma(t + 1.5) / (t + 1.5 - ROOT)


HALF = mp.log(2) / 2 * mp.mpf("1.001")
TALL = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)


def table(kind, name, of, low, high, degree, number):
    lines = "".join(f"        {number(c)},\n" for c in interpolant(of, low, high, degree))
    return f"    pub const {name}: &[{kind}] = &[\n{lines}    ];\n"


def pair(name, value):
    high = float(value)
    return f"    pub const {name}: [f64; 2] = [{high!r}, {float(value - high)!r}];\n"


def text(kind, number, high_bits, degrees):
    log2 = mp.log(2)
    high = rounded(log2, high_bits)
    last = {"f32": 11, "f64": 28}[kind]
    to = lambda a: mp.mpf(a - 3) / (a + 3)
    out = f"pub mod {kind} {{\n"
    out += table(kind, "EXP", expm1, -HALF, HALF, degrees[0], number)
    out += table(kind, "LOG", log, 0, TALL**2 * mp.mpf("1.001"), degrees[1], number)
    out += table(kind, "ERF", erf, 0, 1, degrees[2], number)
    out += table(kind, "ERFC", tail, to(mp.mpf("0.5")), to(last), degrees[3], number)
    out += f"    pub const LN_2: [{kind}; 2] = [{number(high)}, {number(log2 - high)}];\n"
    return out


def f64_only():
    """What the functions that are written for f64 alone need."""
    out = table("f64", "LONG_LOG", long_log, 0, TALL**2 * mp.mpf("1.001"), 8, f64)
    out += table("f64", "CBRT", mp.cbrt, mp.sqrt(0.5) * mp.mpf("0.999"), mp.sqrt(2) * mp.mpf("1.001"), 3, f64)
    out += table("f64", "SINH", odd(mp.sinh), 0, 1, 7, f64)
    out += table("f64", "ATAN", odd(mp.atan), 0, (mp.sqrt(2) - 1) ** 2 * mp.mpf("1.001"), 12, f64)
    out += table("f64", "ASIN", odd(mp.asin), 0, mp.mpf("0.25"), 14, f64)
    out += table("f64", "SIN_PI", sin_pi, 0, mp.mpf("0.25"), 9, f64)
    out += table("f64", "LN_GAMMA", gamma, -mp.mpf("0.5"), mp.mpf("0.5"), 19, f64)
    out += table("f64", "STIRLING", stirling, 0, mp.mpf(1) / 64, 7, f64)
    out += table("f64", "DIGAMMA", digamma, -mp.mpf("0.5"), mp.mpf("0.5"), 22, f64)
    out += table("f64", "DIGAMMA_TAIL", digamma_tail, 0, mp.mpf(1) / 64, 8, f64)
    out += pair("DIGAMMA_ROOT", ROOT)
    out += pair("PI", mp.pi)
    out += pair("LN_2_PAIR", mp.log(2))
    out += pair("LOG2_E", 1 / mp.log(2))
    out += pair("LOG10_E", 1 / mp.log(10))
    out += pair("LN_SQRT_2_PI", mp.log(2 * mp.pi) / 2)
    return out


def f64(x):
    return repr(float(x))


def f32(x):
    """The shortest decimal that reads as the nearest number."""
    near = lambda x: struct.unpack("f", struct.pack("f", float(x)))[0]
    return next(s for s in (repr(float(mp.nstr(x, d))) for d in range(1, 12)) if near(s) == near(x))


print("//! Polynomials of the elementary functions, lowest coefficient first; written by `tables.py`.\n")
print(text("f32", f32, 16, [5, 3, 6, 9]) + "}\n")
print(text("f64", f64, 41, [9, 6, 11, 21]) + f64_only() + "}")
