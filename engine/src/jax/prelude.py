import jax
import jax.numpy as jnp
from jax import lax

jax.config.update("jax_enable_x64", True)

def ruled(value, rule):
    """A function with a derivative rule of its own, of its arguments and their tangents."""
    f = jax.custom_jvp(value)
    f.defjvp(lambda args, tangents: (f(*args), rule(*args, *tangents)))
    return f

sqrt = jnp.sqrt

rsqrt = lax.rsqrt

exp = jnp.exp

exp_m1 = jnp.expm1

ln = jnp.log

exp2 = jnp.exp2

log2 = jnp.log2

log10 = jnp.log10

ln_1p = jnp.log1p

sin = jnp.sin

cos = jnp.cos

tan = jnp.tan

asin = jnp.arcsin

acos = jnp.arccos

atan = jnp.arctan

sinh = jnp.sinh

cosh = jnp.cosh

tanh = jnp.tanh

asinh = jnp.arcsinh

acosh = jnp.arccosh

atanh = jnp.arctanh

sigmoid = jax.nn.sigmoid

softplus = jax.nn.softplus

softsign = jax.nn.soft_sign

erf = jax.scipy.special.erf

erfc = jax.scipy.special.erfc

def gaussian(x):
    return jnp.exp(-x * x)

divide = ruled(jnp.divide, lambda x, y, tx, ty: divide(tx, y) - divide(divide(x, y), y) * ty)  # no divisor is squared: squares leave the range first

def digamma(x):
    """At 0 the infinity beside it, as SciPy's; JAX has a NaN."""
    return jnp.where(x == 0, jnp.copysign(jnp.inf, -x), jax.scipy.special.digamma(jnp.where(x == 0, 1.0, x)))

ln_gamma = ruled(jax.scipy.special.gammaln, lambda x, t: digamma(x) * t)

def polygamma(x, n):
    return jax.scipy.special.polygamma(lax.stop_gradient(jnp.round(n)).astype(int), x)

cbrt = jnp.cbrt

round = jnp.round

floor = jnp.floor

ceil = jnp.ceil

trunc = jnp.trunc

pow = jnp.power

hypot = ruled(jnp.hypot, lambda x, z, tx, tz: unit(x, z) * tx + unit(z, x) * tz)  # JAX's is of maxima, whose ties spoil second derivatives

def unit(x, z):
    h = hypot(x, z)
    return jnp.where(h == 0, 0.0, divide(x, jnp.where(h == 0, 1.0, h)))

def at_length(x, z):
    h = hypot(x, z)
    return jnp.where(h == 0, 1.0, h)

atan2 = ruled(jnp.arctan2, lambda x, z, tx, tz: divide(unit(z, x), at_length(x, z)) * tx - divide(unit(x, z), at_length(x, z)) * tz)  # not by x² + z², which underflows

logaddexp = jnp.logaddexp

maximum = jnp.maximum

minimum = jnp.minimum

relu = jax.nn.relu

def inverse_cosh2(x):
    e = jnp.exp(-2 * jnp.abs(x))
    return 4 * e / (1 + e) ** 2

sech2 = ruled(lambda x: inverse_cosh2(x), lambda x, t: -2 * sech2(x) * jnp.tanh(x) * t)  # of |x| above, which has a kink

ndtr = jax.scipy.special.ndtr

normal_pdf = jax.scipy.stats.norm.pdf

def gelu(x):
    return jax.nn.gelu(x, approximate=False)

silu = jax.nn.silu

def min0(x):
    return jnp.where(x > 0, 0.0, x)

def step(x):
    return jnp.heaviside(lax.stop_gradient(x), 0.0)

abs = jnp.abs

sign = jnp.sign

gap = jax.custom_jvp(lambda x, z: jnp.where(x == z, 0.0, x - z))
gap.defjvp(lambda args, tangents: (gap(*args), tangents[0] - tangents[1]))

def spread(x, axes, shape):
    """Repeats x along new axes."""
    return jnp.broadcast_to(jnp.expand_dims(x, axes), shape)

def patches(x, windows, pad):
    """Sliding windows (axis, size, stride, dilation, before, after); the offsets within them are the last axes."""
    for axis, size, stride, dilation, before, after in windows:
        widths = [(before, after) if a == axis else (0, 0) for a in range(x.ndim)]
        x = jnp.pad(x, widths, constant_values=pad)
        places = (x.shape[axis] - (size - 1) * dilation - 1) // stride + 1
        index = stride * jnp.arange(places)[:, None] + dilation * jnp.arange(size)
        x = jnp.moveaxis(jnp.take(x, index, axis=axis), axis + 1, -1)
    return x

def fold(y, windows, shape):
    """Adds windows back to where they were taken: the transpose of patches."""
    take = lambda x: patches(x, windows, 0.0)
    return jax.linear_transpose(take, jax.ShapeDtypeStruct(shape, y.dtype))(y)[0]

def along(x, names, order):
    """The axes of x, by name, in an order that may name others."""
    ours = sorted(names, key=lambda n: order.index(n) if n in order else -1)
    x = jnp.transpose(x, [names.index(n) for n in ours])
    sizes = dict(zip(ours, x.shape))
    return x.reshape([sizes.get(n, 1) for n in order])

def places(index, at, table, shape, order):
    """Where in a table, whose axis -1 the index counts, by named axes."""
    one = lambda n, size: along(index, at, order) if n == -1 else along(jnp.arange(size), [n], order)
    return tuple(one(n, size) for n, size in zip(table, shape))

def gather(x, index, table, at, order):
    """Elements of a table by an index along one of its axes."""
    return x[places(index, at, table, x.shape, order)]

def scatter_add(x, index, values, at, table, shape, order):
    """Elements added to a table of zeros where an index says: the transpose of gather."""
    return jnp.zeros(shape).at[places(index, at, table, shape, order)].add(along(x, values, order))

def first(x, axis):
    """For every index along an axis, the first position that has the same."""
    x = jnp.moveaxis(x, axis, -1)
    return jnp.moveaxis(jnp.argmax(x[..., :, None] == x[..., None, :], axis=-1), -1, axis)
