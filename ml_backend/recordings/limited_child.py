"""Files whose libraries may exhaust memory, hang or crash are read by a child process with limits: it costs the child.

    arrays = read_limited("ml_backend.formats.h5_child:read_tables", path)

The function named there gets the path and returns numbers, strings, lists and mappings (anything that JSON can say) with
numpy arrays among the values of the mapping on top.  Its module is imported before memory is limited, so what the
libraries need themselves does not count.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import mmap
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import BadInputError

#: Address space that reading may take on top of what the program and its libraries need.
MEMORY_BYTES = 1536 * 2**20
#: A reader that takes longer hangs.
SECONDS = 60.0


def read_limited(function: str, path: Path, *, memory_bytes: int = MEMORY_BYTES, seconds: float = SECONDS) -> dict[str, Any]:
    """What ``function`` ("module:name") returns for ``path``.

    Raises BadInputError naming the file: with the function's own words for what it raised, else with what became of the child.
    """
    request = json.dumps({"path": sys.path, "function": function, "file": str(path.resolve()), "memory": memory_bytes})
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    # Imported by its name, which the parent's own path finds: the child reads its settings from nowhere else.
    program = "import json, sys; r = json.load(sys.stdin); sys.path[:] = r['path']; "
    program += "from ml_backend.recordings.limited_child import serve; serve(r)"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-W", "ignore", "-c", program],
            input=request.encode(),
            capture_output=True,
            timeout=seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadInputError(f"{path}: cannot be read: still no end after {seconds:.0f} s; the file is damaged or huge") from None
    if done.returncode or not done.stdout:
        why = f"the reader ended with status {done.returncode}{_last_line(done.stderr)}"
        raise BadInputError(
            f"{path}: cannot be read: {why}; the file is damaged, or larger than {memory_bytes >> 20} MiB in memory"
        )
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as answer:
        found: dict[str, Any] = json.loads(str(answer["json"]))
        arrays = {name.removeprefix("array:"): answer[name] for name in answer.files if name.startswith("array:")}
    if "error" in found:
        raise BadInputError(f"{path}: {found['error']}")
    return {**found["value"], **arrays}


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return f" ({lines[-1][:300]})" if lines else ""


def serve(request: dict[str, Any]) -> None:
    """The child: one function, one file, one answer on standard output."""
    output = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    module, name = request["function"].split(":")
    try:
        function = getattr(importlib.import_module(module), name)
        _limit(request["memory"])
        value = function(Path(request["file"]))
        arrays: dict[str, Any] = {f"array:{key}": item for key, item in value.items() if isinstance(item, np.ndarray)}
        rest: dict[str, Any] = {"value": {key: item for key, item in value.items() if not isinstance(item, np.ndarray)}}
    except BaseException as error:  # whatever a library makes of a damaged file
        words = str(error) or type(error).__name__
        arrays, rest = {}, {"error": words if isinstance(error, BadInputError) else f"cannot be read ({words[:500]})"}
    answer = io.BytesIO()
    np.savez(answer, json=np.array(json.dumps(rest)), **arrays)
    with os.fdopen(output, "wb") as pipe:
        pipe.write(answer.getvalue())


def _limit(allowance: int) -> None:
    """Where the system knows how large this process is, that and the allowance is all it may grow to."""
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * mmap.PAGESIZE + allowance
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
