"""``make bench``: every benchmark in turn, each a ratio against a peer in the same run.

Give names to run only some: ``python -m bench triangulation peaks``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main(wanted: list[str]) -> int:
    """Each benchmark in a process of its own, so that peak memory is its own."""
    found = {path.stem.removeprefix("bench_"): path.stem for path in sorted(Path(__file__).parent.glob("bench_*.py"))}
    unknown = [name for name in wanted if name not in found]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(found)}", file=sys.stderr)
        return 2
    status = 0
    for name in wanted or found:
        print(f"\n## {name}\n", flush=True)
        status |= subprocess.run([sys.executable, "-m", f"bench.{found[name]}"], env={**os.environ, **THREADS}).returncode
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
