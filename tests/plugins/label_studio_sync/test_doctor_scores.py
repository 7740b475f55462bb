"""What the doctor says of the scores that parallax.yaml names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from label_config.settings.learning_settings import ScoreSettings
from plugins.label_studio_sync.finding import Finding
from plugins.label_studio_sync.hop_checks import _scores
from tests.small_project import make_project


def test_scores_that_the_project_cannot_feed_are_named(tmp_path: Path) -> None:
    workspace = make_project(tmp_path)  # two views, a video, no calibration

    def findings(*names: str) -> list[Finding]:
        settings = {name: ScoreSettings() for name in names}
        return list(_scores(replace(workspace, spec=workspace.spec.model_copy(update={"scores": settings}))))

    assert list(_scores(workspace)) == []
    assert findings("tpc", "epipolar_residual", "least_confidence") == []
    (finding,) = findings("mc", "least_confidence")
    assert (finding.hop, finding.state) == ("scores", "warning")
    assert finding.seen == "'mc' says nothing: it needs calibrated cameras"
    assert "calibration" in finding.fix
    (unknown,) = findings("mcc")
    assert unknown.state == "error"
    assert "'mcc' is not a score" in unknown.seen
