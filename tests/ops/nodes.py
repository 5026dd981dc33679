"""Random ONNX nodes for property tests, as hypothesis strategies; all within what ONNX Runtime accepts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .single_node import SingleNode

TRANSFORMATIONS = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "tf_half_pixel_for_nn",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)

Draw = Callable[[st.SearchStrategy[Any]], Any]

ELEMENTS = ("float32", "float64", "int8", "uint8", "int32", "int64", "bool")


def array(draw: Draw, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """Seeded random elements; all values of a shape are as likely, and shrinking leaves them alone."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(kind)
    return rng.integers(0, 2 if kind.kind == "b" else 100, shape).astype(kind)


def shapes(least: int = 1, most: int = 4, extent: int = 6) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(1, extent), min_size=least, max_size=most).map(tuple)


def _window(draw: Draw, rank: int, *, kernel: int, pads: bool = True) -> dict[str, list[int]]:
    """Kernel, strides and dilations, and pads smaller than the kernel."""
    size = [draw(st.integers(1, kernel)) for _ in range(rank)]
    result = {
        "kernel_shape": size,
        "strides": [draw(st.integers(1, 3)) for _ in range(rank)],
        "dilations": [draw(st.integers(1, 2)) for _ in range(rank)],
    }
    if pads:
        result["pads"] = [draw(st.integers(0, k - 1)) for k in size * 2]
    return result


def _reach(window: dict[str, list[int]]) -> list[int]:
    return [(k - 1) * d + 1 for k, d in zip(window["kernel_shape"], window["dilations"], strict=True)]


@st.composite
def convolutions(draw: Draw) -> SingleNode:
    rank, group = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))
    attributes: dict[str, Any] = {**_window(draw, rank, kernel=3), "group": group}
    auto_pad = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto_pad != "NOTSET":
        del attributes["pads"]
        attributes["auto_pad"] = auto_pad
        if auto_pad != "VALID":
            attributes["dilations"] = [1] * rank
    spatial = [r + draw(st.integers(0, 6)) for r in _reach(attributes)]
    depth, filters = draw(st.integers(1, 3)), group * draw(st.integers(1, 3))
    x = array(draw, (draw(st.integers(1, 2)), depth * group, *spatial))
    weights = array(draw, (filters, depth, *attributes["kernel_shape"]))
    bias = array(draw, (filters,)) if draw(st.booleans()) else None
    return SingleNode("Conv", attributes, [x, weights, bias], frozenset({1, 2} if bias is not None else {1}))


@st.composite
def transposed_convolutions(draw: Draw) -> SingleNode:
    rank, group = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2]))
    attributes: dict[str, Any] = {**_window(draw, rank, kernel=3, pads=False), "group": group}
    spatial = [draw(st.integers(2, 5 if rank < 3 else 3)) for _ in range(rank)]
    strides = attributes["strides"]
    form = draw(st.sampled_from(["pads", "pads", "shape", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    full = [(n - 1) * s + r for n, s, r in zip(spatial, strides, _reach(attributes), strict=True)]
    if form == "pads":
        attributes["pads"] = [draw(st.integers(0, (f - 1) // 2)) for f in full * 2]
        attributes["output_padding"] = [draw(st.integers(0, s - 1)) for s in strides]
    elif form == "shape":
        attributes["output_shape"] = [draw(st.integers(max(1, f - 2), f)) for f in full]
        attributes["auto_pad"] = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER"]))
    else:
        attributes["auto_pad"] = form
    own, depth = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    x = array(draw, (draw(st.integers(1, 2)), depth * group, *spatial))
    weights = array(draw, (depth * group, own, *attributes["kernel_shape"]))
    bias = array(draw, (own * group,)) if draw(st.booleans()) else None
    return SingleNode("ConvTranspose", attributes, [x, weights, bias], frozenset({1}))


@st.composite
def pools(draw: Draw, op_type: str) -> SingleNode:
    rank = draw(st.integers(1, 3))
    attributes: dict[str, Any] = {**_window(draw, rank, kernel=4), "ceil_mode": draw(st.integers(0, 1))}
    auto_pad = draw(st.sampled_from(["NOTSET"] * 3 + ["SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto_pad != "NOTSET":
        del attributes["pads"]
        attributes["auto_pad"] = auto_pad
        if auto_pad != "VALID":
            attributes["dilations"] = [1] * rank
    if auto_pad.startswith("SAME"):
        attributes["strides"] = [
            min(s, k) for s, k in zip(attributes["strides"], attributes["kernel_shape"], strict=True)
        ]
    spatial = [r + draw(st.integers(0, 6)) for r in _reach(attributes)]
    dtype, outputs = "float32", 1
    if op_type == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    elif op_type == "LpPool":
        attributes["p"] = draw(st.sampled_from([1, 2, 2, 3, 5]))
    else:
        dtype = draw(st.sampled_from(["float32", "float32", "float64", "int8", "uint8"]))
        attributes["storage_order"] = draw(st.integers(0, 1))
        outputs = draw(st.integers(1, 2))
    x = array(draw, (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *spatial), dtype)
    return SingleNode(op_type, attributes, [x], outputs=outputs)


@st.composite
def matrix_products(draw: Draw) -> SingleNode:
    depth, rows, columns = (draw(st.integers(1, 6)) for _ in range(3))
    batch = draw(shapes(0, 2, 3))

    def stack() -> tuple[int, ...]:
        kept = batch[draw(st.integers(0, len(batch))) :]
        return tuple(draw(st.sampled_from([1, n])) for n in kept)

    left = draw(st.sampled_from([(depth,), (*stack(), rows, depth), (*stack(), rows, depth)]))
    right = draw(st.sampled_from([(depth,), (*stack(), depth, columns), (*stack(), depth, columns)]))
    dtype = draw(st.sampled_from(["float32", "float32", "float64", "int32", "int64", "uint32", "uint64"]))
    return SingleNode("MatMul", {}, [array(draw, left, dtype), array(draw, right, dtype)])


@st.composite
def gemms(draw: Draw) -> SingleNode:
    rows, depth, columns = (draw(st.integers(1, 7)) for _ in range(3))
    left, right = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    attributes = {"transA": left, "transB": right}
    attributes |= {k: draw(st.sampled_from([0.5, 1.0, 2.0])) for k in draw(st.sets(st.sampled_from(["alpha", "beta"])))}
    c = draw(st.sampled_from([None, (), (columns,), (1, columns), (rows, 1), (rows, columns)]))
    a = array(draw, (depth, rows) if left else (rows, depth))
    b = array(draw, (columns, depth) if right else (depth, columns))
    return SingleNode("Gemm", attributes, [a, b, None if c is None else array(draw, c)])


@st.composite
def slices(draw: Draw) -> SingleNode:
    x = array(draw, draw(shapes()), draw(st.sampled_from(ELEMENTS)))
    axes = draw(st.lists(st.integers(0, x.ndim - 1), unique=True, min_size=1, max_size=x.ndim))
    rows = []
    for axis in axes:
        bound = st.one_of(
            st.integers(-x.shape[axis] - 2, x.shape[axis] + 2), st.sampled_from([2**63 - 1, 2**31 - 1, -(2**63) + 1])
        )
        signed = axis - draw(st.sampled_from([0, x.ndim]))
        rows.append((draw(bound), draw(bound), signed, draw(st.sampled_from([1, 1, 2, 3, -1, -2]))))
    columns = [np.array(c, np.int64) for c in zip(*rows, strict=True)]
    return SingleNode("Slice", {}, [x, *columns], frozenset({1, 2, 3, 4}))


@st.composite
def splits(draw: Draw) -> SingleNode:
    x = array(draw, draw(shapes()), draw(st.sampled_from(ELEMENTS)))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    n = x.shape[axis]
    if draw(st.booleans()):
        count = draw(st.integers(1, n).filter(lambda c: (c - 1) * -(-n // c) < n))
        return SingleNode("Split", {"axis": axis, "num_outputs": count}, [x], outputs=count)
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=3)))
    lengths = np.diff([0, *cuts, n])
    return SingleNode("Split", {"axis": axis}, [x, lengths], frozenset({1}), outputs=len(lengths))


@st.composite
def pads(draw: Draw) -> SingleNode:
    mode = draw(st.sampled_from(["constant", "reflect", "edge", "wrap"]))
    x = array(draw, draw(shapes(1, 4, 5)), draw(st.sampled_from(["float32", "float64", "int32", "int64", "uint8"])))
    begin, end = [], []
    for n in x.shape:
        cut = [draw(st.integers(0, (n - 1) // 2)) * draw(st.booleans()) for _ in range(2)]
        kept = n - sum(cut)
        most = {"constant": 4, "edge": 4, "reflect": kept - 1, "wrap": kept}[mode]
        added = [0 if c else draw(st.integers(0, most)) for c in cut]
        begin.append(added[0] - cut[0])
        end.append(added[1] - cut[1])
    axes = draw(st.permutations(range(x.ndim)))
    operands: list[np.ndarray | None] = [x, np.array([*(begin[a] for a in axes), *(end[a] for a in axes)])]
    operands.append(array(draw, (), str(x.dtype)) if mode == "constant" and draw(st.booleans()) else None)
    operands.append(np.array(axes))
    return SingleNode(
        "Pad", {"mode": mode}, operands, frozenset(i for i, o in enumerate(operands) if i and o is not None)
    )


@st.composite
def reshapes(draw: Draw) -> SingleNode:
    x = array(draw, draw(shapes()), draw(st.sampled_from(ELEMENTS)))
    op_type = draw(st.sampled_from(["Reshape", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"]))
    if op_type == "Flatten":
        return SingleNode(op_type, {"axis": draw(st.integers(-x.ndim, x.ndim))}, [x])
    if op_type == "Transpose":
        return SingleNode(op_type, {"perm": draw(st.permutations(range(x.ndim)))}, [x])
    if op_type == "Squeeze":
        ones = [a for a, n in enumerate(x.shape) if n == 1]
        if not ones or draw(st.booleans()):
            return SingleNode(op_type, {}, [x])
        axes = draw(st.lists(st.sampled_from(ones), unique=True, min_size=1))
        return SingleNode(op_type, {}, [x, np.array(axes) - draw(st.sampled_from([0, x.ndim]))], frozenset({1}))
    if op_type == "Unsqueeze":
        count = draw(st.integers(1, 2))
        rank = x.ndim + count
        axes = draw(st.lists(st.integers(0, rank - 1), unique=True, min_size=count, max_size=count))
        return SingleNode(op_type, {}, [x, np.array(axes) - draw(st.sampled_from([0, rank]))], frozenset({1}))
    factors = [f for n in x.shape for f in _factors(n)]
    factors = list(draw(st.permutations(factors)))
    cuts = sorted(draw(st.lists(st.integers(0, len(factors)), max_size=3)))
    bounds = [0, *cuts, len(factors)]
    shape = [int(np.prod(factors[a:b])) for a, b in pairwise(bounds)]
    for a, n in enumerate(shape):
        if a < x.ndim and n == x.shape[a] and draw(st.booleans()):
            shape[a] = 0
    if draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = -1
    return SingleNode("Reshape", {}, [x, np.array(shape)], frozenset({1}))


def _factors(n: int) -> list[int]:
    """Prime factors of a number below 8."""
    return {4: [2, 2], 6: [2, 3]}.get(n, [n] if n > 1 else [])


@st.composite
def resizes(draw: Draw) -> SingleNode:
    mode = draw(st.sampled_from(["nearest", "nearest", "linear", "cubic"]))
    transformation = draw(st.sampled_from(TRANSFORMATIONS))
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": transformation}
    rank = draw(st.sampled_from({"nearest": [1, 2, 3, 4, 5], "linear": [2, 4, 5], "cubic": [2, 4]}[mode]))
    free = range(rank) if mode == "nearest" or rank == 2 else range(2, rank)
    dtype = draw(st.sampled_from(["float32", "int32", "int8", "uint8"])) if mode == "nearest" else "float32"
    x = array(draw, tuple(draw(st.integers(1, 6)) for _ in range(rank)), dtype)
    axes = draw(st.sampled_from([None, list(free)]))
    if mode == "nearest":
        attributes["nearest_mode"] = draw(st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
    if mode == "cubic":
        attributes["cubic_coeff_a"] = draw(st.sampled_from([-0.75, -0.5]))
        attributes["exclude_outside"] = draw(st.integers(0, 1))
    chosen = list(range(rank)) if axes is None else axes
    if axes is not None:
        attributes["axes"] = axes
    roi = scales = sizes = None
    if transformation == "tf_crop_and_resize":
        attributes["extrapolation_value"] = 7.0
        edges = [(draw(st.sampled_from([0.0, 0.1, -0.25])), draw(st.sampled_from([1.0, 0.75, 1.25]))) for _ in chosen]
        edges = [e if a in free else (0.0, 1.0) for a, e in zip(chosen, edges, strict=True)]
        roi = np.array([*(e[0] for e in edges), *(e[1] for e in edges)], np.float32)
    if draw(st.booleans()):
        factor = st.one_of(st.sampled_from([0.5, 1.0, 2.0, 3.0]), st.floats(0.375, 3, width=32))
        values = [max(draw(factor), 1 / x.shape[a]) if a in free else 1.0 for a in chosen]
        scales = np.array(values, np.float32)
        scales = np.where((scales * np.array([x.shape[a] for a in chosen], np.float32)) < 1, np.float32(1), scales)
    else:
        sizes = np.array([draw(st.integers(1, 12)) if a in free else x.shape[a] for a in chosen])
        if axes is not None or mode == "nearest":
            policy = draw(st.sampled_from(["stretch", "stretch", "not_larger", "not_smaller"]))
            ratios = [n / x.shape[a] for n, a in zip(sizes, chosen, strict=True)]
            if all(round(min(ratios) * x.shape[a]) >= 1 for a in chosen):
                attributes["keep_aspect_ratio_policy"] = policy
    operands = [x, roi, scales, sizes]
    constant = frozenset(i for i, o in enumerate(operands) if i and o is not None)
    return SingleNode("Resize", attributes, operands, constant)


@st.composite
def gathers(draw: Draw) -> SingleNode:
    op_type = draw(st.sampled_from(["Gather", "Gather", "GatherElements", "GatherND"]))
    x = array(draw, draw(shapes()), draw(st.sampled_from(ELEMENTS)))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    attributes: dict[str, Any] = {"axis": axis}
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    extent = x.shape[axis]
    if op_type == "GatherND":
        batch = draw(st.integers(0, x.ndim - 1))
        attributes = {"batch_dims": batch}
        depth = draw(st.integers(1, x.ndim - batch))
        lead = (*x.shape[:batch], *draw(shapes(0, 2, 3)))
        columns = [rng.integers(-n, n, lead) for n in x.shape[batch : batch + depth]]
        indices = np.stack(columns, axis=-1)
    elif op_type == "GatherElements":
        limits = [draw(st.integers(1, n)) for n in x.shape]
        limits[axis] = draw(st.integers(1, 5))
        indices = rng.integers(-extent, extent, limits)
    else:
        indices = rng.integers(-extent, extent, draw(shapes(0, 2, 4)))
        if indices.ndim == 1 and draw(st.booleans()):
            indices = np.arange(extent)[:: draw(st.sampled_from([1, 2, -1]))]
        indices = indices.astype(draw(st.sampled_from(["int32", "int64"])))
    constant = frozenset({1}) if draw(st.booleans()) else frozenset()
    return SingleNode(op_type, attributes, [x, indices], constant)


@st.composite
def arrangements(draw: Draw) -> SingleNode:
    """Expand, Tile, DepthToSpace, SpaceToDepth, Trilu, Concat."""
    op_type = draw(st.sampled_from(["Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Trilu", "Concat"]))
    dtype = draw(st.sampled_from(["float32", "float64", "int32", "int64", "uint8"]))
    if op_type in ("DepthToSpace", "SpaceToDepth"):
        b, c, h, w = (draw(st.integers(1, 3)) for _ in range(4))
        shape = (1, c * b * b, h, w) if op_type == "DepthToSpace" else (2, c, h * b, w * b)
        attributes: dict[str, Any] = {"blocksize": b}
        if op_type == "DepthToSpace":
            attributes["mode"] = draw(st.sampled_from(["DCR", "CRD"]))
        return SingleNode(op_type, attributes, [array(draw, shape, "float32")])
    x = array(draw, draw(shapes(2 if op_type == "Trilu" else 1)), dtype)
    if op_type == "Trilu":
        x = x.astype(draw(st.sampled_from(["float32", "float64", "int64"])))
        k = np.array(draw(st.integers(-7, 7)))
        return SingleNode(op_type, {"upper": draw(st.integers(0, 1))}, [x, k], frozenset({1}))
    if op_type == "Tile":
        return SingleNode(op_type, {}, [x, np.array([draw(st.integers(1, 3)) for _ in x.shape])], frozenset({1}))
    if op_type == "Expand":
        target = [*draw(shapes(0, 2, 3)), *(draw(st.sampled_from([1, n] if n > 1 else [1, 4])) for n in x.shape)]
        return SingleNode(op_type, {}, [x, np.array(target)], frozenset({1}))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    others = [array(draw, tuple(np.where(np.arange(x.ndim) == axis % x.ndim, draw(st.integers(1, 3)), x.shape)), dtype)]
    return SingleNode(op_type, {"axis": axis}, [x, *others], draw(st.sampled_from([frozenset(), frozenset({1})])))


NODES: dict[str, st.SearchStrategy[SingleNode]] = {
    "Conv": convolutions(),
    "ConvTranspose": transposed_convolutions(),
    "MaxPool": pools("MaxPool"),
    "AveragePool": pools("AveragePool"),
    "LpPool": pools("LpPool"),
    "MatMul": matrix_products(),
    "Gemm": gemms(),
    "Slice": slices(),
    "Split": splits(),
    "Pad": pads(),
    "Reshape": reshapes(),
    "Resize": resizes(),
    "Gather": gathers(),
    "arrangement": arrangements(),
}
