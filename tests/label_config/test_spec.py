import textwrap
from pathlib import Path

import pytest

from label_config.settings.frame_rules import FrameName, FrameRules
from label_config.settings.learning_settings import ScoreSettings
from label_config.settings.spec import Spec, load_spec
from label_config.values import BadInputError

FULL = """
schema_version: 1
label_studio: {url: "http://localhost:8080/", project: 3}
skeleton: my/animal.yaml
views: [A, B]
recordings:
  - sequence: trial1
    calibration: calib.toml
    views:
      A: videos/a.mp4
      B: {source: videos/a.mp4, crop: [0, 0, 320, 240], flip: true, rotation: 90, time_offset_s: -0.5}
    stop: 300
frames: {sequence: trial, index: {key: image, pattern: "f(\\\\d+)"}}
train: {lr: 1e-3, input_px: 96, weights: ./w.safetensors}
scores: {mc: 2}
"""


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LABEL_STUDIO_API_KEY", "PARALLAX_SECRET", "PARALLAX_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


def written(folder: Path, text: str) -> Path:
    path = folder / "parallax.yaml"
    path.write_text(textwrap.dedent(text))
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(BadInputError) as caught:
        load_spec(written(folder, text))
    return str(caught.value)


def test_an_empty_file_gives_the_defaults_next_to_it(tmp_path: Path) -> None:
    spec = load_spec(written(tmp_path, ""))
    assert spec.folder == tmp_path
    assert spec.store == f"sqlite:///{tmp_path}/.parallax/parallax.sqlite3"
    assert spec.models == f"{tmp_path}/.parallax/models"
    assert spec.cache.folder == f"{tmp_path}/.parallax/cache"
    assert spec.label_studio.token is None
    assert spec.selection.window == 500
    assert spec.stop_labels_loss == 0.10


def test_paths_are_relative_to_the_file_and_short_forms_expand(tmp_path: Path) -> None:
    spec = load_spec(written(tmp_path, FULL))
    (recording,) = spec.recordings
    assert spec.label_studio.url == "http://localhost:8080"
    assert spec.skeleton == f"{tmp_path}/my/animal.yaml"
    assert recording.calibration == f"{tmp_path}/calib.toml"
    assert recording.views["A"].source == f"{tmp_path}/videos/a.mp4"
    assert recording.views["B"].crop == (0, 0, 320, 240)
    assert recording.views["B"].time_offset_s == -0.5
    assert spec.train.input_px == (96, 96)
    assert spec.train.lr == 1e-3
    assert spec.train.weights == f"{tmp_path}/w.safetensors"
    assert spec.scores == {"mc": ScoreSettings(weight=2.0)}


def test_addresses_hub_names_and_skeleton_names_stay_as_they_are(tmp_path: Path) -> None:
    spec = load_spec(
        written(
            tmp_path,
            """
            store: postgresql+psycopg://db/parallax
            skeleton: coco17
            train: {weights: microsoft/resnet-18}
            recordings: [{sequence: s, views: {A: "https://host/a.mp4"}}]
            """,
        )
    )
    assert spec.store == "postgresql+psycopg://db/parallax"
    assert spec.skeleton == "coco17"
    assert spec.train.weights == "microsoft/resnet-18"
    assert spec.recordings[0].views["A"].source == "https://host/a.mp4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: {weight_decy: 1}", ["train.weight_decy", "unknown key", "did you mean 'weight_decay'"]),
        ("lable_studio: {}", ["lable_studio", "did you mean 'label_studio'"]),
        ("label_studio: {tokn: x}", ["label_studio.tokn", "did you mean 'token'"]),
        ("recordings: [{sequence: s, views: {A: {source: a, flp: true}}}]", ["recordings.0.views.A.flp", "did you mean 'flip'"]),
        ("frames: {index: {regex: x}}", ["frames.index.regex", "unknown key"]),
        ("train: {batch: 0}", ["train.batch", "greater than or equal to 1", "got 0"]),
        ("scores: {mc: -1}", ["scores.mc", "got -1"]),
        ("scores: best", ["scores", "'auto'"]),
        ("schema_version: 2", ["schema_version", "expected 1", "got 2", "CHANGELOG"]),
        ("[1, 2]", ["top level", "list"]),
        ("train: [", ["not valid YAML"]),
        ("train: {lr: 1}\ntrain: {}", ["'train' is given twice", "line 2"]),
        ("label_studio: {url: ftp://x}", ["label_studio.url", "http://localhost:8080"]),
        ("label_studio: {url: 'http://user:pass@x'}", ["label_studio.url", "without user or password"]),
        ("store: parallax.sqlite3", ["store", "sqlite:///"]),
        ("frames: {index: {pattern: '\\d+'}}", ["frames.index.pattern", "exactly one group", "got 0"]),
        ("frames: {index: {pattern: '('}}", ["frames.index.pattern", "not a regular expression"]),
        ("frames: {index: {}}", ["frames.index", "neither"]),
        ("recordings: [{sequence: ../x, views: {A: a}}]", ["recordings.0.sequence", "folder"]),
        ("recordings: [{sequence: x, views: {}}]", ["recordings.0", "at least one view"]),
        ("recordings: [{sequence: x, views: {A: a}, start: 5, stop: 5}]", ["stop > start"]),
        ("recordings: [{sequence: x, views: {A: a}}, {sequence: x, views: {A: b}}]", ["each sequence", "repeated: x"]),
        ("views: [A]\nrecordings: [{sequence: x, views: {C: a}}]", ["x: C not in views: A"]),
        ("views: [A, A]", ["views", "different camera names"]),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, expected: list[str]) -> None:
    message = refusal(tmp_path, text)
    assert "parallax.yaml" in message
    for part in expected:
        assert part in message


def test_every_wrong_place_is_reported_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, "train: {batch: 0, lr: -1}\ncachee: {}")
    assert message.count("\n") == 3
    assert refusal(tmp_path, "scores: {mc: -1}").count("\n") == 1  # and no place twice


def test_a_missing_file_is_a_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"nowhere\.yaml"):
        load_spec(tmp_path / "nowhere.yaml")


def test_secrets_come_from_the_environment_and_are_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "from-environment")
    monkeypatch.setenv("PARALLAX_REDIS_URL", "redis://:pass-word@localhost/0")
    spec = load_spec(written(tmp_path, "backend: {secret: from-file}\ntrain: {batch: 4}"))
    assert spec.label_studio.token is not None
    assert spec.label_studio.token.get_secret_value() == "from-environment"
    assert spec.redis is not None
    assert spec.redis.get_secret_value() == "redis://:pass-word@localhost/0"
    shown = repr(spec)
    for word in ("from-environment", "from-file", "pass-word"):
        assert word not in shown


def test_the_file_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "other")
    spec = load_spec(written(tmp_path, "label_studio: {token: mine}"))
    assert spec.label_studio.token is not None
    assert spec.label_studio.token.get_secret_value() == "mine"


def test_a_spec_is_immutable() -> None:
    with pytest.raises(Exception, match="frozen"):
        Spec().train.batch = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("rules", "data", "expected"),
    [
        ({"sequence": "trial", "index": "n"}, {"trial": "t1", "n": 12}, FrameName("t1", 12, None)),
        (
            {"sequence": {"key": "image", "pattern": r"/(s\d+)/"}, "index": {"key": "image", "pattern": r"_(\d+)\.png$"}},
            {"image": "/data/s3/img_00042.png"},
            FrameName("s3", 42, None),
        ),
        (
            {"view": {"pattern": r"(cam[A-D])"}},
            {"n": 3, "x": "none", "pic": "/h/camB/1.jpg"},
            FrameName(None, None, "camB"),
        ),
        ({"index": "n", "view": "camera"}, {"n": "12a", "camera": None}, FrameName(None, None, None)),
        ({"index": {"key": "p", "pattern": r"f(\d*)"}}, {"p": "f"}, FrameName(None, None, None)),
        ({"sequence": {"key": "p", "pattern": r"f(\d*)"}}, {"p": "f"}, FrameName(None, None, None)),
        ({"sequence": "flag"}, {"flag": True}, FrameName(None, None, None)),
        ({}, {"a": "b"}, FrameName(None, None, None)),
    ],
)
def test_frame_rules_read_task_data(rules: dict[str, object], data: dict[str, object], expected: FrameName) -> None:
    found = FrameRules.model_validate(rules).read(data)
    assert FrameName(found.sequence, found.index, found.view) == expected
