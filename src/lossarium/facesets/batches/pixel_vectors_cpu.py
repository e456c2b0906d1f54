"""Pixels of four channels as SIMD vectors: the compiler does not vectorise over channels by itself."""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

# The fast-math flags of `compiling`.
_REORDERING = ("reassoc", "contract", "nsz", "arcp")


def _mixed(
    _typing: Any,
    values: Any,
    first: Any,  # noqa: ARG001 - the compiler hands over the type of each argument by its name
    stride: Any,  # noqa: ARG001
    columns: Any,
    rows: Any,
    out: Any,
    place: Any,  # noqa: ARG001
) -> Any:
    """The types of `mix_pixels`, and the function that emits its instructions."""
    taps = columns.count

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, start, step, across, down, target, end = arguments
        whole = ir.IntType(32)
        four = ir.VectorType(ir.FloatType(), 4)
        nothing, alike = ir.Constant(four, ir.Undefined), ir.Constant(ir.VectorType(whole, 4), [0] * 4)

        def begin_of(array_type: Any, array: Any) -> Any:
            return context.make_array(array_type)(context, builder, array).data

        def vector_at(begin: Any, index: Any) -> Any:
            return builder.bitcast(builder.gep(begin, [index]), four.as_pointer())

        def four_of(number: Any) -> Any:
            single = builder.insert_element(nothing, number, ir.Constant(whole, 0))
            return builder.shuffle_vector(single, nothing, alike)

        def added(total: Any, share: Any, vector: Any) -> Any:
            part = builder.fmul(share, vector, flags=_REORDERING)
            return part if total is None else builder.fadd(total, part, flags=_REORDERING)

        begin = begin_of(signature.args[0], source)
        shares = [four_of(builder.extract_value(across, k)) for k in range(taps)]
        total = None
        for row in range(taps):
            line = None
            for column in range(taps):
                index = builder.add(start, ir.Constant(start.type, 4 * column))
                # Float32 arrays guarantee no greater alignment.
                line = added(line, shares[column], builder.load(vector_at(begin, index), align=4))
            total = added(total, four_of(builder.extract_value(down, row)), line)
            start = builder.add(start, step)
        builder.store(total, vector_at(begin_of(signature.args[5], target), end), align=4)
        return context.get_dummy_value()

    signature = types.void(values, types.intp, types.intp, columns, rows, out, types.intp)
    return signature, write


mix_pixels: Any = intrinsic(_mixed)
"""(values, first, stride, columns, rows, out, place): mix taps x taps pixels into the four values at `place`.

`values` and `out` are flat, contiguous float32 arrays. The first pixel begins at `first`, the one right of
it four values on, the one below it `stride` on. `columns` and `rows` are tuples of float32; a pixel's share
is the product of its column's and its row's.
"""
