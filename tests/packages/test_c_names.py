"""Names in C text: what a file defines for itself, and giving it other names."""

from __future__ import annotations

from edgesmith.packaging.c_names import file_scope_names, renamed

TEXT = """#include "step.h"
#include <step.h>
#define STEPS 3
#define _HIDDEN 1
enum { INPUTS = 1, OUTPUTS = 2, LAST };
typedef void (*kernel)(void *const *p, int step);
typedef struct {
    int offset;
} operand;
typedef int32_t number;
static const int64_t shape[] = {1, 2};
static int table[3][4] = {{0}};
ES_UNUSED static inline float es_exp_f32(const float x) { return x; }
static void run(void *arg, int count) {
    int local = 0;
    static const int inner[] = {1};
    (void)local;
}
void es_outer(void) { run("step run", 'r', step->run); } /* run */
"""


def test_file_scope_names() -> None:
    assert file_scope_names(TEXT) == {
        *("STEPS", "INPUTS", "OUTPUTS", "LAST", "kernel", "operand", "number", "shape", "table", "es_exp_f32", "run"),
    }


def test_renamed() -> None:
    other = renamed(TEXT, {"run": "walk", "step": "pace"})
    assert '#include "step.h"\n#include <step.h>\n' in other
    assert "static void walk(void *arg, int count)" in other
    assert """walk("step run", 'r', pace->walk)""" in other
    assert "typedef void (*kernel)(void *const *p, int pace);" in other
