"""The C package of a plan: kernels, step table, public header, weights, and the hand-written runtime beside them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from itertools import accumulate, pairwise
from pathlib import Path
from types import MappingProxyType

from edgesmith.c.mathfunctions import definitions
from edgesmith.c.vector import header as vector_header
from edgesmith.c.writer import Writer
from edgesmith.codegen.encoding import DECODER, encode
from edgesmith.codegen.sparse_encoding import SPARSE_DECODER, encode_sparse
from edgesmith.codegen.weights import Weights, aligned
from edgesmith.codegen.weights_source import weights_source
from edgesmith.ir import Graph, TensorType
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE
from edgesmith.passes.quantized_values import Quantization
from edgesmith.plan import Plan, Space, Step
from edgesmith.target import Target, board_of

__all__ = [
    "MODEL_FUNCTIONS",
    "Package",
    "c_comment",
    "c_identifier",
    "c_string",
    "generate",
    "model_header",
    "model_package",
    "public_header",
    "quantization_macros",
    "runtime_files",
]

FILE_BYTES = 48 * 1024
MAX_TOTAL_COST = 2**30
FIXED_POINTERS, BARE_POINTER_BYTES = 8, 4
"""Room of a context's own fields, those for inputs and outputs aside."""
LIBRARY = ("es_abi.h", "es_pool.h", "es_pool.c")
"""Hand-written files of the libraries."""
PROGRAM = (
    *("es_session.h", "es_session.c", "es_selftest.h", "es_selftest.c", "es_clock.h"),
    *("es_main.c", "es_command.h", "es_options.c", "es_check.c", "es_bench.c", "es_info.c", "es_run.c"),
    *("es_tensor_file.h", "es_tensor_file.c", "es_npy.h", "es_npy.c", "es_affinity.h", "es_affinity.c"),
    *("es_variant.h", "es_variant.c"),
    *("es_frame.h", "es_frame.c", "es_serve.c"),
)
"""Those of the executable."""
RUNTIME: tuple[str, ...] = (*LIBRARY, *PROGRAM)
BARE_LIBRARY = ("es_abi.h", "es_bare.h")
BARE_PROGRAM = ("es_selftest.h", "es_selftest.c", "es_board.c")
"""The same where there is no system."""
_RESERVED = re.compile(
    r"es|src|main|model|objects|weights|selftest_data|include|lib|packages|(es|kernels|pthread|sem)_.*"
    r"|c|m|dl|rt|gcc|util|pthread|crypt|resolv"
)
"""Names of other files of an artifact, beginnings of other symbols, and libraries that come with systems."""


@dataclass(frozen=True)
class Package:
    """Files of a C package.

    Args:
        name: prefix of all public symbols and base name of the library.
        files: content by name relative to the source folder, all but ``weights.bin``.
        functions: name of the kernel function of each step.
        context_bytes: memory of a context with one worker.
        prepared_bytes: part of it that ``prepare`` fills.
        weights: content of ``weights.bin``.
        variants: where one of several models is picked when the program runs: each of them by name, best first. Its
            files lie in a folder of its name, for compiling with its instruction set; it has none of its own here.
    """

    name: str
    files: Mapping[str, bytes]
    functions: tuple[str, ...]
    context_bytes: int
    prepared_bytes: int
    weights: Weights
    variants: Mapping[str, Package] = field(default_factory=dict)

    @cached_property
    def build(self) -> str:
        """Digest of all this, which the executable tells when it is asked."""
        total = hashlib.sha256(self.weights.digest)
        for name, data in sorted(self.files.items()):
            total.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
        return total.hexdigest()

    def write(self, folder: Path) -> None:
        """Write all files into an existing folder."""
        for variant in self.variants:
            (folder / variant).mkdir()
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        (folder / "es_build.h").write_text(f'#define ES_BUILD "{self.build}"\n')
        self.weights.write(folder / "weights.bin")


def c_identifier(text: str) -> str:
    """``text`` as a C identifier in lower case; as a prefix it makes no name that a package uses otherwise."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower()
    name = re.sub(r"_+", "_", name)[:48].strip("_")
    return f"net_{name}".rstrip("_") if not name or name[0].isdigit() or _RESERVED.fullmatch(name) else name


def generate(
    plan: Plan, name: str, version: str, quantizations: Mapping[str, Quantization] = MappingProxyType({})
) -> Package:
    """Emit all files; the same plan gives the same bytes.

    Args:
        name: base of the public symbols; made a C identifier.
        version: version of the generator, returned by ``<name>_version``.
        quantizations: how integers stand for numbers, of inputs and outputs where that is known; for the header.
    """
    name = c_identifier(name)
    model = model_package(plan, name, version, Weights(), macros=quantization_macros(plan.graph, name, quantizations))
    texts = {
        "model.h": model_header(name),
        "weights.c": weights_source(f"{name}_weights", plan.target.system.object_format),
    }
    files = {file: text.encode() for file, text in texts.items()}
    return replace(model, files={**model.files, **files, **runtime_files(plan.target)})


def model_package(plan: Plan, name: str, version: str, weights: Weights, owner: str = "", macros: str = "") -> Package:
    """The kernels of a plan, its step table, and the header of both.

    Args:
        name: prefix of its functions.
        weights: collects what it needs.
        owner: name of the model that it is a variant of, whose weights it shares, and which alone calls it.
        macros: further text of the header.
    """
    functions, kernels = _kernels(plan, owner or name)
    tables = _tables(plan, weights)
    files = {
        f"{name}.h": public_header(
            name, _context_macro(plan, name, tables.prepared_bytes) + macros, is_variant=bool(owner)
        ),
        "es_kernels.h": _kernel_header(plan, functions),
        "es_simd.h": _guarded("ES_SIMD_H", vector_header(plan.target)),
        f"{name}.c": _model_source(plan, name, version, functions, tables, f"{owner or name}_weights"),
    }
    for number, text in enumerate(kernels):
        files[f"kernels_{number:03}.c"] = text
    context = 4096 + plan.arena.nbytes + tables.prepared_bytes + plan.scratch_bytes
    if plan.target.is_bare:
        pointers, rest = _context_parts(plan, tables.prepared_bytes)
        context = aligned(pointers * BARE_POINTER_BYTES) + rest
    encoded = {file: text.encode() for file, text in files.items()}
    return Package(name, encoded, functions, context, tables.prepared_bytes, weights)


def model_header(name: str) -> str:
    """By which the executable, whose source knows no names, finds its model."""
    return f'#include "{name}.h"\n\n#define ES_MODEL(symbol) {name}_##symbol\n'


def runtime_files(target: Target) -> dict[str, bytes]:
    """The hand-written files of libraries and executable."""
    runtime = resources.files("edgesmith.codegen") / "runtime"
    names = (*BARE_LIBRARY, *BARE_PROGRAM) if target.is_bare else RUNTIME
    if not target.system.has_threads:
        names = tuple("es_pool_serial.c" if name == "es_pool.c" else name for name in names)
    files = {name: (runtime / name).read_bytes() for name in names}
    if board := board_of(target):
        files["es_board.ld"] = board.linker_script.encode()
    return files


def _kernels(plan: Plan, name: str) -> tuple[tuple[str, ...], list[str]]:
    """The function name of each step, and the texts of the kernel files; equal functions are emitted once.

    Names carry the model's, so that the static libraries of two models can be linked into one program.
    """
    names: dict[str, str] = {}
    users: dict[str, list[Step]] = {}
    for step in plan.steps:
        text = step.code.text
        if text not in names:
            isa = plan.target.isa.name if plan.target.isa else "c"
            names[text] = f"es_{step.code.label}__{isa}_{name}_{c_identifier(step.name)}_{len(names)}"
        users.setdefault(text, []).append(step)
    files: list[str] = []
    body: list[str] = []
    needed: dict[str, None] = {}

    def flush() -> None:
        if body:
            math = definitions(needed, vector=plan.target.isa is not None)
            files.append('#include "es_simd.h"\n#include "es_kernels.h"\n\n' + math + "\n".join(body))
            body.clear()
            needed.clear()

    for text, steps in users.items():
        body.append(_comment(steps) + text.replace("@NAME@", names[text]))
        needed.update(dict.fromkeys(steps[0].code.functions))
        if sum(map(len, body)) > FILE_BYTES:
            flush()
    flush()
    return tuple(names[s.code.text] for s in plan.steps), files


def _comment(steps: list[Step]) -> str:
    first = steps[0]
    w = Writer()
    w.line(f"/* {first.region.label}: {first.kernel.name}")
    for step in steps:
        w.line(f" *   serves {c_comment(', '.join(o for n in step.region.nodes for o in (n.origin or (n.name,))))}")
    for value in first.region.inputs:
        w.line(f" *   in  {first.problem.view(value)}")
    for value in first.region.outputs:
        w.line(f" *   out {first.problem.view(value)}")
    if first.schedule:
        w.line(f" *   schedule {', '.join(f'{k} {v}' for k, v in first.schedule.items())}")
    w.line(f" *   {first.problem.cost.macs} multiply-adds, {first.problem.bytes_moved} bytes")
    w.line(f" *   predicted {(first.considered[0].predicted_ns or 0.0) / 1e3:.1f} us */")
    return w.text()


def c_comment(text: str) -> str:
    """``text`` for a C comment: it neither ends it, nor begins another, nor forms trigraphs or continued lines."""
    printable = re.sub(r"[^\x20-\x7e]|\\", "?", text)
    return re.sub(r"\*(?=/)|/(?=\*)|\?(?=\?)", r"\g<0> ", printable)


def c_string(text: str) -> str:
    """``text`` as a C literal."""
    parts = []
    for byte in text.encode("utf-8", "replace"):
        c = chr(byte)
        parts.append(c if " " <= c <= "~" and c not in '"\\?' else f"\\{byte:03o}")
    return '"' + "".join(parts) + '"'


def _guarded(guard: str, text: str) -> str:
    return f"#ifndef {guard}\n#define {guard}\n\n{text}\n#endif\n"


def _kernel_header(plan: Plan, functions: tuple[str, ...]) -> str:
    lines: dict[str, None] = {}
    for step, function in zip(plan.steps, functions, strict=True):
        signatures = (SIGNATURE, PREPARE_SIGNATURE) if step.code.prepared_bytes else (SIGNATURE,)
        lines.update(dict.fromkeys(f"{s.replace('@NAME@', function)};" for s in signatures))
    return _guarded("ES_KERNELS_H", "#include <stdint.h>\n\n" + "\n".join(lines) + "\n")


def _context_parts(plan: Plan, prepared_bytes: int) -> tuple[int, int]:
    """What a context without threads consists of: pointers and bytes, the latter a multiple of the alignment."""
    pointers = FIXED_POINTERS + max(len(plan.graph.inputs), 1) + max(len(plan.graph.outputs), 1)
    return pointers, sum(aligned(n) if n else 0 for n in (plan.arena.nbytes, prepared_bytes, plan.scratch_bytes))


def _context_macro(plan: Plan, name: str, prepared_bytes: int) -> str:
    """The size of a context as a constant, for static memory; empty where programs ask for it."""
    if not plan.target.is_bare:
        return ""
    pointers, nbytes = _context_parts(plan, prepared_bytes)
    return (
        "/* Memory of one context, as context_bytes(1) tells it; aligned to ES_ALIGNMENT. */\n"
        f"#define {name.upper()}_CONTEXT_BYTES (({pointers} * sizeof(void *) + 63) / 64 * 64 + {nbytes})\n\n"
    )


def quantization_macros(graph: Graph, name: str, quantizations: Mapping[str, Quantization]) -> str:
    """Scale and zero point of inputs and outputs that are integers, for the header."""
    lines = []
    for kind, values in (("INPUT", graph.inputs), ("OUTPUT", graph.outputs)):
        for i, value in enumerate(values):
            if value in quantizations:
                known, prefix = quantizations[value], f"{name.upper()}_{kind}_{i}"
                lines += [
                    f"#define {prefix}_SCALE {float(known.scale)!r}f /* {c_comment(value)} */",
                    f"#define {prefix}_ZERO_POINT ({known.zero})",
                ]
    if not lines:
        return ""
    return "\n".join(["/* An integer stands for (integer - zero point) * scale. */", *lines]) + "\n\n"


def _context_check(plan: Plan, name: str) -> str:
    if not plan.target.is_bare:
        return ""
    size = "(sizeof(es_context) + ES_ALIGNMENT - 1) / ES_ALIGNMENT * ES_ALIGNMENT"
    size += " + ARENA_BYTES + PREPARED_BYTES + SCRATCH_BYTES"
    return f"\ntypedef char context_has_the_declared_size[{name.upper()}_CONTEXT_BYTES >= {size} ? 1 : -1];\n"


MODEL_FUNCTIONS = (
    "int32_t @_abi_version(void);",
    "const char *@_version(void);",
    "int32_t @_input_count(void);",
    "const es_tensor_info *@_input(int32_t i);",
    "int32_t @_output_count(void);",
    "const es_tensor_info *@_output(int32_t i);",
    "int32_t @_step_count(void);",
    "const es_step_info *@_step(int32_t i);",
    "size_t @_context_bytes(int32_t workers);",
    "es_context *@_init(void *memory, size_t bytes, int32_t workers, es_parallel_for parallel_for, void *pool);",
    "void @_prepare(es_context *context);",
    "int32_t @_bind(es_context *context, const void *const *inputs, void *const *outputs);",
    "int32_t @_run(es_context *context, const void *const *inputs, void *const *outputs);",
    "int32_t @_run_steps(es_context *context, int32_t begin, int32_t end);",
    "int32_t @_value_count(void);",
    "const es_value_info *@_value(int32_t i);",
    "void *@_arena(es_context *context);",
)
"""What every model declares; ``@`` is its name."""


def public_header(
    name: str, macro: str = "", functions: Sequence[str] = MODEL_FUNCTIONS, is_variant: bool = False
) -> str:
    """The header of a model.

    Args:
        macro: further text.
        is_variant: it is called from its own program alone, and lies in a folder below the public header's.
    """
    body = "\n".join(("" if is_variant else "ES_API ") + f.replace("@", name) for f in functions)
    abi = "../es_abi.h" if is_variant else "es_abi.h"
    return _guarded(
        f"{name.upper()}_H",
        f'#include "{abi}"\n\n{macro}#ifdef __cplusplus\nextern "C" {{\n#endif\n\n{body}\n\n'
        "#ifdef __cplusplus\n}\n#endif\n",
    )


@dataclass(frozen=True)
class _Tables:
    """What the step table refers to.

    Args:
        operands: space and offset of each operand of each step.
        first: position of each step's first operand, and in the end the number of all.
        costs: name of the table for each list of task costs.
        expansions: weights that ``prepare`` expands: where they lie, where they go, elements, kind of the encoding.
        sparse: those of which only what is not zero is stored: where they lie, where they go, ``SparseEncoded.fields``.
    """

    operands: tuple[tuple[int, int], ...]
    first: tuple[int, ...]
    costs: Mapping[tuple[int, ...], str]
    expansions: tuple[tuple[int, int, int, int], ...]
    sparse: tuple[tuple[int, ...], ...]
    prepared_bytes: int


def _tables(plan: Plan, weights: Weights) -> _Tables:
    operands: list[tuple[int, int]] = []
    first = [0]
    costs: dict[tuple[int, ...], str] = {}
    expanded: dict[tuple[int, int, int], int] = {}
    filled: dict[tuple[tuple[int, ...], ...], int] = {}
    prepared_bytes = 0
    for step in plan.steps:
        operands += [operand_address(plan, v) for v in (*step.region.inputs, *step.region.outputs)]
        for array in step.code.constants:
            short = None if plan.target.is_bare else encode(array)
            stored_bytes = array.nbytes if short is None else short.data.nbytes
            runs = () if plan.target.is_bare else encode_sparse(array, stored_bytes)
            if runs:
                rows = tuple((weights.add(r.data), r.nbytes, *r.fields) for r in runs)
                if rows not in filled:
                    filled[rows] = prepared_bytes
                    prepared_bytes += aligned(array.nbytes)
                operands.append((Space.PREPARED, filled[rows]))
                continue
            if short is None:
                operands.append((Space.WEIGHTS, weights.add(array)))
                continue
            key = weights.add(short.data), short.count, short.kind
            if key not in expanded:
                expanded[key] = prepared_bytes
                prepared_bytes += aligned(short.nbytes)
            operands.append((Space.PREPARED, expanded[key]))
        if step.code.prepared_bytes:
            operands.append((Space.PREPARED, prepared_bytes))
            prepared_bytes += aligned(step.code.prepared_bytes)
        first.append(len(operands))
        if step.code.task_costs:
            assert len(step.code.task_costs) == step.code.tasks and min(step.code.task_costs) > 0
            costs.setdefault(step.code.task_costs, f"costs_{len(costs)}")
    expansions = tuple((at, to, count, kind) for (at, count, kind), to in expanded.items())
    sparse = tuple(
        (at, to + start, *fields)
        for rows, to in filled.items()
        for (at, _, *fields), start in zip(rows, accumulate((r[1] for r in rows), initial=0), strict=False)
    )
    return _Tables(tuple(operands), tuple(first), costs, expansions, sparse, prepared_bytes)


def _cost_tables(costs: Mapping[tuple[int, ...], str]) -> list[str]:
    def sums(values: tuple[int, ...]) -> str:
        unit = sum(values) // MAX_TOTAL_COST + 1
        return ", ".join(map(str, accumulate((-(-v // unit) for v in values), initial=0)))

    return [f"static const int32_t {name}[] = {{{sums(values)}}};" for values, name in costs.items()]


def _expansions(tables: _Tables) -> list[str]:
    """The weights that are stored in fewer bits than they have in memory, and what expands them."""
    if not tables.expansions and not tables.sparse:
        return ["#define EXPAND_WEIGHTS(weights, prepared) (void)(prepared)", ""]
    lines, loops = [DECODER], []
    if tables.sparse:
        lines[0] += SPARSE_DECODER
        lines += ["static const sparse_expansion sparse_expansions[] = {", *_rows(tables.sparse), "};", ""]
        loops.append(_loop("sparse_expansions", "expand_sparse"))
    if tables.expansions:
        lines += ["static const expansion expansions[] = {", *_rows(tables.expansions), "};", ""]
        loops.append(_loop("expansions", "expand"))
    return [*lines, f"#define EXPAND_WEIGHTS(weights, prepared) {'; '.join(loops)}", ""]


def _rows(rows: Sequence[Sequence[int]]) -> list[str]:
    return [f"    {{{', '.join(map(str, row))}}}," for row in rows]


def _loop(table: str, function: str) -> str:
    """C text of a loop that calls a function for each row of a table."""
    loop = f"for (size_t i = 0; i < sizeof {table} / sizeof {table}[0]; ++i)"
    return f"{loop} {function}(&{table}[i], weights, prepared)"


def _step_rows(plan: Plan, functions: tuple[str, ...], tables: _Tables) -> list[str]:
    rows = []
    for step, function, first, last in zip(plan.steps, functions, tables.first, tables.first[1:], strict=False):
        code = step.code
        prepare = f"{function}_prepare" if code.prepared_bytes else "NULL"
        costs = tables.costs[code.task_costs] if code.task_costs else "NULL"
        rows.append(f"    {{{function}, {prepare}, {costs}, {first}, {last - first}, {code.tasks}, {step.workers}}},")
    return rows or ["    {NULL, NULL, NULL, 0, 0, 0, 0},"]


def operand_address(plan: Plan, value: str) -> tuple[int, int]:
    """(space, byte offset) of a value's first element; for inputs and outputs the space is 16 x index + space."""
    place = plan.places[value]
    buffer = plan.buffers[place.root]
    shift = place.view.offset * place.view.dtype.itemsize
    if buffer.space in (Space.INPUT, Space.OUTPUT):
        return 16 * buffer.at + int(buffer.space), shift
    return int(buffer.space), buffer.at + shift


def _tensor_infos(kind: str, values: tuple[str, ...], types: Mapping[str, TensorType]) -> list[str]:
    lines = []
    rows = []
    for i, value in enumerate(values):
        t = types[value]
        shape = "NULL"
        if t.rank:
            shape = f"{kind}_shape_{i}"
            lines.append(f"static const int64_t {shape}[] = {{{', '.join(map(str, t.shape))}}};")
        rows.append(f"    {{{c_string(value)}, {t.dtype.value}, {t.rank}, {shape}, {t.nbytes}}},")
    rows = rows or ["    {NULL, 0, 0, NULL, 0},"]
    return [*lines, f"static const es_tensor_info {kind}s[] = {{", *rows, "};", ""]


def _memory_map(plan: Plan) -> list[str]:
    lines = [
        f"/* Arena: {plan.arena.nbytes} bytes. The largest set of buffers alive at one step needs",
        f" * {plan.arena.lower_bound}; all buffers side by side would need {plan.arena.naive}.",
        " *",
        " *     offset      bytes  value",
    ]
    rows = sorted((b.at, v, b.nbytes) for v, b in plan.buffers.items() if b.space is Space.ARENA)
    lines += [f" * {at:10} {nbytes:10}  {c_comment(value)}" for at, value, nbytes in rows]
    return [*lines, " */"]


def _value_rows(plan: Plan) -> list[str]:
    """Every intermediate value with its address and strides, so that a tool can read and write it between steps."""
    rows, lines = [], []
    for i, (value, place) in enumerate(sorted(plan.places.items())):
        space, at = operand_address(plan, value) if place.root in plan.buffers else (-1, 0)
        if space < 0:
            continue
        view = place.view
        shape = strides = "NULL"
        if view.rank:
            shape, strides = f"value_shape_{i}", f"value_strides_{i}"
            lines.append(f"static const int64_t {shape}[] = {{{', '.join(map(str, view.shape))}}};")
            lines.append(f"static const int64_t {strides}[] = {{{', '.join(map(str, view.strides))}}};")
        rows.append(f"    {{{c_string(value)}, {view.dtype.value}, {view.rank}, {shape}, {strides}, {space}, {at}}},")
    return [*lines, "static const es_value_info values[] = {", *rows, "};"]


def _model_source(
    plan: Plan, name: str, version: str, functions: tuple[str, ...], tables: _Tables, weights: str
) -> str:
    graph = plan.graph
    n_in, n_out = len(graph.inputs), len(graph.outputs)
    lines = [
        f"/* {c_comment(graph.name)}: {len(plan.steps)} steps for {plan.target}. Generated by Edgesmith {version}. */",
        f'#include "{name}.h"',
        '#include "es_kernels.h"',
        "",
        f"enum {{ INPUTS = {n_in}, OUTPUTS = {n_out}, STEPS = {len(plan.steps)}, MAX_OPERANDS = "
        f"{max((b - a for a, b in pairwise(tables.first)), default=1)} }};",
        f"#define ARENA_BYTES ((size_t){plan.arena.nbytes})",
        f"#define SCRATCH_BYTES ((size_t){plan.scratch_bytes})",
        f"#define PREPARED_BYTES ((size_t){tables.prepared_bytes})",
        "",
        *_memory_map(plan),
        "",
        f"extern const unsigned char {weights}[];",
        "",
        *_tensor_infos("input", graph.inputs, graph.types),
        *_tensor_infos("output", graph.outputs, graph.types),
        "typedef void (*kernel_function)(void *const *p, int32_t begin, int32_t end, void *scratch);",
        "",
        "typedef struct {",
        "    int32_t space; /* 0 arena, 1 weights, 2 prepared, 3 + 16 i input i, 4 + 16 i output i */",
        "    size_t offset;",
        "} operand;",
        "",
        "typedef void (*prepare_function)(void *const *p);",
        "",
        "typedef struct {",
        "    kernel_function function;",
        "    prepare_function prepare; /* fills the last operand; NULL: nothing to prepare */",
        "    const int32_t *costs; /* of all tasks before each task, and of all; NULL: tasks cost the same */",
        "    int32_t first_operand, operand_count, tasks;",
        "    int32_t workers; /* most that share it; what is too short for more is not handed over */",
        "} step;",
        "",
        "static const operand operands[] = {",
        *(f"    {{{space}, {offset}}}," for space, offset in tables.operands or ((0, 0),)),
        "};",
        "",
        *_cost_tables(tables.costs),
        *_expansions(tables),
        "static const step steps[] = {",
        *_step_rows(plan, functions, tables),
        "};",
        "",
        "static const es_step_info step_infos[] = {",
        *(
            f"    {{{c_string(s.name)}, {c_string(s.kernel.name)}, {s.code.tasks}, INT64_C({s.problem.cost.macs}), "
            f"INT64_C({s.problem.bytes_moved})}},"
            for s in plan.steps
        ),
        *([] if plan.steps else ["    {NULL, NULL, 0, 0, 0},"]),
        "};",
        "",
        *_value_rows(plan),
        "",
    ]
    body = (resources.files("edgesmith.codegen") / "templates" / "model_body.c").read_text()
    text = "\n".join(lines) + body.replace("@WEIGHTS@", weights).replace("@NAME@", name).replace(
        "@VERSION@", c_string(version)
    )
    return text + _context_check(plan, name)
