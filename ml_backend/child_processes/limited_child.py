"""Files whose libraries may exhaust memory, hang or crash are read by a child process with limits: it costs the child.

    arrays = read_limited("ml_backend.formats.dlc_h5:read", path)

The function named there gets the path and returns numbers, strings, lists and mappings (anything that JSON can say) with
numpy arrays among the values of the mapping on top.  Its module is imported before memory is limited, so what the
libraries need themselves does not count.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import BadInputError
from label_config.values.errors import LabelFileError
from ml_backend.child_processes.memory_limit import limit_memory

#: Address space that reading may take on top of what the program and its libraries need, and more for each byte of the file.
MEMORY_BYTES, MEMORY_PER_BYTE = 1536 * 2**20, 8
#: A reader that works longer hangs, in seconds of CPU time; a larger file may take a second more for so many bytes.
CPU_S, BYTES_PER_S = 10.0, 2**20
#: So much more time may pass in all, on a machine that is busy with other things.
SECONDS = 60.0


def read_limited(
    function: str,
    path: Path,
    *,
    error: type[BadInputError] = LabelFileError,
    memory_bytes: int = MEMORY_BYTES,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """What ``function`` ("module:name") returns for ``path``.  The limits grow with the size of the file or folder.

    Raises ``error`` naming the file: with the function's own words for what it raised, else with what became of the child.
    """
    size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.glob("*")) if file.is_file())
    memory_bytes, cpu_s = memory_bytes + MEMORY_PER_BYTE * size, CPU_S + size / BYTES_PER_S
    seconds += cpu_s - CPU_S
    request = json.dumps(
        {"path": sys.path, "function": function, "file": str(path.resolve()), "memory": memory_bytes, "cpu_s": cpu_s}
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    # Imported by its name, which the parent's own path finds: the child reads its settings from nowhere else.
    program = "import json, sys; r = json.load(sys.stdin); sys.path[:] = r['path']; "
    program += "from ml_backend.child_processes.limited_child import serve; serve(r)"
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
        raise error(f"{path}: cannot be read: still no end after {seconds:.0f} s; the file is damaged or huge") from None
    if done.returncode == -signal.SIGPROF:
        raise error(f"{path}: cannot be read: still no end after {cpu_s:.0f} s of work; the file is damaged")
    if done.returncode or not done.stdout:
        why = f"the reader ended with status {done.returncode}{_last_line(done.stderr)}"
        raise error(f"{path}: cannot be read: {why}; the file is damaged, or larger than {memory_bytes >> 20} MiB in memory")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as answer:
        found: dict[str, Any] = json.loads(str(answer["json"]))
        arrays = {name.removeprefix("array:"): answer[name] for name in answer.files if name.startswith("array:")}
    if "error" in found:
        raise error(f"{path}: {found['error']}")
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
        limit_memory(request["memory"])
        signal.setitimer(signal.ITIMER_PROF, request["cpu_s"])
        value = function(Path(request["file"]))
        arrays: dict[str, Any] = {f"array:{key}": item for key, item in value.items() if isinstance(item, np.ndarray)}
        rest: dict[str, Any] = {"value": {key: item for key, item in value.items() if not isinstance(item, np.ndarray)}}
    except BaseException as problem:  # whatever a library makes of a damaged file
        words = str(problem) or type(problem).__name__
        arrays, rest = {}, {"error": words if isinstance(problem, BadInputError) else f"cannot be read ({words[:500]})"}
    answer = io.BytesIO()
    np.savez(answer, json=np.array(json.dumps(rest)), **arrays)
    with os.fdopen(output, "wb") as pipe:
        pipe.write(answer.getvalue())
