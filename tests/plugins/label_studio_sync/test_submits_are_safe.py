"""Two people submit while orders are pushed, switched and cleaned up: nobody's work is refused or slowed down much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.bench_sync import push_under_load
from bench.sync_lab import make_lab
from plugins.demo.platform import Platform
from plugins.label_studio_sync.pull import pull

pytestmark = [pytest.mark.ls, pytest.mark.slow]


def test_submits_during_push_switch_and_clean_up(platform: Platform, tmp_path: Path) -> None:
    lab = make_lab(platform, tmp_path, 500, lock_hours=1e-9)
    idle, busy, statuses, _, cleaned = push_under_load(lab)
    print(f"p95 idle {np.percentile(idle, 95):.3f} s, busy {np.percentile(busy, 95):.3f} s, {len(idle)} and {len(busy)} submits")
    assert set(statuses) == {201}
    assert len(busy) >= 20
    assert cleaned > 0
    assert np.percentile(busy, 95) <= 3 * np.percentile(idle, 95)
    pull(lab.workspace, lab.client)
    numbers = [number for _, held in lab.client.predictions(lab.project) for number in held]
    assert len(numbers) == len(set(numbers))
    lab.client.close()
    lab.workspace.store.close()
