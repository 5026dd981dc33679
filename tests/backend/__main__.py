"""``python -m tests.backend [TARGET] [OPERATOR ...]``: runs the node tests and prints their numbers by operator."""

from __future__ import annotations

import sys

from .cases import node_cases
from .running import Status, run_cases
from .table import table


def main(target: str = "portable", *operators: str) -> None:
    cases = node_cases()
    outcomes = run_cases([case for op in operators or cases for case in cases[op]], target)
    print("\n".join(table([(o.case.op_type, o.status.value) for o in outcomes])))
    for o in outcomes:
        if o.status in (Status.FAILED, Status.AS_ORACLE):
            print(f"\n{o.case.name}: {o.status.value}\n{o.why}")


if __name__ == "__main__":
    main(*sys.argv[1:])
