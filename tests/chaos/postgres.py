"""A PostgreSQL that may be killed and started again at the same address, with what it had written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from plugins.cli.processes.ports import free_port
from tests.chaos.harness import wait_until
from tests.conftest import postgres_programs


class KillablePostgres:
    """``folder`` must be reachable for the user ``postgres``; ``host`` is the address that it listens on."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", inside: tuple[str, ...] = ()) -> None:
        programs = postgres_programs()
        assert programs is not None
        self.programs, self.folder, self.host, self.port = programs, folder, host, free_port()
        self.inside = inside  #: words before the command, as ``ip netns exec NAME``
        self.as_user: tuple[str, ...] = ()
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
            self.as_user = ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups")
        options = ["-U", "parallax", "-A", "trust", "-E", "UTF8", "--no-sync"]
        make = [*self.as_user, str(programs / "initdb"), "-D", str(folder / "data"), *options]
        subprocess.run(make, check=True, capture_output=True, cwd="/")
        with (folder / "data/pg_hba.conf").open("a") as file:
            file.write("host all all 10.0.0.0/8 trust\n")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As ``store`` in parallax.yaml names it."""
        return f"postgresql+psycopg://parallax@{self.host}:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [*self.inside, *self.as_user, str(self.programs / "postgres"), "-D", str(self.folder / "data")]
        command += ["-p", str(self.port), "-k", str(self.folder), "-c", f"listen_addresses={self.host}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True)
        wait_until("PostgreSQL answers", self._answers, 60, lambda: (self.folder / "log").read_text()[-2000:])

    def _answers(self) -> bool:
        command = [str(self.programs / "pg_isready"), "-h", str(self.folder), "-p", str(self.port), "-t", "1"]
        return subprocess.run(command, capture_output=True).returncode == 0

    def kill(self) -> None:
        """SIGKILL to all of its processes: as if the machine had lost its power, but for the disk's cache."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGQUIT)
            self.process.wait(timeout=30)
