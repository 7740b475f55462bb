from pathlib import Path

import pytest
import yaml

from label_config.settings.skeleton_files import built_in_skeletons, draft_skeleton, load_skeleton, skeleton_to_mapping
from label_config.values import BadInputError
from label_config.values.skeleton import DEFAULT_SIGMA


def pairs_of(labels: list[str]) -> set[tuple[str, str]]:
    skeleton = draft_skeleton(labels)
    return {(skeleton.keypoints[a], skeleton.keypoints[b]) for a, b in skeleton.pairs}


@pytest.mark.parametrize(("name", "count", "limbs", "pairs"), [("coco17", 17, 16, 8), ("hand21", 21, 20, 0)])
def test_built_in_skeletons_are_trees_that_reach_every_keypoint(name: str, count: int, limbs: int, pairs: int) -> None:
    skeleton = load_skeleton(name)
    assert (len(skeleton), len(skeleton.limbs), len(skeleton.pairs)) == (count, limbs, pairs)
    # a forest of n nodes with n - 1 edges is one tree; the only node without a parent must be the root
    assert set(range(count)) - {child for _, child in skeleton.limbs} == {skeleton.root}
    assert DEFAULT_SIGMA not in skeleton.sigmas


@pytest.mark.parametrize(
    ("name", "first", "last", "head", "unknown"),
    [
        ("mpii16", "right_ankle", "left_wrist", ("head_top", "upper_neck"), {"pelvis", "thorax", "upper_neck"}),
        ("lsp14", "right_ankle", "head_top", ("head_top", "neck"), {"neck"}),
        ("posetrack15", "nose", "right_ankle", ("head_top", "head_bottom"), set()),
        ("jrdb17", "head", "left_foot", None, {"head", "center_shoulder", "center_hip"}),
        ("h36m17", "root", "right_wrist", ("head", "neck_base"), {"root", "spine", "thorax", "neck_base", "head"}),
        ("panoptic19", "neck", "right_ear", None, {"neck", "body_center"}),
    ],
)
def test_skeletons_of_data_sets(name: str, first: str, last: str, head: tuple[str, str] | None, unknown: set[str]) -> None:
    skeleton = load_skeleton(name)
    assert len(skeleton) == int(name[-2:])
    assert (skeleton.keypoints[0], skeleton.keypoints[-1]) == (first, last)
    assert set(range(len(skeleton))) - {child for _, child in skeleton.limbs} == {skeleton.root}
    assert skeleton.head == (head and (skeleton.index[head[0]], skeleton.index[head[1]]))
    assert skeleton.torso == (skeleton.index["left_shoulder"], skeleton.index["right_hip"])
    assert {k for k, sigma in zip(skeleton.keypoints, skeleton.sigmas, strict=True) if sigma == DEFAULT_SIGMA} == unknown
    coco = load_skeleton("coco17")
    for keypoint in set(skeleton.keypoints) & set(coco.keypoints):
        assert skeleton.sigmas[skeleton.index[keypoint]] == coco.sigmas[coco.index[keypoint]]
    paired = {skeleton.keypoints[k] for pair in skeleton.pairs for k in pair}
    assert paired == {k for k in skeleton.keypoints if k.startswith(("left_", "right_"))}


def test_units_of_pck_survive_a_draft_and_are_refused_for_unknown_keypoints() -> None:
    assert draft_skeleton(["RightHip", "LeftShoulder", "Nose"]).torso == (1, 0)
    assert draft_skeleton(["LeftShoulder", "Nose"]).torso is None
    with pytest.raises(BadInputError, match="head: 'c'"):
        load_skeleton({"keypoints": ["a", "b"], "head": ["a", "c"]})


def test_coco_sigmas_are_the_published_ones() -> None:
    skeleton = load_skeleton("coco17")
    assert skeleton.sigmas[skeleton.index["nose"]] == 0.026
    assert skeleton.sigmas[skeleton.index["right_hip"]] == 0.107
    assert sum(skeleton.sigmas) == pytest.approx(0.026 + 2 * (0.025 + 0.035 + 0.079 + 0.072 + 0.062 + 0.107 + 0.087 + 0.089))


@pytest.mark.parametrize("name", built_in_skeletons())
def test_mapping_round_trip(name: str, tmp_path: Path) -> None:
    skeleton = load_skeleton(name)
    path = tmp_path / "copy.yaml"
    path.write_text(yaml.safe_dump(skeleton_to_mapping(skeleton)))
    assert load_skeleton(path) == skeleton
    assert load_skeleton(str(path)) == skeleton


def test_a_small_file_gets_defaults_and_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "mouse.yaml"
    path.write_text("keypoints: [nose, tail]\nsigmas: {tail: 0.1}\n")
    skeleton = load_skeleton(path)
    assert (skeleton.name, skeleton.root, skeleton.limbs) == ("mouse", 0, ())
    assert skeleton.sigmas == (DEFAULT_SIGMA, 0.1)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("coco71", ["coco17", "coco71", "did you mean"]),
        ("nowhere/x.yaml", ["nowhere/x.yaml"]),
        ({}, ["keypoints", "required"]),
        ({"keypoints": ["a"], "limb": []}, ["limb: unknown key", "'limbs'"]),
        ({"keypoints": ["a", "b"], "limbs": [["a", "c"]]}, ["'c' is not a keypoint"]),
        ({"keypoints": ["a", "b"], "root": "c"}, ["root: 'c'"]),
        ({"keypoints": ["a", "b"], "sigmas": {"c": 1}}, ["sigmas: 'c'"]),
        ({"keypoints": ["a", "b"], "sigmas": {"a": 0}}, ["sigmas.a", "greater than 0"]),
        ({"keypoints": ["a", "a"]}, ["unique", "a"]),
        ({"keypoints": []}, ["at least one keypoint"]),
        ({"keypoints": ["a", "b"], "limbs": [["a", "b"], ["b", "a"]]}, ["cycle"]),
    ],
)
def test_a_bad_skeleton_says_what_is_wrong(source: str | dict[str, object], expected: list[str]) -> None:
    with pytest.raises(BadInputError) as caught:
        load_skeleton(source)
    for part in expected:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["left_knee", "right_knee", "nose"], {("left_knee", "right_knee")}),
        (["RightEar", "LeftEar"], {("LeftEar", "RightEar")}),
        (["paw left", "paw right"], {("paw left", "paw right")}),
        (["l_paw", "r_paw", "tail"], {("l_paw", "r_paw")}),
        (["ear_L", "ear_R"], {("ear_L", "ear_R")}),
        (["L1A", "L1B", "R1A", "R1B"], {("L1A", "R1A"), ("L1B", "R1B")}),
        (["LKnee", "RKnee"], {("LKnee", "RKnee")}),
        (["kneeL", "kneeR"], {("kneeL", "kneeR")}),
        (["lwrist", "rwrist"], {("lwrist", "rwrist")}),
        (["left_left", "right_left"], {("left_left", "right_left")}),
        (["left_L", "right_L", "left_R"], {("left_L", "right_L")}),  # each keypoint in one pair at most
        (["LEFT", "RIGHT"], {("LEFT", "RIGHT")}),
        (["left_knee", "right_hip", "tail", "l", "lip", "rip"], set()),  # no mirror image, or too short to mean a side
    ],
)
def test_pairs_are_guessed_from_names(labels: list[str], expected: set[tuple[str, str]]) -> None:
    assert pairs_of(labels) == expected


def test_a_draft_of_known_names_takes_limbs_and_sigmas_over() -> None:
    coco = load_skeleton("coco17")
    labels = [" ".join(reversed(name.split("_"))).title() for name in coco.keypoints]  # "Eye Left"
    draft = draft_skeleton(labels)
    assert draft.limbs == tuple(sorted(coco.limbs, key=lambda limb: limb[1]))
    assert (draft.root, draft.sigmas, draft.pairs) == (coco.root, coco.sigmas, coco.pairs)


def test_a_missing_joint_is_bridged() -> None:
    draft = draft_skeleton(["l_hip", "l_ankle", "l_shoulder", "l_wrist"])
    names = draft.keypoints
    assert {(names[a], names[b]) for a, b in draft.limbs} == {
        ("l_hip", "l_ankle"),
        ("l_hip", "l_shoulder"),
        ("l_shoulder", "l_wrist"),
    }


def test_a_draft_of_unknown_names_has_no_limbs() -> None:
    draft = draft_skeleton(["nose", "left_ear", "right_ear", "tail"])
    assert (draft.limbs, draft.root, set(draft.sigmas)) == ((), 0, {DEFAULT_SIGMA})
