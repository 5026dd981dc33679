"""Shows the node tests' numbers by operator at the end of a run."""

from __future__ import annotations

import pytest

from .table import table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes = [
        (op, status)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for key, pairs in report.user_properties
        if key == "node_cases"
        for op, status in pairs
    ]
    if outcomes:
        terminalreporter.section("ONNX backend node tests")
        for line in table(outcomes):
            terminalreporter.write_line(line)
