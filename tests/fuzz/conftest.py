"""Say in the end how much was tried."""

from __future__ import annotations

from typing import Any

from fuzz import cases


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if cases.CASES != cases.USUAL and cases.COUNT:
        terminalreporter.write_line(f"fuzz: {sum(cases.COUNT.values()):,} cases")
        for name, count in sorted(cases.COUNT.items()):
            terminalreporter.write_line(f"  {count:7,} {name}")
