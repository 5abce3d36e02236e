"""Runs the benchmarks named on the command line, or all: `scripts/bench [ingest] [projector] [sdk] [attribution] [peers]`.

Each prints what it measured and, where there is one, the ratio to the raw limit measured in the same run. Figures are
for reading, never for a test's verdict.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

NAMES = ("ingest", "projector", "sdk", "attribution", "peers")


def main(names: list[str]) -> int:
    """Run the benchmarks and return the exit code."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in names or NAMES:
        print(f"== {name}", flush=True)
        import_module(name).run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
