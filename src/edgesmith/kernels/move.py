"""Strided copies, each in the form that suits its strides."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.elementwise import index_type
from edgesmith.ops import Array
from edgesmith.target import Target

__all__ = ["Move", "Moves"]

MOST_INTERLEAVED = 8
MEMCPY_BYTES = 512
PIECE_BYTES = 16 * 1024
NS_PER_BYTE = {"run": 0.011, "interleave": 0.028, "deinterleave": 0.028, "tile": 0.024, "elements": 0.12}
NS_PER_RUN = 2.0
"""Measured, data in the second- and third-level cache."""


class Move:
    """A copy between views of equal shape that do not overlap.

    Attributes:
        form: ``run``: both sides contiguous along one axis; ``interleave``: few contiguous sources become one
            (channel shuffle, NCHW with few channels to NHWC); ``deinterleave``: the reverse; ``tile``: square tiles
            transposed in registers; ``elements``: one by one.
        outer: extents of the loops around the form, outermost first.
    """

    def __init__(self, source: Array, destination: Array, target: Target) -> None:
        self.source, self.destination = _merged(source, destination)
        self._lanes = target.lanes
        shape = self.destination.view.shape
        from_, to = self.source.view.strides, self.destination.view.strides
        vectors = bool(target.isa) and source.view.dtype is DType.F32
        self._outer = list(self.destination.view.order())
        self._inner = self._outer[-1]
        self._contiguous = next((a for a in self._outer if from_[a] == 1 and shape[a] > 1), None)
        self.form = "elements"
        if from_[self._inner] == to[self._inner] == 1:
            self.form = "run"
        elif vectors and to[self._inner] == 1 and self._contiguous is not None:
            if shape[self._inner] <= MOST_INTERLEAVED and to[self._contiguous] == shape[self._inner]:
                self.form = "interleave"
            elif shape[self._contiguous] <= MOST_INTERLEAVED and from_[self._inner] == shape[self._contiguous]:
                self.form = "deinterleave"
            elif min(shape[self._inner], shape[self._contiguous]) >= 3:
                self.form = "tile"
        self._vectors = vectors
        inner = {"run": [self._inner], "elements": []}.get(self.form, [self._inner, self._contiguous])
        self._outer = [a for a in self._outer if a not in inner]
        self.outer = tuple(shape[a] for a in self._outer)

    @property
    def nbytes(self) -> int:
        return self.destination.view.size * self.destination.view.dtype.itemsize

    @property
    def nanoseconds(self) -> float:
        run = self.destination.view.shape[self._inner] if self.form == "run" else 16
        rows = self.destination.view.size / max(run, 1)
        return self.nbytes * NS_PER_BYTE[self.form] + rows * (NS_PER_RUN if self.form == "run" else 0.0)

    @property
    def extent(self) -> int:
        """Length of the axis that pieces divide when there is no outer one."""
        return self.destination.view.shape[self._split]

    @property
    def grain(self) -> int:
        """Pieces divide that axis at multiples of it."""
        return self._lanes

    @property
    def _split(self) -> int:
        """The axis that vectors run along, or tiles follow one another."""
        return self._inner if self.form in ("run", "deinterleave", "elements") else self._other

    @property
    def _other(self) -> int:
        assert self._contiguous is not None
        return self._contiguous

    def write(self, w: Writer, outer: Sequence[str], first: str = "0", last: str = "") -> None:
        """Write the inner part.

        Args:
            outer: C texts of the indices of the loops around it.
            first, last: its range along the axis of length ``extent`` (default: all).
        """
        index = [f"i{a}" for a in range(len(self.destination.view.shape))]
        for axis, name in zip(self._outer, outer, strict=True):
            index[axis] = name
        getattr(self, f"_{self.form}")(w, index, first, last or str(self.extent))

    def _at(
        self, index: Sequence[str], axis: int, position: str, other: int | None = None, second: str = "0"
    ) -> tuple[str, str]:
        """C texts of the addresses of source and destination at a position along one or two axes."""
        place = list(index)
        place[axis] = position
        if other is not None:
            place[other] = second
        return f"&{self.source.at(*place)}", f"&{self.destination.at(*place)}"

    def _elements(self, w: Writer, index: list[str], first: str, last: str) -> None:
        w.line(f"{self.destination.at(*index)} = {self.source.at(*index)};")

    def _run(self, w: Writer, index: list[str], first: str, last: str) -> None:
        whole = first == "0" and last.isdigit()
        itemsize, lanes = self.destination.view.dtype.itemsize, self._lanes
        nbytes = self.destination.view.shape[self._inner] * itemsize
        if not self._vectors or nbytes >= MEMCPY_BYTES or nbytes <= 4 * itemsize:
            source, destination = self._at(index, self._inner, first)
            size = str(int(last) * itemsize) if whole else f"(size_t)({last} - {first}) * {itemsize}"
            w.line(f"memcpy({destination}, {source}, {size});")
            return
        count = int(last) if whole else None
        if count is not None and count < lanes:
            source, destination = self._at(index, self._inner, "0")
            w.line(f"memcpy({destination}, {source}, {nbytes});")
            return
        source, destination = self._at(index, self._inner, "k")
        w.line(f"int32_t k = {first};")
        with w.block(f"for (; k + {lanes} <= {last}; k += {lanes})"):
            w.line(f"es_store({destination}, es_load({source}));")
        if count is not None and count % lanes:
            # Twice over some elements: stores of whole vectors are faster than of parts.
            source, destination = self._at(index, self._inner, str(count - lanes))
            w.line(f"es_store({destination}, es_load({source}));")
        elif count is None and self.extent % lanes:
            with w.block(f"if (k < {last})"):
                w.line(f"es_store_n({destination}, es_load_n({source}, {last} - k), {last} - k);")

    def _interleave(self, w: Writer, index: list[str], first: str, last: str) -> None:
        """``count`` contiguous sources into one destination, a vector of each at a time."""
        count, lanes = self.destination.view.shape[self._inner], self._lanes
        w.line(f"int32_t k = {first};")
        with w.block(f"for (; k + {lanes} <= {last}; k += {lanes})"):
            for r in range(count):
                source, _ = self._at(index, self._other, "k", self._inner, str(r))
                w.line(f"const es_v a{r} = es_load({source});")
            _, destination = self._at(index, self._other, "k", self._inner, "0")
            for j, value in enumerate(_interleaved(w, count, lanes)):
                w.line(f"es_store({destination} + {j * lanes}, {value});")
        self._rest(w, index, last, self._other, self._inner)

    def _deinterleave(self, w: Writer, index: list[str], first: str, last: str) -> None:
        """One contiguous source into ``count`` destinations."""
        count, lanes = self.destination.view.shape[self._other], self._lanes
        w.line(f"int32_t k = {first};")
        with w.block(f"for (; k + {lanes} <= {last}; k += {lanes})"):
            source, _ = self._at(index, self._inner, "k", self._other, "0")
            for r in range(count):
                w.line(f"const es_v a{r} = es_load({source} + {r * lanes});")
            for r in range(count):
                _, destination = self._at(index, self._inner, "k", self._other, str(r))
                picks = [divmod(lane * count + r, lanes) for lane in range(lanes)]
                w.line(f"es_store({destination}, {_gather(w, picks, lanes)});")
        self._rest(w, index, last, self._inner, self._other)

    def _rest(self, w: Writer, index: list[str], last: str, axis: int, other: int) -> None:
        """The elements after the last whole vector."""
        if self.destination.view.shape[axis] % self._lanes == 0:
            return
        place = list(index)
        place[axis], place[other] = "k", "r"
        with w.block(f"for (; k < {last}; ++k)"), w.loop("r", self.destination.view.shape[other]):
            w.line(f"{self.destination.at(*place)} = {self.source.at(*place)};")

    def _tile(self, w: Writer, index: list[str], first: str, last: str) -> None:
        lanes, rows = self._lanes, self.destination.view.shape[self._inner]
        source, _ = self._at(index, self._other, "k", self._inner, "(r + j)")
        _, destination = self._at(index, self._other, "(k + j)", self._inner, "r")
        with w.block(f"for (int32_t k = {first}; k < {last}; k += {lanes})"):
            w.line(f"const int32_t columns = {last} - k < {lanes} ? {last} - k : {lanes};")
            for start, count in ((0, rows // lanes * lanes), (rows // lanes * lanes, rows % lanes)):
                if not count:
                    continue
                lanes_here = min(count, lanes)
                with w.loop("r", start + count, start, lanes) if count >= lanes else w.block(""):
                    if count < lanes:
                        w.line(f"enum {{ r = {start} }};")
                    w.line(f"es_v t[{lanes}]{' = {{0.0f}}' if lanes_here < lanes else ''};")
                    with w.block(f"if (columns == {lanes})"):
                        with w.loop("j", lanes_here):
                            w.line(f"t[j] = es_load({source});")
                        w.line("es_transpose(t);")
                        with w.loop("j", lanes):
                            self._store(w, destination, lanes_here)
                    with w.block("else"):
                        with w.loop("j", lanes_here):
                            w.line(f"t[j] = es_load_n({source}, columns);")
                        w.line("es_transpose(t);")
                        with w.loop("j", "columns"):
                            self._store(w, destination, lanes_here)

    def _store(self, w: Writer, destination: str, count: int) -> None:
        whole = count == self._lanes
        w.line(f"es_store({destination}, t[j]);" if whole else f"es_store_n({destination}, t[j], {count});")


class Moves:
    """Copies within one nest of loops, so that rows made of several short runs are written at once.

    Args:
        moves: with equal ``outer``; only one where that is empty.

    Attributes:
        pieces: number of parts that may be copied at once.
    """

    def __init__(self, moves: Sequence[Move]) -> None:
        self.moves = moves
        self._outer = moves[0].outer
        self._extent, grain = (self._outer[0], 1) if self._outer else (moves[0].extent, moves[0].grain)
        pieces = min(-(-self._extent // grain), max(1, round(self._nbytes / PIECE_BYTES)))
        self._chunk = -(-self._extent // pieces // grain) * grain
        self.pieces = -(-self._extent // self._chunk)

    @staticmethod
    def together(moves: Sequence[Move]) -> list[Moves]:
        """Copies that may run in any order, grouped by their loops."""
        groups: dict[tuple[int, ...], list[Move]] = {}
        for i, move in enumerate(moves):
            groups.setdefault(move.outer or (-i,), []).append(move)
        return [Moves(group) for group in groups.values()]

    @property
    def _nbytes(self) -> int:
        return sum(m.nbytes for m in self.moves)

    @property
    def forms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(m.form for m in self.moves))

    @property
    def nanoseconds(self) -> float:
        return sum(m.nanoseconds for m in self.moves)

    @property
    def piece_bytes(self) -> tuple[int, ...]:
        """Bytes that each piece writes, in order."""
        row = self._nbytes // max(self._extent, 1)
        starts = range(0, max(self._extent, 1), self._chunk)
        return tuple(max(1, row * (min(a + self._chunk, self._extent) - a)) for a in starts)

    def write(self, w: Writer, begin: str, end: str) -> None:
        """Write the statements that copy pieces ``begin`` to ``end``."""
        if self.pieces == 1:
            first, last, guard = "0", str(self._extent), f"if ({begin} < {end})"
        else:
            kind = index_type(self._extent)
            wide = f"({kind})" if kind != "int32_t" else ""
            w.line(f"const {kind} first = {wide}{begin} * {self._chunk};")
            stop = f"{wide}{end} * {self._chunk}"
            w.line(f"const {kind} last = {stop} < {self._extent} ? {stop} : {self._extent};")
            first, last, guard = "first", "last", ""
        with w.block(guard):
            if not self._outer:
                self.moves[0].write(w, (), first, last)
                return
            index = [f"o{a}" for a in range(len(self._outer))]
            start: str | int = 0 if self.pieces == 1 else first
            inner = list(zip(index[1:], self._outer[1:], strict=True))
            until = self._extent if self.pieces == 1 else last
            with w.loop(index[0], until, start, kind=index_type(self._extent)), w.nest(inner):
                for move in self.moves:
                    with w.block("") if len(self.moves) > 1 else nullcontext():
                        move.write(w, index)


def _interleaved(w: Writer, count: int, lanes: int) -> list[str]:
    """Write the shuffles of vectors ``a0`` to ``a<count - 1>``; returns the results in order of memory."""
    if count & (count - 1) == 0 and count <= lanes:
        names = [f"a{r}" for r in range(count)]
        stage = 1
        while stage < count:
            mixed = []
            for low, high in zip(names[: count // 2], names[count // 2 :], strict=True):
                for half in ("low", "high"):
                    mixed.append(w.fresh("b"))
                    w.line(f"const es_v {mixed[-1]} = es_interleave_{half}({low}, {high});")
            names, stage = mixed, 2 * stage
        return names
    results = []
    for j in range(count):
        places = [divmod(j * lanes + lane, count) for lane in range(lanes)]
        results.append(_gather(w, [(r, column) for column, r in places], lanes))
    return results


def _gather(w: Writer, picks: Sequence[tuple[int, int]], lanes: int) -> str:
    """Write the shuffles that collect (vector, lane) pairs of ``a0``, ``a1``, ...; returns the result's name."""
    vectors = sorted({v for v, _ in picks})
    text, known = f"a{vectors[0]}", {vectors[0]}
    for v in vectors[1:]:
        chosen = []
        for lane, (vector, column) in enumerate(picks):
            if vector == v:
                chosen.append(lanes + column)
            else:
                # Before the first shuffle the lanes still lie where they were loaded.
                chosen.append((lane if len(known) > 1 else column) if vector in known else 0)
        name = w.fresh("s")
        w.line(f"const es_v {name} = ES_SHUFFLE({text}, a{v}, {', '.join(map(str, chosen))});")
        text = name
        known.add(v)
    return text


def _merged(source: Array, destination: Array) -> tuple[Array, Array]:
    """The same copy with adjacent axes merged where both sides are contiguous across them."""
    order = destination.view.order()
    shape = [destination.view.shape[a] for a in order]
    from_, to = ([a.view.strides[i] for i in order] for a in (source, destination))
    axis = len(shape) - 1
    while axis > 0:
        n = shape[axis]
        if n == 1 or all(s[axis - 1] == n * s[axis] for s in (from_, to)) or shape[axis - 1] == 1:
            keep = axis - 1 if n == 1 and shape[axis - 1] != 1 else axis
            for s in (from_, to):
                s[axis - 1 : axis + 1] = [s[keep]]
            shape[axis - 1 : axis + 1] = [shape[axis - 1] * n]
        axis -= 1
    if not shape:
        shape, from_, to = [1], [1], [1]

    def merged(array: Array, strides: list[int]) -> Array:
        return replace(array, view=replace(array.view, shape=tuple(shape), strides=tuple(strides)))

    return merged(source, from_), merged(destination, to)
