"""A pytest plugin: the summary line of the last of several runs counts the earlier ones too.

`scripts/test` runs pytest several times and names one file in `ZOE_TEST_TALLY`; each run writes there what it counted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

_COUNTED = ("passed", "failed", "error", "skipped", "xfailed", "xpassed", "deselected")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Count after everything but the last line is written: the reports of earlier runs have nothing else to show."""
    yield
    path = Path(os.environ["ZOE_TEST_TALLY"])
    text = path.read_text(encoding="utf-8")
    earlier: dict[str, int] = json.loads(text) if text else {}
    stats = terminalreporter.stats
    counts = {name: len(stats.get(name, ())) + earlier.get(name, 0) for name in _COUNTED}
    path.write_text(json.dumps(counts), encoding="utf-8")
    for name, count in earlier.items():
        if count:
            stats.setdefault(name, []).extend([_Counted()] * count)


class _Counted:
    """Stands for a report of an earlier run; pytest asks only whether it counts."""

    count_towards_summary = True
