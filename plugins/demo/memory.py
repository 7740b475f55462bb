"""Peak memory of the processes under ``parallax up``."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil


class PeakMemory:
    """Watches a process and its children; the peak is the kernel's own (VmHWM) where it says so."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak_mb: dict[str, float] = {}
        threading.Thread(target=self._watch, name="peak memory", daemon=True).start()

    def _watch(self) -> None:
        while psutil.pid_exists(self.pid):
            try:
                top = psutil.Process(self.pid)
                for process in [top, *top.children(recursive=True)]:
                    name = _role(process)
                    self.peak_mb[name] = max(self.peak_mb.get(name, 0.0), _peak_mb(process))
            except psutil.Error:
                pass  # it ended between two looks
            time.sleep(1.0)


def _role(process: psutil.Process) -> str:
    words = process.cmdline()
    for role in ("serve", "sync", "up"):
        if role in words:
            return role
    if "--queues" in words:
        return f"worker {words[words.index('--queues') + 1]}"
    if any("decoding_child" in word for word in words):
        return "decoder"
    return str(process.name())


def _peak_mb(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return float(process.memory_info().rss) / 2**20
