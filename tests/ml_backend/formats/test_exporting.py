"""Exports: names, places, states and pictures as the other tool's own reader finds them, and what is said to be lost."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, FrameKey, ImageRef, PointState
from label_config.values.skeleton import Skeleton
from ml_backend.formats.exporting import Export
from ml_backend.formats.format_registry import read_labels
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.formats.names import LabelFormat
from ml_backend.recordings import write_picture

U, V, H, A = PointState.UNLABELLED, PointState.VISIBLE, PointState.OCCLUDED, PointState.ABSENT
SKELETON = Skeleton("mouse", ("tail", "nose", "ear"), limbs=((0, 1), (1, 2)))
SIZE = (64, 48)


def label(
    image: ImageRef, states: Sequence[PointState], view: str, index: int = 42, people: tuple[str, ...] = ("zoe",)
) -> LabelledImage:
    xy = np.array([[10.25 + 7 * k + index % 5, 20.5 + 3 * k] for k in range(3)])
    state = np.array(states, dtype=np.int64)
    xy[~np.isin(state, (V, H))] = np.nan
    return LabelledImage(image, xy, state, view=view, key=FrameKey("run", index), people=people)


def videos() -> LabelSet:
    """Two cameras of which one began three frames earlier."""
    left, right = (ImageRef(f"/lab/{view}.mp4", frame, size_px=SIZE) for view, frame in (("left", 45), ("right", 42)))
    return LabelSet(SKELETON, (label(left, [V, H, A], "left"), label(right, [V, V, U], "right")))


def black_pictures(wanted: Sequence[tuple[ImageRef, Path]]) -> Mapping[Path, Exception]:
    for _, path in wanted:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), path)
    return {}


def export(labels: LabelSet, format: str, target: Path, *, pictures: bool = False, **more: Any) -> list[str]:
    return Export(labels, LabelFormat(format), target, black_pictures if pictures else None, **more).write()


def same(got: LabelSet, expected: LabelSet, *, lost: Sequence[PointState] = (), becomes: PointState = U) -> None:
    assert len(got.labels) == len(expected.labels)
    for a, b in zip(got.labels, expected.labels, strict=True):
        state = np.where(np.isin(b.state, lost), becomes, b.state)
        assert a.state.tolist() == state.tolist()
        np.testing.assert_allclose(a.xy_px, b.xy_px, atol=0.01, rtol=0)


def test_deeplabcut_has_a_table_per_video_and_the_camera_s_own_numbers(tmp_path: Path) -> None:
    import pandas as pd

    notes = export(videos(), "dlc", tmp_path / "p")
    assert notes == [
        "1 occluded points read as visible: the format has no word for them",
        "1 absent points read as not labelled: the format has no word for them",
    ]
    table = pd.read_csv(tmp_path / "p/labeled-data/left/CollectedData_zoe.csv", index_col=0, header=[0, 1, 2])
    assert table.index.tolist() == ["labeled-data/left/img000045.png"]
    assert table.columns.names == ["scorer", "bodyparts", "coords"]
    assert table["zoe"]["nose"]["x"].tolist() == [10.25 + 7 + 2]
    back = read_labels(tmp_path / "p")
    assert [item.image.source for item in back.labels] == ["labeled-data/left/img000045.png", "labeled-data/right/img000042.png"]
    assert {item.people for item in back.labels} == {("zoe",)}
    np.testing.assert_array_equal(back.labels[0].state, [V, V, U])


def test_a_deeplabcut_project_is_complete_for_deeplabcut(tmp_path: Path) -> None:
    """DeepLabCut merges ``labeled-data/<video>/CollectedData_<scorer>.h5`` over the videos and the scorer of ``config.yaml``."""
    import pandas as pd
    import yaml

    export(videos(), "dlc", tmp_path / "p", pictures=True)
    config = yaml.safe_load((tmp_path / "p/config.yaml").read_text())
    assert (config["bodyparts"], config["skeleton"]) == (["tail", "nose", "ear"], [["tail", "nose"], ["nose", "ear"]])
    assert (config["multianimalproject"], config["project_path"]) == (False, str(tmp_path / "p"))
    stems = [Path(video).stem for video in config["video_sets"]]
    tables = [pd.read_hdf(tmp_path / f"p/labeled-data/{stem}/CollectedData_{config['scorer']}.h5") for stem in stems]
    assert [table.index.tolist() for table in tables] == [
        [("labeled-data", "run_left", "img000045.png")],
        [("labeled-data", "run_right", "img000042.png")],
    ]
    assert tables[0]["zoe"]["nose"].to_numpy().tolist() == [[10.25 + 7 + 2, 23.5]]
    assert all((tmp_path / "p").joinpath(*table.index[0]).is_file() for table in tables)


def test_several_animals_are_individuals_of_the_deeplabcut_project(tmp_path: Path) -> None:
    import pandas as pd
    import yaml

    first = videos().labels[0]
    export(LabelSet(SKELETON, (first, replace(first, subject=1, xy_px=first.xy_px + 5))), "dlc", tmp_path / "p")
    config = yaml.safe_load((tmp_path / "p/config.yaml").read_text())
    assert (config["bodyparts"], config["multianimalbodyparts"]) == ("MULTI!", ["tail", "nose", "ear"])
    table = pd.read_hdf(tmp_path / "p/labeled-data/left/CollectedData_zoe.h5")
    assert table.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert list(table.columns.get_level_values("individuals").unique()) == config["individuals"] == ["individual1", "individual2"]
    assert table["zoe"]["individual2"]["nose"]["y"].tolist() == [28.5]


@pytest.mark.package
def test_ultralytics_checks_and_reads_the_data_set(tmp_path: Path) -> None:
    reason = "Ultralytics is not installed (its licence is the AGPL)"
    checks = pytest.importorskip("ultralytics.data.utils", reason=reason)
    dataset = pytest.importorskip("ultralytics.data.dataset", reason=reason)
    export(videos(), "yolo", tmp_path / "y", pictures=True)
    about = checks.check_det_dataset(str(tmp_path / "y/data.yaml"), autodownload=False)
    found = dataset.YOLODataset(img_path=about["train"], data=about, task="pose", augment=False, imgsz=64)
    assert (about["kpt_shape"], len(found)) == ([3, 3], 2)
    np.testing.assert_allclose(found.labels[0]["keypoints"][0, 0], [12.75 / 64, 21 / 48, 2], atol=1e-4)


@pytest.mark.package
def test_lightning_pose_parses_its_labels(tmp_path: Path) -> None:
    parser = pytest.importorskip("lightning_pose.utils.io", reason="Lightning Pose is not installed (gigabytes of packages)")
    export(videos(), "lightning-pose", tmp_path / "lp")
    found = parser.parse_label_csv(str(tmp_path / "lp/left.csv"))
    assert (found.keypoint_names, found.visibility.tolist()) == (["tail", "nose", "ear"], [[2, 1, 1]])
    np.testing.assert_allclose(found.keypoints[0, :2], videos().labels[0].xy_px[:2], atol=1e-4)


def test_coco_loses_nothing_and_pycocotools_reads_it(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    assert export(videos(), "coco", tmp_path / "a.json") == []
    back = read_labels(tmp_path / "a.json")
    same(back, videos())
    assert [(item.view, item.key, item.people) for item in back.labels] == [
        ("left", FrameKey("run", 42), ("zoe",)),
        ("right", FrameKey("run", 42), ("zoe",)),
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "a.json"))
    assert [image["file_name"] for image in coco.imgs.values()] == [
        "labeled-data/left/img000045.png",
        "labeled-data/right/img000042.png",
    ]


def test_sleap_keeps_order_and_occlusion_and_sleap_io_reads_it(tmp_path: Path) -> None:
    import sleap_io

    notes = export(videos(), "sleap", tmp_path / "a.slp")
    assert notes == [
        "1 absent points read as not labelled: the format has no word for them",
        "who labelled is not written: the format has no place for it",
    ]
    whole = sleap_io.load_slp(str(tmp_path / "a.slp"), open_videos=False)
    assert [node.name for node in whole.skeletons[0].nodes] == ["tail", "nose", "ear"]
    assert {(frame.video.filename, int(frame.frame_idx)) for frame in whole.labeled_frames} == {
        ("/lab/left.mp4", 45),
        ("/lab/right.mp4", 42),
    }
    same(read_labels(tmp_path / "a.slp"), videos(), lost=[A])


def test_pictures_come_along(tmp_path: Path) -> None:
    export(videos(), "sleap", tmp_path / "s", pictures=True)
    names = [Path(item.image.source) for item in read_labels(tmp_path / "s/labels.slp").labels]
    assert names == [tmp_path / f"s/images/run_{view}/img0000{n}.png" for view, n in (("left", 45), ("right", 42))]
    assert all(path.is_file() for path in names)
    export(videos(), "yolo", tmp_path / "y", pictures=True)
    back = read_labels(tmp_path / "y")
    same(back, videos(), lost=[A])
    assert [item.image.source for item in back.labels] == ["images/run_left/img000045.png", "images/run_right/img000042.png"]
    with pytest.raises(BadInputError, match="expected --pictures"):
        export(videos(), "yolo", tmp_path / "z")


def test_lightning_pose_says_what_its_training_ignores(tmp_path: Path) -> None:
    (note,) = export(videos(), "lightning-pose", tmp_path / "lp")
    assert "1 occluded points keep their place, which Lightning Pose's training does not use" in note
    same(read_labels(tmp_path / "lp/left.csv"), LabelSet(SKELETON, videos().labels[:1]))
    assert export(videos(), "lightning-pose", tmp_path / "lp2", occluded_as_visible=True) == [
        "1 occluded points are written as visible"
    ]
    assert read_labels(tmp_path / "lp2/left.csv").labels[0].state.tolist() == [V, V, A]


def test_rows_of_lightning_pose_correspond(tmp_path: Path) -> None:
    left, right = videos().labels
    nobody = replace(right, state=np.zeros(3, dtype=np.int64), xy_px=np.full((3, 2), np.nan))
    export(LabelSet(SKELETON, (left, nobody)), "lightning-pose", tmp_path / "lp")
    rows = [(tmp_path / f"lp/{view}.csv").read_text().splitlines()[3:] for view in ("left", "right")]
    assert [len(of_view) for of_view in rows] == [1, 1]


def test_label_studio_s_import_keeps_states_and_people(tmp_path: Path) -> None:
    assert export(videos(), "label-studio", tmp_path / "t.json") == []
    back = read_labels(tmp_path / "t.json")
    by_view = {item.view: item for item in back.labels}
    for expected in videos().labels:
        got = by_view[expected.view]
        order = [back.skeleton.index[name] for name in SKELETON.keypoints if name in back.skeleton.index]
        np.testing.assert_allclose(got.xy_px[order][:2], expected.xy_px[:2], atol=0.01)
        assert got.people == ("zoe",)
    left = by_view["left"]
    assert [left.state[back.skeleton.index[name]] for name in SKELETON.keypoints] == [V, H, A]


def test_crops_are_written_in_the_pixels_of_the_picture_that_is_named(tmp_path: Path) -> None:
    picture = tmp_path / "run" / "img007.png"
    black_pictures([(ImageRef("x"), picture)])
    views = {"top": (0, 0, 64, 24), "bot": (0, 24, 64, 24)}
    both = tuple(
        label(ImageRef(str(picture), crop=crop, size_px=(64, 24), flip=view == "bot"), [V, V, U], view, 7)
        for view, crop in views.items()
    )
    export(LabelSet(SKELETON, both), "coco", tmp_path / "a.json")
    top, bottom = read_labels(tmp_path / "a.json").labels
    assert {top.image.source, bottom.image.source} == {"run/img007.png"}
    assert top.image.size_px == SIZE
    np.testing.assert_allclose(top.xy_px[0], both[0].xy_px[0])
    np.testing.assert_allclose(bottom.xy_px[0], [63 - both[1].xy_px[0, 0], both[1].xy_px[0, 1] + 24])
    export(LabelSet(SKELETON, both), "dlc", tmp_path / "d")
    joined = read_labels(tmp_path / "d")
    assert joined.skeleton.keypoints == tuple(f"{name}_{view}" for view in ("bot", "top") for name in SKELETON.keypoints)
    assert len(joined.labels) == 1


def test_addresses_and_folders_of_this_machine_are_no_names(tmp_path: Path) -> None:
    address = "http://ls:8080/data/local-files/?d=parallax/7/run/left/000042.jpg"
    pictures = (
        label(ImageRef(address, size_px=SIZE), [V, V, V], "left"),
        label(ImageRef("/home/me/a/cam/0.png", size_px=SIZE), [V, V, V], "right", 1),
        label(ImageRef("/home/me/b/cam/0.png", size_px=SIZE), [V, V, V], "right", 2),
    )
    export(LabelSet(SKELETON, pictures), "coco", tmp_path / "a.json")
    assert [item.image.source for item in read_labels(tmp_path / "a.json").labels] == [
        "run/left/000042.jpg",
        "a/cam/0.png",
        "b/cam/0.png",
    ]
    export(LabelSet(SKELETON, pictures[:1]), "label-studio", tmp_path / "t.json")
    assert read_labels(tmp_path / "t.json").labels[0].image.source == address


def test_several_people_have_one_name_in_tables_and_that_is_said(tmp_path: Path) -> None:
    left, right = videos().labels
    notes = export(LabelSet(SKELETON, (left, replace(right, people=("max",)))), "dlc", tmp_path / "d")
    assert "several people labelled; the format has one name, which is 'parallax'" in notes


HOSTILE = ["../../evil", "/nowhere/evil", "..", "a/../../../evil", "x\\..\\..\\evil", "e" * 400, ".", "C:evil"]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name)[:20])
@pytest.mark.parametrize("format", ["dlc", "lightning-pose", "yolo", "coco", "movement", "sleap"])
def test_names_of_a_project_never_lead_out_of_the_folder(format: str, name: str, tmp_path: Path) -> None:
    """Cameras are called as the labelling config says, recordings as tasks say."""
    target = tmp_path / "a" / "b" / "c" / "out"
    target.parent.mkdir(parents=True)
    given = [
        replace(label(ImageRef(f"{view}/img{i}.png", size_px=SIZE), [V, V, V], view, i), key=FrameKey(name, i))
        for view in (name, "right")
        for i in (1, 2)
    ]
    pictures = format in ("yolo", "coco", "sleap", "dlc")
    with contextlib.suppress(BadInputError):  # two pictures of one name, say
        export(LabelSet(SKELETON, tuple(given)), format, target, pictures=pictures)
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert [path for path in written if not path.is_relative_to(target)] == []
    assert not Path("/nowhere").exists()
