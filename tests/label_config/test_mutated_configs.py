"""Damaged parallax.yaml, skeleton files and labelling configs: a value or a ParallaxError, never anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.settings.skeleton_files import load_skeleton
from label_config.settings.spec import load_spec
from label_config.values import BadInputError
from label_config.values.skeleton import Skeleton
from tests.campaign import Target, campaign

SKELETON = """name: mouse
keypoints: [nose, left_ear, right_ear, tail]
limbs: [[nose, left_ear], [nose, right_ear], [nose, tail]]
root: nose
pairs: [[left_ear, right_ear]]
sigmas: {nose: 0.026}
flip_augment: false
"""
SPEC = """schema_version: 1
label_studio: {url: "http://localhost:8080", project: 7}
skeleton: skeleton.yaml
views: [left, right]
recordings:
  - sequence: monday
    views:
      left: {source: left.mp4, crop: [0, 0, 64, 48], rotation: 90}
      right: {source: right.mp4, time_offset_s: 0.5, fps: 30}
    calibration: calibration.toml
    unit: mm
    stride: 2
cache: {max_megapixels: 80}
"""


def parallax_yaml(folder: Path) -> Target:
    (folder / "skeleton.yaml").write_text(SKELETON)
    (folder / "parallax.yaml").write_text(SPEC)
    return folder / "parallax.yaml", load_spec


def skeleton_yaml(folder: Path) -> Target:
    (folder / "skeleton.yaml").write_text(SKELETON)
    return folder / "skeleton.yaml", load_skeleton


def labelling_config(folder: Path) -> Target:
    skeleton = Skeleton("mouse", ("nose", "left_ear", "right_ear"))
    (folder / "config.xml").write_text(build_label_config(skeleton, ["left", "right"]))

    def read(path: Path) -> None:
        xml = path.read_bytes().decode(errors="replace")  # it comes as text, from Label Studio
        bind(xml, None)
        bind(xml, skeleton, views=["left", "right"])

    return folder / "config.xml", read


@pytest.mark.parametrize(
    "count", [200, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])], ids=["a few", "many"]
)
@pytest.mark.parametrize("name", ["parallax_yaml", "skeleton_yaml", "labelling_config"])
def test_damaged_configs_are_read_or_refused(name: str, count: int, tmp_path: Path) -> None:
    found = campaign(f"{__name__}:{name}", tmp_path, count)
    assert (found.problems, found.deaths) == ((), ())
    assert found.refused > count // 10


def test_an_unknown_key_with_brackets_is_named(tmp_path: Path) -> None:
    (tmp_path / "parallax.yaml").write_text("'views[': 1\n")
    with pytest.raises(BadInputError, match=r"views\[: unknown key; did you mean 'views'"):
        load_spec(tmp_path / "parallax.yaml")


def test_brackets_nested_beyond_reason_are_refused(tmp_path: Path) -> None:
    (tmp_path / "parallax.yaml").write_text("views: " + "[" * 100_000)
    with pytest.raises(BadInputError, match=r"brackets are nested deeper than 100"):
        load_spec(tmp_path / "parallax.yaml")
