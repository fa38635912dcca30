"""Sixteen numbers at a time in Numba: a type that LLVM keeps in the vector registers there are.

Numba compiles loops over single numbers and hopes that LLVM makes vectors of them; in a scan it
mostly cannot. So the kernels say what they mean: a `Vector` holds LANES channels, and the functions
below are a few lines of LLVM's language each. LLVM cuts a vector into what the processor has: one
register with AVX-512, two with AVX2, four with NEON or SSE.
"""

import math
import operator

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16
FAST = ("contract", "nsz", "arcp")  # a * b + c may be fused; NaN and infinity keep their meaning

# 2^r for |r| <= 1/2: least largest relative error, 1e-7, with 2^0 exact for decays close to 1
POWERS = (1, 0.693146978, 0.240222421, 0.0555073374, 0.00967151266, 0.00132647269)


class Vector(types.Type):
    """LANES values of one floating point type."""

    def __init__(self, scalar: types.Float):
        self.scalar = scalar
        super().__init__(f"vector({scalar})")


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, kind):
        real = ir.FloatType() if kind.scalar == types.float32 else ir.DoubleType()
        super().__init__(manager, kind, ir.VectorType(real, LANES))


VECTORS = {scalar: Vector(scalar) for scalar in (types.float32, types.float64)}


def _define(symbol, instruction):
    """Let `symbol` (+, -, *, /) work on two vectors."""

    @infer_global(symbol)
    class _Typing(ConcreteTemplate):
        cases = [signature(v, v, v) for v in VECTORS.values()]

    for v in VECTORS.values():

        @lower_builtin(symbol, v, v)
        def _lower(context, builder, sig, args):
            return getattr(builder, instruction)(*args, flags=FAST)


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
_define(operator.truediv, "fdiv")


def _constant(kind, value):
    return ir.Constant(kind, [value] * LANES)


def _order(lanes):
    return ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(lanes))


def _larger(builder, a, b):
    return builder.select(builder.fcmp_ordered(">", b, a), b, a)  # a NaN in a stays


def _library(builder, name, x):
    """LLVM's own function of that name, lane by lane."""
    bits = 32 if x.type.element == ir.FloatType() else 64
    function = ir.FunctionType(x.type, [x.type])
    name = f"{name}.v{LANES}f{bits}"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), [x])


def _polynomial(builder, x, coefficients):
    """Sum over k of coefficients[k] x^k, by Estrin's scheme: pairs, pairs of pairs, ...

    One product more than Horner's rule, but half as long a chain of steps that wait for each other.
    """
    terms = [_constant(x.type, c) for c in coefficients]
    while len(terms) > 1:
        pairs = [
            builder.fadd(low, builder.fmul(high, x, flags=FAST), flags=FAST)
            for low, high in zip(terms[::2], terms[1::2], strict=False)
        ]
        terms = pairs + terms[2 * len(pairs) :]
        x = builder.fmul(x, x, flags=FAST)
    return terms[0]


def _exp2(builder, x):
    """2^x = 2^k 2^r with k whole and |r| <= 1/2; x is held where 2^x is a normal number."""
    kind, single = x.type, x.type.element == ir.FloatType()
    most, bits, digits = (126, 32, 23) if single else (1022, 64, 52)
    series = POWERS if single else [math.log(2) ** k / math.factorial(k) for k in range(14)]
    whole = ir.VectorType(ir.IntType(bits), LANES)
    x = _larger(builder, x, _constant(kind, -most))
    top = _constant(kind, most + 1)
    x = builder.select(builder.fcmp_ordered("<", top, x), top, x)
    k = _library(builder, "llvm.rint", x)
    power = builder.bitcast(_polynomial(builder, builder.fsub(x, k), series), whole)
    # adding k to the exponent's digits of a number multiplies it by 2^k
    k = builder.shl(builder.fptosi(k, whole), _constant(whole, digits))
    return builder.bitcast(builder.add(power, k), kind)


def _place(context, builder, kind, array, index, what=None):
    """Address of array[index], where `what` (a vector; by default one number) lies."""
    data = context.make_array(kind)(context, builder, array).data
    place = builder.gep(data, [index], source_etype=context.get_value_type(kind.dtype))
    # llvmlite's older pointers know what they point to
    if what is None or place.type.is_opaque:
        return place
    return builder.bitcast(place, what.as_pointer())


@intrinsic
def load(typingctx, array, index):
    """LANES neighbours of a flat array."""

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(sig.return_type)
        place = _place(context, builder, sig.args[0], *args, kind)
        return builder.load(place, align=array.dtype.bitwidth // 8, typ=kind)

    return VECTORS[array.dtype](array, types.intp), codegen


@intrinsic
def store(typingctx, array, index, value):
    """Write LANES neighbours of a flat array."""

    def codegen(context, builder, sig, args):
        place = _place(context, builder, sig.args[0], *args[:2], args[2].type)
        builder.store(args[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def splat(typingctx, array, index):
    """array[index] in every lane."""

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(sig.return_type)
        number = builder.load(_place(context, builder, sig.args[0], *args), typ=kind.element)
        nothing, lane = ir.Constant(kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        first = builder.insert_element(nothing, number, lane)
        return builder.shuffle_vector(first, first, _order([0] * LANES))

    return VECTORS[array.dtype](array, types.intp), codegen


@intrinsic
def total(typingctx, x):
    """Sum of the lanes."""

    def codegen(context, builder, sig, args):
        x, half = args[0], LANES // 2
        while half:  # add the upper half of what is left to the lower
            upper = builder.shuffle_vector(
                x, x, _order([*range(half, 2 * half), *range(half, LANES)])
            )
            x, half = builder.fadd(x, upper), half // 2
        return builder.extract_element(x, ir.Constant(ir.IntType(32), 0))

    return x.scalar(x), codegen


def _function(formula):
    """A function of one vector from a formula in LLVM's instructions."""

    def typed(typingctx, x):
        def codegen(context, builder, sig, args):
            return formula(builder, args[0])

        return x(x), codegen

    typed.__name__, typed.__doc__ = formula.__name__, formula.__doc__
    return intrinsic(typed)


@_function
def exp2(builder, x):
    """2^x."""
    return _exp2(builder, x)


@_function
def base2(builder, x):
    """x / log(2), so that exp(x) = exp2(base2(x))."""
    return builder.fmul(x, _constant(x.type, 1 / math.log(2)), flags=FAST)


@_function
def sigmoid(builder, x):
    """1 / (1 + exp(-x))."""
    one = _constant(x.type, 1)
    power = _exp2(builder, builder.fmul(x, _constant(x.type, -1 / math.log(2))))
    return builder.fdiv(one, builder.fadd(one, power))


@_function
def softplus(builder, x):
    """log(1 + exp(x)) = max(x, 0) + log(1 + e), e = exp(-|x|), that is 2 atanh(e / (2 + e))."""
    absolute = _library(builder, "llvm.fabs", x)
    e = _exp2(builder, builder.fmul(absolute, _constant(x.type, -1 / math.log(2))))
    s = builder.fdiv(e, builder.fadd(e, _constant(x.type, 2)))
    terms = 8 if x.type.element == ir.FloatType() else 17  # of a series in s^2 <= 1/9
    series = [2 / (2 * k + 1) for k in range(terms)]
    log = builder.fmul(s, _polynomial(builder, builder.fmul(s, s), series))
    return builder.fadd(_larger(builder, x, _constant(x.type, 0)), log)


@intrinsic
def larger(typingctx, a, b):
    """The larger one, lane by lane."""
    return a(a, a), lambda context, builder, sig, args: _larger(builder, *args)


@_function
def zeros(builder, x):
    """0 in every lane."""
    return _constant(x.type, 0)


@_function
def ones(builder, x):
    """1 in every lane."""
    return _constant(x.type, 1)


@intrinsic
def transpose(typingctx, source, start, row, target, place, target_row):
    """target[place + target_row t + d] = source[start + row d + t] for t and d below LANES."""

    def codegen(context, builder, sig, args):
        source, start, row, target, place, target_row = args
        kind = context.get_value_type(VECTORS[sig.args[0].dtype])
        align = sig.args[0].dtype.bitwidth // 8

        def address(array, which, first, step, i):
            index = builder.add(first, builder.mul(step, ir.Constant(step.type, i)))
            return _place(context, builder, sig.args[which], array, index, kind)

        places = [address(source, 0, start, row, d) for d in range(LANES)]
        rows = [builder.load(place, align=align, typ=kind) for place in places]
        span = LANES // 2
        while span:  # in every square of 2 span rows, swap the two blocks off the diagonal
            low = _order(i if not i & span else LANES + i - span for i in range(LANES))
            high = _order(i + span if not i & span else LANES + i for i in range(LANES))
            for d in range(LANES):
                if not d & span:
                    a, b = rows[d], rows[d + span]
                    rows[d] = builder.shuffle_vector(a, b, low)
                    rows[d + span] = builder.shuffle_vector(a, b, high)
            span //= 2
        for t in range(LANES):
            builder.store(rows[t], address(target, 3, place, target_row, t), align=align)
        return context.get_dummy_value()

    i = types.intp
    return types.void(source, i, i, target, i, i), codegen


@intrinsic
def prefetch(typingctx, array, index):
    """Start to bring array[index] and its neighbours into the cache; do not wait for them."""

    def codegen(context, builder, sig, args):
        number = ir.IntType(32)
        place = _place(context, builder, sig.args[0], *args, ir.IntType(8))
        function = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [place.type], function)
        builder.call(function, [place, number(0), number(3), number(1)])  # to read, keep, data
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@njit
def hint(source, strides, b, t0, t, d0):
    """Prefetch a 64th of what `fetch` will ask for at t0, d0; t counts from 0 to 63."""
    start = b * strides[0] + t0 * strides[1] + d0 * strides[2]
    if strides[2] == 1:
        prefetch(source, start + t * strides[1])
    else:
        prefetch(source, start + t % LANES * strides[2] + t // LANES * LANES * strides[1])


@njit
def fetch(source, strides, b, t0, steps, d0, lanes, tile, column, row):
    """tile[t * row + column + d] = source[b, t0 + t, d0 + d] for t < steps and d < lanes.

    Zeros follow up to LANES. source: flat; strides: what a step of b, t and d is worth in it.
    """
    by_t, by_d = strides[1], strides[2]
    start = b * strides[0] + t0 * by_t + d0 * by_d
    t = 0
    if lanes == LANES and by_d == 1:
        while t < steps:
            store(tile, t * row + column, load(source, start + t * by_t))
            t += 1
    if lanes == LANES and by_t == 1:
        while t + LANES <= steps:
            transpose(source, start + t, by_d, tile, t * row + column, row)
            t += LANES
    while t < steps:
        for d in range(lanes):
            tile[t * row + column + d] = source[start + t * by_t + d * by_d]
        for d in range(lanes, LANES):  # what an earlier block left there must not be added up
            tile[t * row + column + d] = 0
        t += 1


@njit
def send(tile, target, strides, b, t0, steps, d0, lanes):
    """target[b, t0 + t, d0 + d] = tile[t * LANES + d], the way back of `fetch`."""
    by_t, by_d = strides[1], strides[2]
    start = b * strides[0] + t0 * by_t + d0 * by_d
    t = 0
    if lanes == LANES and by_d == 1:
        while t < steps:
            store(target, start + t * by_t, load(tile, t * LANES))
            t += 1
    if lanes == LANES and by_t == 1:
        while t + LANES <= steps:
            transpose(tile, t * LANES, LANES, target, start + t, by_d)
            t += LANES
    while t < steps:
        for d in range(lanes):
            target[start + t * by_t + d * by_d] = tile[t * LANES + d]
        t += 1
