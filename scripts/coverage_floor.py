"""Whether the tests reach enough of every file of the integration: 95 % of the lines, of dialogs and repairs all.

Reads what `pytest --cov` has left in $COVERAGE_FILE; fails with the lines that no test reaches.
"""

from __future__ import annotations

import sys
from pathlib import Path

from coverage import Coverage

FLOOR = 0.95
WHOLE = ("config_flow.py", "discovery_flow.py", "subentry_flow.py", "repairs.py")


def gaps(coverage: Coverage) -> list[str]:
    """Return a line for each file that is below its floor."""
    found = []
    for name in sorted(coverage.get_data().measured_files()):
        path, lines, _, missing, where = coverage.analysis2(name)
        floor = 1.0 if Path(path).name in WHOLE else FLOOR
        if len(lines) - len(missing) < floor * len(lines):
            found.append(f"{Path(path).name}: tests do not reach the lines {where}")
    return found


def main() -> int:
    """Print the gaps; return 1 if there are any, or if nothing was measured."""
    coverage = Coverage()
    coverage.load()
    if not coverage.get_data().measured_files():
        print("coverage: nothing was measured", file=sys.stderr)
        return 1
    found = gaps(coverage)
    for gap in found:
        print(gap, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
