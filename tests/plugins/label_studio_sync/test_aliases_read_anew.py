"""A label that was renamed in Label Studio is mapped in parallax.yaml while everything runs."""

from __future__ import annotations

from pathlib import Path

from label_config.labelling.build_xml import build_label_config
from label_config.values.skeleton import Skeleton
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.config_watch import check_config
from tests.small_project import KEYPOINTS, VIEWS, write_spec


def test_an_alias_that_is_written_now_counts_at_the_next_look(workspace: Workspace, tmp_path: Path) -> None:
    renamed = build_label_config(Skeleton("mouse", ("snout", *KEYPOINTS[1:])), VIEWS)
    check_config(workspace, renamed)
    assert "'nose' has no label any more" in str(workspace.project.binding_problem)
    write_spec(tmp_path, more="aliases: {snout: nose}\n")
    check_config(workspace, renamed)
    assert workspace.project.binding_problem is None
    assert workspace.binding.views[0].label_of[KEYPOINTS.index("nose")].word == "snout"
    (tmp_path / "parallax.yaml").write_text("aliases: {snout: nos")
    check_config(workspace, renamed)
    assert workspace.project.binding_problem is None, "a file that is being edited is no mistake of the config"
