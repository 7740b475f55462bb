"""The live tests on other releases of Label Studio: ``python -m tests.matrix PROGRAM…``, as ``make test-matrix`` runs it.

PROGRAM is the path of ``label-studio`` in an environment of its own.  Every release gets the covering set: all that Parallax
asks of the server.  Left out is what tries Parallax itself while the server only stands behind it: bad lines, processes that
are killed, the demo, the browser.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SYNC = "tests/plugins/label_studio_sync"
COVERING = (
    "tests/adoption",
    f"{SYNC}/test_adopting_and_leaving.py",
    f"{SYNC}/test_cleaning_up.py",
    f"{SYNC}/test_doctor_findings.py",
    f"{SYNC}/test_every_task_is_reached.py",
    f"{SYNC}/test_half_done_work.py",
    f"{SYNC}/test_label_renamed.py",
    f"{SYNC}/test_labels_that_exist.py",
    f"{SYNC}/test_labels_there_and_back.py",
    f"{SYNC}/test_marks_and_reasons.py",
    f"{SYNC}/test_pictures_of_all_kinds.py",
    f"{SYNC}/test_pulling_labels.py",
    f"{SYNC}/test_served_order.py",
    f"{SYNC}/test_tasks_change.py",
)


def main() -> int:
    """Run the covering set on every release, one after the other; 0 when it passed on all."""
    failed = []
    for program in map(Path, sys.argv[1:]):
        print(f"== {program}", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-m", "ls and not slow", *COVERING]
        environment = {**os.environ, "PARALLAX_LABEL_STUDIO": str(program.absolute())}
        if subprocess.run(command, env=environment, cwd=ROOT).returncode:
            failed.append(str(program))
    print(f"failed on {', '.join(failed)}" if failed else f"passed on {', '.join(sys.argv[1:])}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
