"""Mathematical functions in generated C: expressions and a little C text, found by name.

No libm transcendental is involved, so results do not depend on the C library; ``floor``, ``rint``, ``sqrt`` and
``copysign`` are exact everywhere. A function is named after its primitive, with the type where that is not f32
(``exp``, ``exp_f64``, ``pow_i64``), and its C name is ``es_<primitive>_<type>``; f32 functions have a vector form
``es_<primitive>_v``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from edgesmith.c.bitfunctions import BIT_FUNCTIONS
from edgesmith.c.expr import Expr, emit, primitives_of, var, vectorizable
from edgesmith.c.functions_f32 import F32_FUNCTIONS
from edgesmith.c.functions_f64 import F64_FUNCTIONS, THROUGH_F64
from edgesmith.c.writer import Writer
from edgesmith.ir import DType

__all__ = ["FUNCTIONS", "Function", "definitions", "function_of", "functions_of", "inlined", "missing_functions"]


@dataclass(frozen=True)
class Function:
    """One function of equal argument and result types, stated as an expression of its arguments.

    Args:
        full_precision: accurate to a few ULP of ``dtype``; otherwise (f64) only a means to an f32 result.
    """

    primitive: str
    dtype: DType
    build: Callable[..., Expr]
    arity: int = 1
    full_precision: bool = True

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("x", "y")[: self.arity]

    @property
    def expression(self) -> Expr:
        return self.build(*(var(name, self.dtype) for name in self.arguments))


def _arity(name: str) -> int:
    return 2 if name == "pow" else 1


FUNCTIONS: dict[str, Function] = {
    **{n: Function(n, DType.F32, build, _arity(n)) for n, build in (F32_FUNCTIONS | THROUGH_F64).items()},
    **{f"{n}_f64": Function(n, DType.F64, build, _arity(n), n in ("exp", "log")) for n, build in F64_FUNCTIONS.items()},
}


def _name(primitive: str, dtype: DType) -> str:
    return primitive if dtype is DType.F32 else f"{primitive}_{dtype}"


def function_of(primitive: str, dtype: DType) -> Function | None:
    """The function that a primitive on ``dtype`` calls, when it is stated as an expression."""
    return FUNCTIONS.get(_name(primitive, dtype))


def functions_of(expr: Expr) -> tuple[str, ...]:
    """Names of the functions that ``expr`` needs, dependencies first."""
    return _with_dependencies(sorted(_name(*use) for use in primitives_of(expr)))


def inlined(expr: Expr) -> Expr:
    """``expr`` with the expressions of functions in the place of their calls, where vectors can compute these."""
    done: dict[int, Expr] = {}

    def visit(e: Expr) -> Expr:
        if id(e) not in done:
            args = tuple(map(visit, e.args))
            function = function_of(e.op, e.args[0].dtype) if e.args else None
            if function and vectorizable(function.expression) is None:
                done[id(e)] = visit(function.build(*args))
            else:
                done[id(e)] = replace(e, args=args) if args else e
        return done[id(e)]

    return visit(expr)


def missing_functions(expr: Expr) -> tuple[str, ...]:
    """Names of functions that ``expr`` needs and that do not exist, because of their types."""
    primitives = {f.primitive for f in FUNCTIONS.values()}
    names = sorted(_name(op, dtype) for op, dtype in primitives_of(expr) if op in primitives)
    return tuple(name for name in names if name not in FUNCTIONS and name not in BIT_FUNCTIONS)


def _with_dependencies(names: Iterable[str]) -> tuple[str, ...]:
    order: dict[str, None] = {}
    for name in names:
        if name in FUNCTIONS:
            order.update(dict.fromkeys(functions_of(FUNCTIONS[name].expression)))
        if name in FUNCTIONS or name in BIT_FUNCTIONS:
            order[name] = None
    return tuple(order)


def definitions(names: Iterable[str], *, vector: bool) -> str:
    """C definitions of functions and of those that they need, f32 ones also for vectors when ``vector``."""
    writer = Writer()
    for name in _with_dependencies(names):
        if name in BIT_FUNCTIONS:
            writer.lines(BIT_FUNCTIONS[name])
        else:
            function = FUNCTIONS[name]
            _scalar(writer, function)
            if vector and function.dtype is DType.F32:
                writer.line()
                _vector(writer, function)
        writer.line()
    return writer.text()


def _scalar(writer: Writer, function: Function) -> None:
    kind = function.dtype.c
    parameters = ", ".join(f"const {kind} {a}" for a in function.arguments)
    with writer.block(f"ES_UNUSED static inline {kind} es_{function.primitive}_{function.dtype}({parameters})"):
        result = emit(function.expression, {a: a for a in function.arguments}, writer)
        writer.line(f"return {result};")


def _vector(writer: Writer, function: Function) -> None:
    """By vectors where the expression allows, otherwise lane by lane."""
    parameters = ", ".join(f"const es_v {a}" for a in function.arguments)
    with writer.block(f"ES_UNUSED static inline es_v es_{function.primitive}_v({parameters})"):
        if vectorizable(function.expression) is None:
            result = emit(function.expression, {a: a for a in function.arguments}, writer, vector=True)
            writer.line(f"return {result};")
            return
        writer.line("es_v result = x;")
        with writer.block("for (int32_t i = 0; i < ES_LANES; ++i)"):
            lanes = ", ".join(f"{a}[i]" for a in function.arguments)
            writer.line(f"result[i] = es_{function.primitive}_f32({lanes});")
        writer.line("return result;")
