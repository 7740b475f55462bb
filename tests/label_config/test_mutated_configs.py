"""Damaged parallax.yaml, skeleton files and labelling configs: a value or a ParallaxError, never anything else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.settings.skeleton_files import load_skeleton
from label_config.settings.spec import load_spec
from label_config.settings.yaml_files import UniqueKeyLoader, parse_yaml
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


ALIAS_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
NOT_YAML = {
    "a list in a list, 3,000 deep": ("- " * 3000 + "a", "values are nested deeper than 100"),
    "a mapping in a mapping, 2,000 deep": ("\n".join(" " * i + "a:" for i in range(2000)), "values are nested deeper than 100"),
    "a number of 4,301 digits": (f"label_studio: {{project: {'9' * 4301}}}", "a whole number is beyond 2^63"),
    "a hexadecimal number of 6,000 digits": (f"schema_version: 0x{'f' * 6000}", "a whole number is beyond 2^63"),
    "a number in minutes and seconds": (f"schema_version: {'1:' * 3000}1", "a whole number is beyond 2^63"),
    "aliases of aliases": (ALIAS_BOMB + "skeleton: *a8\n", "more than 200,000 values"),
    "half a character": ('views: ["\\ud800"]', "characters that are no text"),
    "a zero byte": ('store: "sqlite:///a\\0b"', "characters that are no text"),
    "a list as a key": ("? [a, b]\n: 1", "unhashable key"),
    "a number of a project that no database holds": ("label_studio: {project: 4294967296}", "label_studio.project"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", NOT_YAML)
def test_yaml_that_nobody_writes_is_one_sentence(name: str, tmp_path: Path) -> None:
    text, words = NOT_YAML[name]
    (tmp_path / "parallax.yaml").write_text(text)
    with pytest.raises(BadInputError, match=re.escape(words)) as caught:
        load_spec(tmp_path / "parallax.yaml")
    assert len(str(caught.value)) < 600


def test_ten_thousand_keys_cost_no_more_than_ten_times_a_thousand(tmp_path: Path) -> None:
    """Counted in comparisons of keys, not in seconds."""
    asked = 0

    class Counted(str):
        def __eq__(self, other: object) -> bool:
            nonlocal asked
            asked += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    class Loader(UniqueKeyLoader):
        pass

    def counted(loader: Loader, node: yaml.ScalarNode) -> Counted:
        return Counted(loader.construct_scalar(node))

    Loader.add_constructor("tag:yaml.org,2002:str", counted)
    parse_yaml("".join(f"k{i}: v\n" for i in range(5000)), "many keys", loader=Loader)
    assert asked < 50_000


def test_a_thousand_problems_are_not_all_listed(tmp_path: Path) -> None:
    (tmp_path / "parallax.yaml").write_text("".join(f"k{i}: 1\n" for i in range(1000)))
    with pytest.raises(BadInputError, match=r"… and 970 more"):
        load_spec(tmp_path / "parallax.yaml")


CONTROLS = '<Image name="i" value="$i"/><KeyPointLabels name="k" toName="i">{}</KeyPointLabels>'
LABEL = '<Label value="a"/>'
NOT_A_CONFIG = {
    "3,000 deep": ("<View>" * 3000 + CONTROLS.format(LABEL) + "</View>" * 3000, "nested at most 100 deep"),
    "repeaters, 3,000 deep": ("<Repeater>" * 3000 + "</Repeater>" * 3000, "nested at most 100 deep"),
    "20,000 tags": (f"<View>{CONTROLS.format(LABEL * 20_000)}</View>", "at most 10,000 tags"),
    "2,000 labels": (
        "<View>" + CONTROLS.format("".join(f'<Label value="a{i}"/>' for i in range(2000))) + "</View>",
        "at most 1000 keypoints",
    ),
    "501 pictures": (
        "<View>"
        + "".join(
            f'<Image name="i{i}" value="$i{i}"/><KeyPointLabels name="k{i}" toName="i{i}">{LABEL}</KeyPointLabels>'
            for i in range(501)
        )
        + "</View>",
        "at most 500 pictures",
    ),
    "half a character": ("<View>\ud800</View>", "expected plain XML"),
}


@pytest.mark.parametrize("name", NOT_A_CONFIG)
def test_a_labelling_config_that_nobody_writes_is_one_sentence(name: str) -> None:
    xml, words = NOT_A_CONFIG[name]
    with pytest.raises(BadInputError, match=words) as caught:
        bind(xml, None)
    assert len(str(caught.value)) < 600
