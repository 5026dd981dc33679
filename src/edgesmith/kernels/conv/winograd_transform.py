"""The linear transforms of minimal filtering F(m, r) and short programs that apply them.

F(m, r) gives m outputs of a correlation with r taps by m + r - 1 products: y = A' [(G g) . (B' d)] with the taps g and
m + r - 1 inputs d (S. Winograd, "Arithmetic Complexity of Computations", SIAM, 1980). The matrices are those of the
transposed Toom-Cook algorithm: polynomials are evaluated at m + r - 2 points and at infinity.

The points decide how far rounding errors are amplified (B. Barabasz, A. Anderson, K. M. Soodhalter, D. Gregg, "Error
analysis and improving the accuracy of Winograd convolution for deep neural networks", ACM Trans. Math. Softw. 46(4),
2020). Those here are pairs p, -p, whose rows share their even and odd parts, and dyadic fractions, whose powers are
exact in floating point. Among the pairs of multiples of 1/8 they minimise the root mean square error of independent
random data: for m + r - 1 = 6 it is 0.44 times that of the usual points 1 and 2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.ir import DType

__all__ = ["Form", "Matrix", "Program", "Step", "Transform", "points", "side_by_side", "toom_cook", "transform"]

Matrix = tuple[tuple[Fraction, ...], ...]

_HALVES = {
    1: (Fraction(1),),
    2: (Fraction(5, 8), Fraction(3, 2)),
    3: (Fraction(1, 2), Fraction(1), Fraction(2)),
    4: (Fraction(3, 8), Fraction(3, 4), Fraction(5, 4), Fraction(2)),
}
"""Points p > 0 of the pairs p, -p, by the number of pairs."""


def points(count: int) -> tuple[Fraction, ...]:
    """``count`` finite points to evaluate at: 0, then pairs p, -p, the last without its partner if ``count`` is even.

    Raises:
        ValueError: more than 9 points; rounding errors would grow beyond use.
    """
    pairs = count // 2
    if pairs > max(_HALVES):
        raise ValueError(f"{count} points, at most {2 * max(_HALVES) + 1} are known")
    halves = _HALVES[pairs] if pairs else ()
    return (Fraction(0), *(s * p for p in halves for s in (1, -1)))[:count]


@dataclass(frozen=True)
class Transform:
    """F(m, r), with a stride.

    Args:
        m: outputs.
        r: taps.
        stride: inputs from one output to the next.
        output: A', (m, n) with n = (m - 1) stride + r.
        kernel: G, (n, r).
        input: B', (n, n).
    """

    m: int
    r: int
    stride: int
    output: Matrix
    kernel: Matrix
    input: Matrix

    @property
    def n(self) -> int:
        """Inputs, and products."""
        return self.extent(1)

    @property
    def step(self) -> int:
        """Inputs from one tile to the next."""
        return self.m * self.stride

    def extent(self, tiles: int) -> int:
        """Inputs of neighbouring tiles."""
        return (tiles * self.m - 1) * self.stride + self.r


@cache
def transform(m: int, r: int, stride: int = 1) -> Transform:
    """The matrices of F(m, r) for floats, exact.

    Raises:
        ValueError: more taps or outputs than there are points for, or fewer taps than the stride.
    """
    return side_by_side(m, r, stride, _dense)


def side_by_side(m: int, r: int, stride: int, form: Callable[[int, int], Form]) -> Transform:
    """F(m, r) with a stride from forms without one.

    A correlation with a stride s is the sum of s correlations without one: number p takes every s-th input and every
    s-th tap, both from p on. Their forms stand side by side.

    Args:
        form: of m outputs and some taps.

    Raises:
        ValueError: fewer taps than the stride.
    """
    if stride > r:
        raise ValueError(f"{r} taps at stride {stride}: some inputs have none")
    phases = [form(m, len(range(phase, r, stride))) for phase in range(stride)]
    inputs = [range(phase, (m - 1) * stride + r, stride) for phase in range(stride)]
    return Transform(
        m,
        r,
        stride,
        tuple(tuple(c for part in phases for c in part.output[i]) for i in range(m)),
        _interleaved([part.kernel for part in phases], r),
        _interleaved([part.input for part in phases], max(i.stop for i in inputs)),
    )


def _interleaved(matrices: Sequence[Matrix], columns: int) -> Matrix:
    """One matrix that applies number p of ``matrices`` to every ``len(matrices)``-th element from p on."""
    stride = len(matrices)
    rows = []
    for phase, matrix in enumerate(matrices):
        for row in matrix:
            spread = [Fraction(0)] * columns
            spread[phase : phase + stride * len(row) : stride] = row
            rows.append(tuple(spread))
    return tuple(rows)


@dataclass(frozen=True)
class Form:
    """A', G and B' of F(m, r) without a stride."""

    output: Matrix
    kernel: Matrix
    input: Matrix


def _dense(m: int, r: int) -> Form:
    """F(m, r) without a stride.

    The columns of A' that belong to p and -p get a unit coefficient in a row of their own, which saves its
    multiplication.
    """
    finite = points(m + r - 2) if r > 1 else ()
    return toom_cook(m, r, finite, [_scale(p, i, m) for i, p in enumerate(finite)])


def toom_cook(m: int, r: int, finite: Sequence[Fraction], scales: Sequence[Fraction]) -> Form:
    """F(m, r) from m + r - 2 points besides infinity; for one tap there is nothing to save.

    Rows of B' and columns of A' may be scaled at will as long as the rows of G make up for it, for G is applied once:
    B' has leading coefficients 1, and the columns of A' have ``scales``.
    """
    if r == 1:
        unit = tuple(tuple(Fraction(int(i == j)) for j in range(m)) for i in range(m))
        return Form(unit, ((Fraction(1),),) * m, unit)
    output = tuple(
        (*(s * p**i for p, s in zip(finite, scales, strict=True)), Fraction(int(i == m - 1))) for i in range(m)
    )
    kernel = []
    for j, (p, scale) in enumerate(zip(finite, scales, strict=True)):
        norm = scale
        for q in (*finite[:j], *finite[j + 1 :]):
            norm *= p - q
        kernel.append(tuple(p**k / norm for k in range(r)))
    kernel.append(tuple(Fraction(int(k == r - 1)) for k in range(r)))
    rows = [(*_monic((*finite[:j], *finite[j + 1 :])), Fraction(0)) for j in range(len(finite))]
    return Form(output, tuple(kernel), (*rows, _monic(finite)))


def _scale(point: Fraction, index: int, m: int) -> Fraction:
    """Pair number k gets coefficients 1 and -1 (or 1 and 1) in row k of A' (0: the row of the constant term)."""
    row = (index + 1) // 2
    return 1 / abs(point) ** row if point and row < m - 1 else Fraction(1)


def _monic(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Coefficients of the polynomial with these roots, constant term first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [s - root * c for s, c in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return tuple(coefficients)


@dataclass(frozen=True)
class Step:
    """``factor`` * value ``x``, plus value ``y`` unless that is None. Values count inputs first, then steps."""

    factor: Fraction
    x: int
    y: int | None


@dataclass(frozen=True)
class Program:
    """A matrix times a vector as additions and fused multiply-adds that share common parts.

    Args:
        inputs: number of inputs.
        outputs: for each row the value that holds it, or None where it is 0.
    """

    inputs: int
    steps: tuple[Step, ...]
    outputs: tuple[int | None, ...]

    @classmethod
    def of(cls, matrix: Matrix, integers: bool = False) -> Program:
        """A short program: the two terms that most rows share up to a factor become a value of their own, repeatedly.

        After C. Paar, "Optimized arithmetic for Reed-Solomon encoders", ISIT 1997, with factors. No program adds terms
        that cancel, so that on absolute values it computes the absolute matrix.

        Args:
            integers: all factors are integers, as those of the matrix must be.
        """
        return _synthesize(matrix, integers)

    @property
    def operations(self) -> int:
        return len(self.steps)

    @property
    def roundings(self) -> int:
        """The most roundings that any input passes on its way to an output, inexact factors included."""
        depth = [0] * self.inputs
        for step in self.steps:
            before = max(depth[step.x] + (not _is_exact(step.factor)), depth[step.y] if step.y is not None else 0)
            depth.append(before + (step.y is not None or abs(step.factor) != 1))
        return max((depth[v] for v in self.outputs if v is not None), default=0)

    def write(self, w: Writer, inputs: Sequence[str], vector: str = "es_v") -> list[str]:
        """Write the statements; the C expression of each output.

        Args:
            inputs: names of C variables; those of zero columns are not used.
            vector: their type. Vectors of integers need factors that are integers.
        """
        values = list(inputs)
        for step in self.steps:
            x = values[step.x]
            if vector != "es_v":
                text = f"{x} * {abs(step.factor)}" if abs(step.factor) != 1 else x
                sign = "-" if step.factor < 0 else "+"
                text = f"{values[step.y]} {sign} {text}" if step.y is not None else f"{sign.strip('+')}{text}"
                values.append(w.fresh())
                w.line(f"const {vector} {values[-1]} = {text};")
                continue
            factor = f"es_set1({literal(float(step.factor), DType.F32)})"
            if step.y is None:
                text = f"-{x}" if step.factor == -1 else f"{factor} * {x}"
            elif abs(step.factor) == 1:
                text = f"{values[step.y]} {'+' if step.factor > 0 else '-'} {x}"
            else:
                text = f"es_fma({factor}, {x}, {values[step.y]})"
            values.append(w.fresh())
            w.line(f"const es_v {values[-1]} = {text};")
        return [values[v] if v is not None else f"({vector}){{0}}" for v in self.outputs]


def _is_exact(factor: Fraction) -> bool:
    """Whether a 32-bit float holds it."""
    return Fraction(float(np.float32(float(factor)))) == factor


@cache
def _synthesize(matrix: Matrix, integers: bool) -> Program:
    def suits(ratio: Fraction) -> bool:
        return not integers or ratio.denominator == 1

    def usable(c: Fraction, d: Fraction) -> bool:
        return suits(d / c) or suits(c / d)

    inputs = len(matrix[0]) if matrix else 0
    forms = [{j: c for j, c in enumerate(row) if c} for row in matrix]
    steps: list[Step] = []
    while True:
        shared: Counter[tuple[int, int, Fraction]] = Counter()
        for form in forms:
            terms = sorted(form.items())
            shared.update((i, j, d / c) for a, (i, c) in enumerate(terms) for j, d in terms[a + 1 :] if usable(c, d))
        i, j, ratio = min(shared, key=lambda s: (-shared[s], s), default=(0, 0, Fraction(0)))
        if shared[i, j, ratio] < 2:
            break
        users = [f for f in forms if i in f and j in f and f[j] / f[i] == ratio]
        # The term that more often has the factor 1 keeps its own, so that using the sum needs no multiplication.
        units_i, units_j = (sum(abs(f[k]) == 1 for f in users) for k in (i, j))
        if suits(1 / ratio) and (not suits(ratio) or (units_j, _is_exact(1 / ratio)) > (units_i, _is_exact(ratio))):
            i, j, ratio = j, i, 1 / ratio
        for form in users:
            form[inputs + len(steps)] = form.pop(i)
            del form[j]
        steps.append(Step(ratio, j, i))
    outputs = []
    for form in forms:
        terms = sorted(form.items(), key=lambda t: (t[1] != 1, t[1] != -1, t[0]))
        value: int | None = None
        for x, factor in terms:
            if value is None and factor == 1:
                value = x
            else:
                steps.append(Step(factor, x, value))
                value = inputs + len(steps) - 1
        outputs.append(value)
    return Program(inputs, tuple(steps), tuple(outputs))
