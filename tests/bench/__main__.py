"""Runs the benchmarks named on the command line, or all: `scripts/bench [ingest] [dedupe] [projector] …`.

Each prints what it measured and, where there is one, the ratio to the raw limit measured in the same run. Figures are
for reading, never for a test's verdict; the machine's load is printed before each, because beside other work they are
too low, and those that need two processors most of all.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

NAMES = ("ingest", "dedupe", "projector", "sdk", "attribution", "peers")


def main(names: list[str]) -> int:
    """Run the benchmarks and return the exit code."""
    if names[:1] == ["soak"]:
        import_module("soak").main(names[1:])
        return 0
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in names or NAMES:
        print(f"== {name}   ({machine_load()})", flush=True)
        import_module(name).run()
    return 0


def machine_load() -> str:
    """Return how busy the machine was in the last minute, and with how many processors."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
