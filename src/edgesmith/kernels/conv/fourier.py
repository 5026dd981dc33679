"""Discrete Fourier transforms of small sizes as straight-line programs.

A transform is linear, so its program is a list of nodes ``a + r * b`` over earlier nodes: one fused multiply-add each.
Factors that this form has no room for are carried along until a later node can take them in (Linzer and Feig, "Modified
FFTs for fused multiply-add architectures", Math. Comp. 60, 1993); the larger factor is taken out, so that |r| <= 1 and
no node is larger than what it adds. Zero inputs and outputs that nobody needs leave no nodes behind.

The inverse of a real transform is the transposed program: every edge reversed. How much the roundings of a program
amount to follows from the program itself (``Program.growth``).
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.ir import DType

__all__ = ["Program", "complex_transform", "inverse_real_transform", "real_transform"]

Term = tuple[float, int] | None
"""A factor times a value of the program; None is zero."""

Complex = tuple[Term, Term]
"""Real and imaginary part."""

SCHEDULED = 8
"""Nodes that the compiler may reorder: about as many as keep the registers busy."""

RADICES = (4, 2, 3, 5, 7)


@dataclass(frozen=True)
class Program:
    """A straight-line program over ``inputs`` numbers.

    Args:
        nodes: value number ``inputs + i`` is a + ratio x b, for (a, ratio, b) at position i.
        outputs: one term each.
    """

    inputs: int
    nodes: tuple[tuple[int, float, int], ...]
    outputs: tuple[Term, ...]

    @property
    def operations(self) -> int:
        """Vector instructions: nodes, and outputs that still need their factor."""
        return len(self.nodes) + sum(term is None or term[0] != 1 for term in self.outputs)

    @property
    def _terms(self) -> list[tuple[int, float, int]]:
        """Position, factor and value of the outputs that are not zero."""
        return [(position, *term) for position, term in enumerate(self.outputs) if term is not None]

    def write(self, w: Writer, load: Callable[[int], str], store: Callable[[int, str], None]) -> None:
        """Write the program over ``es_v`` values, each input loaded before its first use.

        Args:
            load: C expression of an input.
            store: writes what becomes of an output, given as a C expression.
        """
        loaded: set[int] = set()
        ready: dict[int, list[tuple[int, float]]] = {}
        for position, factor, value in self._terms:
            ready.setdefault(value, []).append((position, factor))

        def need(value: int) -> str:
            if value < self.inputs and value not in loaded:
                loaded.add(value)
                w.line(f"const es_v z{value} = {load(value)};")
            return f"z{value}"

        def finish(value: int) -> None:
            for position, factor in ready.get(value, ()):
                text = need(value)
                if factor != 1:
                    text = f"-{text}" if factor == -1 else f"{text} * {_constant(factor)}"
                store(position, text)

        for i, (a, ratio, b) in enumerate(self.nodes):
            left, right = need(a), need(b)
            if abs(ratio) == 1:
                text = f"{left} {'+' if ratio > 0 else '-'} {right}"
            else:
                text = f"es_fma({right}, {_constant(ratio)}, {left})"
            if i % SCHEDULED == SCHEDULED - 1:
                w.line(f"ES_FENCE(l{i})")
            w.line(f"const es_v z{self.inputs + i} = {text};")
            finish(self.inputs + i)
        for value in range(self.inputs):
            finish(value)
        for position, term in enumerate(self.outputs):
            if term is None:
                store(position, "es_set1(0.0f)")

    def transposed(self) -> Program:
        """The program of the transposed matrix."""
        builder = _Builder(len(self.outputs))
        gathered: dict[int, Term] = {}

        def give(value: int, term: Term) -> None:
            gathered[value] = builder.add(gathered.get(value), term)

        for position, factor, value in self._terms:
            give(value, (factor, position))
        for i in reversed(range(len(self.nodes))):
            a, ratio, b = self.nodes[i]
            term = gathered.get(self.inputs + i)
            give(a, term)
            give(b, _scaled(term, ratio))
        return builder.program([gathered.get(i) for i in range(self.inputs)])

    @cached_property
    def matrix(self) -> np.ndarray:
        """What it computes with its constants rounded to f32, all else exact: (outputs, inputs)."""
        return self._coefficients(np.float32)[1]

    @cached_property
    def exact(self) -> np.ndarray:
        """The same with its constants as they are."""
        return self._coefficients(np.float64)[1]

    def _coefficients(self, kind: type[np.floating]) -> tuple[np.ndarray, np.ndarray]:
        """Each value, and each output, as a row of factors of the inputs.

        Args:
            kind: what the constants are rounded to.
        """
        rows = np.zeros((self.inputs + len(self.nodes), self.inputs))
        rows[: self.inputs] = np.eye(self.inputs)
        for i, (a, ratio, b) in enumerate(self.nodes):
            rows[self.inputs + i] = rows[a] + float(kind(ratio)) * rows[b]
        outputs = np.zeros((len(self.outputs), self.inputs))
        for position, factor, value in self._terms:
            outputs[position] = float(kind(factor)) * rows[value]
        return rows, outputs

    def growth(self, weights_in: np.ndarray, weights_out: np.ndarray) -> float:
        """How much independent roundings of relative size 1 make of inputs of norm 1, in the norm of the outputs.

        A rounding of value v adds g v to the outputs, where g are their derivatives by v. The square of the norm, on
        average, is at most the largest eigenvalue of the sum of |g|^2 a a', where a are the factors of v.

        Args:
            weights_in, weights_out: element i of the inputs (outputs) counts as weight i times as large as it is.
        """
        values, _ = self._coefficients(np.float64)
        values = values / weights_in
        derivatives = np.zeros((len(values), len(self.outputs)))
        for position, factor, value in self._terms:
            derivatives[value, position] += factor * weights_out[position]
        for i in reversed(range(len(self.nodes))):
            a, ratio, b = self.nodes[i]
            derivatives[a] += derivatives[self.inputs + i]
            derivatives[b] += ratio * derivatives[self.inputs + i]
        rounded = [values[self.inputs :] * np.linalg.norm(derivatives[self.inputs :], axis=1)[:, None]]
        for position, factor, value in self._terms:
            if abs(factor) != 1:
                rounded.append(weights_out[position] * factor * values[value][None])
        stacked = np.concatenate(rounded)
        return float(np.sqrt(np.linalg.eigvalsh(stacked.T @ stacked)[-1]))


def _constant(value: float) -> str:
    return f"es_set1({literal(np.float32(value), DType.F32)})"


def _scaled(term: Term, factor: float) -> Term:
    return None if term is None else (factor * term[0], term[1])


class _Builder:
    """Collects the nodes of a program; equal ones once."""

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.nodes: list[tuple[int, float, int]] = []
        self._known: dict[tuple[int, float, int], int] = {}

    def add(self, x: Term, y: Term) -> Term:
        """x + y."""
        if x is None or y is None:
            return y if x is None else x
        (s, a), (t, b) = x, y
        if a == b:
            return None if abs(s + t) < 1e-12 else (s + t, a)
        if abs(t) > abs(s) * (1 + 1e-9) or (abs(abs(t) - abs(s)) <= 1e-9 * abs(s) and b < a):
            (s, a), (t, b) = (t, b), (s, a)
        ratio = t / s
        # Equal up to the rounding of sines and cosines in f64.
        nearest = round(ratio, 12)
        key = (a, nearest if abs(nearest) == 1 else ratio, b)
        if key not in self._known:
            self._known[key] = self.inputs + len(self.nodes)
            self.nodes.append(key)
        return (s, self._known[key])

    def subtract(self, x: Term, y: Term) -> Term:
        return self.add(x, _scaled(y, -1))

    def program(self, outputs: Sequence[Term]) -> Program:
        """The nodes that ``outputs`` depend on."""
        used = {term[1] for term in outputs if term is not None}
        for i in reversed(range(len(self.nodes))):
            if self.inputs + i in used:
                used.update((self.nodes[i][0], self.nodes[i][2]))
        number = {value: value for value in range(self.inputs)}
        kept: list[tuple[int, float, int]] = []
        for i, (a, ratio, b) in enumerate(self.nodes):
            if self.inputs + i in used:
                number[self.inputs + i] = self.inputs + len(kept)
                kept.append((number[a], ratio, number[b]))
        found = tuple(None if term is None else (_exact(term[0]), number[term[1]]) for term in outputs)
        return Program(self.inputs, tuple(kept), found)


def _exact(factor: float) -> float:
    return float(round(factor)) if abs(factor - round(factor)) < 1e-12 else factor


class _Transform:
    """Builds the forward transform X[k] = sum of x[i] exp(-2 pi i k / n) by decimation in time."""

    def __init__(self, builder: _Builder) -> None:
        self.add, self.subtract = builder.add, builder.subtract

    def complex(self, z: Sequence[Complex]) -> list[Complex]:
        n = len(z)
        if n == 1:
            return list(z)
        radix = _radix(n)
        m = n // radix
        parts = [self.complex(z[q::radix]) for q in range(radix)]
        result: list[Complex] = [(None, None)] * n
        for k in range(m):
            twiddled = [self._times(parts[q][k], q * k, n) for q in range(radix)]
            for j, value in enumerate(self._butterfly(twiddled)):
                result[k + j * m] = value
        return result

    def real(self, x: Sequence[Term]) -> list[Complex]:
        """X[0] to X[n / 2] of real numbers."""
        n = len(x)
        if n == 1:
            return [(x[0], None)]
        radix = _radix(n)
        m = n // radix
        parts = [self.real(x[q::radix]) for q in range(radix)]
        result: dict[int, Complex] = {}
        for k in range(m // 2 + 1):
            twiddled = [self._times(parts[q][k], q * k, n) for q in range(radix)]
            for j, (re, im) in enumerate(self._butterfly(twiddled)):
                at = k + j * m
                # The other half is conjugate.
                result.setdefault(*((at, (re, im)) if 2 * at <= n else (n - at, (re, _scaled(im, -1)))))
        return [result[k] for k in range(n // 2 + 1)]

    def _times(self, z: Complex, power: int, n: int) -> Complex:
        """z exp(-2 pi i power / n)."""
        re, im = z
        turns = 4 * power % (4 * n)
        quarter, rest = divmod(turns, n)
        for _ in range(quarter):
            re, im = im, _scaled(re, -1)
        if rest == 0:
            return re, im
        root = cmath.exp(-0.5j * math.pi * rest / n)
        c, s = root.real, root.imag
        return self.subtract(_scaled(re, c), _scaled(im, s)), self.add(_scaled(re, s), _scaled(im, c))

    def _butterfly(self, z: Sequence[Complex]) -> list[Complex]:
        """The transform of two, four or an odd number of values."""
        radix = len(z)
        if radix == 2:
            return [self._plus(z[0], z[1]), self._minus(z[0], z[1])]
        if radix == 4:
            even = [self._plus(z[0], z[2]), self._minus(z[0], z[2])]
            odd = [self._plus(z[1], z[3]), self._turned(self._minus(z[1], z[3]))]
            return [
                self._plus(even[0], odd[0]),
                self._plus(even[1], odd[1]),
                self._minus(even[0], odd[0]),
                self._minus(even[1], odd[1]),
            ]
        pairs = [(self._plus(z[p], z[-p]), self._minus(z[p], z[-p])) for p in range(1, radix // 2 + 1)]
        result: list[Complex] = [z[0]] * radix
        for total, _ in pairs:
            result[0] = self._plus(result[0], total)
        for k in range(1, radix // 2 + 1):
            level: Complex = z[0]
            across: Complex = (None, None)
            for p, (total, difference) in enumerate(pairs, 1):
                angle = 2 * math.pi * (k * p % radix) / radix
                level = self._plus(level, _of(total, math.cos(angle)))
                across = self._plus(across, _of(difference, math.sin(angle)))
            result[k] = self._plus(level, self._turned(across))
            result[radix - k] = self._minus(level, self._turned(across))
        return result

    def _plus(self, x: Complex, y: Complex) -> Complex:
        return self.add(x[0], y[0]), self.add(x[1], y[1])

    def _minus(self, x: Complex, y: Complex) -> Complex:
        return self.subtract(x[0], y[0]), self.subtract(x[1], y[1])

    @staticmethod
    def _turned(z: Complex) -> Complex:
        """-i z."""
        return z[1], _scaled(z[0], -1)


def _of(z: Complex, factor: float) -> Complex:
    return _scaled(z[0], factor), _scaled(z[1], factor)


def _radix(n: int) -> int:
    for radix in RADICES:
        if n % radix == 0:
            return radix
    raise ValueError(f"{n} has a prime factor above {max(RADICES)}")


@cache
def real_transform(size: int, inputs: range) -> Program:
    """The forward transform of ``size`` (even) real numbers, zero but for those at ``inputs``.

    Outputs: X[0], X[size / 2], then real and imaginary part of X[1], X[2], ...
    """
    builder = _Builder(len(inputs))
    x: list[Term] = [None] * size
    for number, at in enumerate(inputs):
        x[at] = (1.0, number)
    found = _Transform(builder).real(x)
    parts = [found[0][0], found[size // 2][0], *(part for k in range(1, size // 2) for part in found[k])]
    return builder.program(parts)


@cache
def inverse_real_transform(size: int, outputs: range) -> Program:
    """The inverse of ``real_transform`` at ``outputs``, but for two factors.

    X[1], X[2], ... must be given twice their size, and the outputs are ``size`` times too large.
    """
    return real_transform(size, outputs).transposed()


@cache
def complex_transform(size: int, inputs: range, outputs: range) -> Program:
    """The forward transform of complex numbers, zero but for those at ``inputs``: real and imaginary part in turn.

    The inverse takes and gives them imaginary part first; its outputs are ``size`` times too large.
    """
    builder = _Builder(2 * len(inputs))
    z: list[Complex] = [(None, None)] * size
    for number, at in enumerate(inputs):
        z[at] = ((1.0, 2 * number), (1.0, 2 * number + 1))
    found = _Transform(builder).complex(z)
    return builder.program([part for k in outputs for part in found[k]])
