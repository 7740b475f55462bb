"""What is said about tracks that are wrong in known ways, and how it is drawn."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from label_config.values import ByteArray, Frame, FrameKey, ImageRef
from label_config.values.skeleton import Skeleton
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.recordings import ViewTransform
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.tracks.findings import bone_lengths, gaps, jumps, stretched, worst_frames
from ml_backend.tracks.findings_page import curve, page
from ml_backend.tracks.track_arrays import PictureState, Tracks
from ml_backend.tracks.video_of_points import drawn, render

N, SIZE = 60, (96, 96)


@pytest.fixture(scope="module")
def perfect() -> Tracks:
    """The studio's truth as its tracks, three cameras."""
    studio = CaptureStudio(seed=2, n_frames=N, n_views=3, size_px=SIZE, distractor=False)
    shape = (N, 3)
    return Tracks(
        sequence="walk <1>",
        skeleton=studio.skeleton,
        views=studio.rig.names,
        sources=("a.mp4", "b.mp4", "c.mp4"),
        index=np.arange(N),
        frame_of=np.tile(np.arange(N)[:, None], (1, 3)),
        n_frames=(N, N, N),
        times_s=np.arange(N) / 30,
        fps=30.0,
        xy_px=studio.truth_xy,
        confidence=np.ones((*shape, len(studio.skeleton))),
        state=np.full(shape, PictureState.PREDICTED, dtype=np.int64),
        transforms=(ViewTransform((0, 0, *SIZE)),) * 3,
        rig=studio.rig,
        world=triangulate_robust(studio.rig, studio.truth_xy),
    )


def spoiled(tracks: Tracks) -> Tracks:
    """Frame 20 has a wrong head in camera 1, frame 40 is unsure, and the pelvis is nowhere from 50 to 54."""
    xy, confidence = tracks.xy_px.copy(), tracks.confidence.copy()
    head, pelvis = tracks.skeleton.index["head"], tracks.skeleton.index["pelvis"]
    xy[20, 1, head] += 30
    xy[50:55, :, pelvis] = np.nan
    confidence[40] = 0.2
    assert tracks.rig is not None
    return replace(tracks, xy_px=xy, confidence=confidence, world=triangulate_robust(tracks.rig, xy))


def test_nothing_is_found_in_the_truth(perfect: Tracks) -> None:
    assert not jumps(perfect).any()
    assert gaps(perfect) == []
    lengths = bone_lengths(perfect)
    assert lengths is not None
    assert np.nanmax(stretched(lengths)) < 0.02  # its bones are rigid
    assert worst_frames(perfect) == []


def test_what_is_wrong_is_found_where_it_is(perfect: Tracks) -> None:
    tracks = spoiled(perfect)
    head, pelvis = tracks.skeleton.index["head"], tracks.skeleton.index["pelvis"]
    assert {tuple(at) for at in np.argwhere(jumps(tracks)).tolist()} == {(20, 1, head), (21, 1, head)}
    longest = gaps(tracks)[0]
    assert (longest.keypoint, longest.view, longest.first, longest.last) == (pelvis, None, 50, 54)
    worst = worst_frames(tracks)
    assert [item.at for item in worst[:2]] == [40, 20]
    assert worst[0].why == "80% unsure"
    assert "contradicted by other cameras" in worst[1].why


def test_the_page_stands_alone_and_names_are_escaped(perfect: Tracks) -> None:
    text = page(spoiled(perfect), "px-3", lambda sequence, index: f"http://ls/?task={index}&x" if index == 40 else None)
    assert '<a href="http://ls/?task=40&amp;x">40 (1.33 s)</a>' in text
    assert "walk &lt;1&gt;" in text
    assert "<1>" not in text
    assert "<script" not in text
    assert "Bone lengths over time, mm" in text
    assert not re.search(r'(?:src|href)="(?!http://ls/)', text)
    single = replace(perfect, rig=None, world=None)
    assert "Bone lengths" not in page(single, "px-3", lambda sequence, index: None)


def test_a_curve_of_many_frames_keeps_its_extremes_and_holes() -> None:
    values = np.zeros(100_000)
    values[50_000], values[70_000:80_000] = 1.0, np.nan
    line = curve(values, 0.0, 1.0)
    assert len(line) < 40_000
    assert " 0.0" in line  # the top
    assert line.count("M") == 2


def test_points_are_drawn_where_they_are(perfect: Tracks) -> None:
    one = replace(perfect, skeleton=Skeleton("one", ("a",)), views=("cam",), rig=None, world=None)
    one = replace(one, xy_px=np.full((1, 1, 1, 2), (30.0, 60.0)), confidence=np.ones((1, 1, 1)), index=np.arange(1))
    picture: ByteArray = np.zeros((96, 96, 3), dtype=np.uint8)
    tile = drawn(one, 0, 0, picture, 480)
    rows, columns = np.nonzero((tile[:400] == (90, 220, 110)).all(axis=-1))
    np.testing.assert_allclose((columns.mean(), rows.mean()), np.array([30.5, 60.5]) * 5 - 0.5, atol=0.5)


def test_a_video_of_cameras_of_which_one_has_no_picture(perfect: Tracks, tmp_path: Path) -> None:
    refs = [{"cam1": ImageRef("a", i, size_px=SIZE), "cam2": ImageRef("b", i, size_px=SIZE)} for i in range(4)]
    frames = [Frame(FrameKey("walk", i), of) for i, of in enumerate(refs)]
    grey: ByteArray = np.full((96, 96, 3), 128, dtype=np.uint8)
    render(perfect, frames, lambda wanted: ((i, grey) for i in range(len(wanted))), tmp_path / "v.mp4")
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].average_rate == 30
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [picture.shape for picture in pictures] == [(960, 960, 3)] * 4
    assert abs(int(pictures[0][100, 100, 0]) - 128) < 20
    assert pictures[0][600, 100].max() < 20  # the third camera
