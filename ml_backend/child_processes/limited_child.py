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
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import BadInputError
from label_config.values.errors import LabelFileError, SettingsError
from ml_backend.child_processes.child_environment import child_environment
from ml_backend.child_processes.memory_limit import limit_memory

#: Address space that reading may take on top of what the program and its libraries need, and more for each byte of the file.
MEMORY_BYTES, MEMORY_PER_BYTE = 1536 * 2**20, 8
#: A reader that works longer hangs, in seconds of CPU time; a larger file may take a second more for so many bytes.
CPU_S, BYTES_PER_S = 10.0, 2**20
#: So much more time may pass in all, on a machine that is busy with other things.
SECONDS = 60.0
#: A number by which a user multiplies all of these, for a whole file that needs more.
FACTOR_VARIABLE = "PARALLAX_READER_LIMITS"


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
    factor = _factor()
    memory_bytes, cpu_s = int(factor * (memory_bytes + MEMORY_PER_BYTE * size)), factor * (CPU_S + size / BYTES_PER_S)
    seconds = factor * (seconds + size / BYTES_PER_S)
    whose = f"the file is damaged or huge ({FACTOR_VARIABLE}={2 * factor:g} in the environment doubles the limits)"
    request = json.dumps(
        {"path": sys.path, "function": function, "file": str(path.resolve()), "memory": memory_bytes, "cpu_s": cpu_s}
    )
    # Imported by its name, which the parent's own path finds: the child reads its settings from nowhere else.
    program = "import json, sys; r = json.load(sys.stdin); sys.path[:] = r['path']; "
    program += "from ml_backend.child_processes.limited_child import serve; serve(r)"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-W", "ignore", "-c", program],
            input=request.encode(),
            capture_output=True,
            timeout=seconds,
            env=child_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise error(f"{path}: cannot be read: still no end after {seconds:.0f} s; {whose}") from None
    if done.returncode == -signal.SIGPROF:
        raise error(f"{path}: cannot be read: still no end after {cpu_s:.0f} s of work; {whose}")
    if done.returncode or not done.stdout:
        why = f"the reader ended with status {done.returncode}{_last_line(done.stderr)}"
        raise error(f"{path}: cannot be read: {why}, with {memory_bytes >> 20} MiB of memory; {whose}")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as answer:
        found: dict[str, Any] = json.loads(str(answer["json"]))
        arrays = {name.removeprefix("array:"): answer[name] for name in answer.files if name.startswith("array:")}
    if found.get("memory"):
        raise error(f"{path}: cannot be read in {memory_bytes >> 20} MiB of memory; {whose}")
    if "error" in found:
        raise error(f"{path}: {found['error']}")
    return {**found["value"], **arrays}


def _factor() -> float:
    text = os.environ.get(FACTOR_VARIABLE, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 1 <= factor <= 1000:
        raise SettingsError(f"{FACTOR_VARIABLE} in the environment: expected a number from 1 to 1000, got {text!r}")
    return factor


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
        said = words if isinstance(problem, BadInputError) else f"cannot be read ({words[:500]})"
        arrays, rest = {}, {"error": said, "memory": isinstance(problem, MemoryError)}
    answer = io.BytesIO()
    np.savez(answer, json=np.array(json.dumps(rest)), **arrays)
    with os.fdopen(output, "wb") as pipe:
        pipe.write(answer.getvalue())
