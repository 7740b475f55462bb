"""Recordings whose truth is known, as arrays in memory: the capture studio, and two recordings labelled by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from label_config.values import BadInputError, BoolArray, ByteArray, FloatArray, FrameKey, IntArray
from label_config.values.atomic_files import replacing
from label_config.values.skeleton import Skeleton
from ml_backend.formats.dlc import read_dlc
from ml_backend.formats.label_records import LabelSet, split_views
from ml_backend.geometry.cameras import Rig
from ml_backend.heatmaps.crops import CropTransform, padded_box
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.shared_files import locked
from ml_backend.simulation.studio import CaptureStudio

#: Frames between pool and test of the capture studio, so that no test frame has a near copy in the pool.
GUARD_FRAMES = 60
#: Seeds of the takes behind a generic model start here, far from those of the recordings; every so many frames one is taken.
SOURCE_SEED, SOURCE_STRIDE = 100_000, 15
#: The test stretch is this many times longer than the frames taken from it; rare frames are taken more densely.
TEST_STRETCH, RARE_DENSITY = 10, 3
#: Several figures: whole pictures are so many times as wide and as high as the network's input, a standing figure has this share
#: of their height, a box so many pixels around its points; a figure is found where a camera shows this share of its keypoints.
PICTURE_SIDES, STANDING_SHARE, BOX_ROOM_PX, FOUND_SHARE = 2, 0.36, 3.0, 0.4
#: Row of the mirror recording's pictures where the side view ends and the view from below begins.
MIRROR_ROW = 168
#: Room around the true box of the mouse in the open field.
OPENFIELD_MARGIN = 1.8


@dataclass(frozen=True)
class TrueRecording:
    """m frames: those of the pool first, then those of the test.

    pictures  V arrays uint8 (m, h, w, 3), as the network sees them
    xy_px     (m, V, K, 2) truth in pixels of ``pictures``, NaN = not labelled
    scale     (m, V) pixels of the original picture per pixel of ``pictures``
    keys      (m,) in temporal order within the pool
    xyz       (m, K, 3) truth in world coordinates, None without a rig
    hidden    (m, V, K) the keypoint cannot be seen
    rare      (m,) part of a rare action; False throughout where nobody knows
    rare_share  share of rare frames in an unbiased test, for the mean error
    video     neighbours in ``keys`` are neighbours in time
    unseen    the same frames before cameras that nothing is trained on, None = no such cameras

    Of several figures m counts the poses: every figure of every frame is a row, and

    frame     (m,) place of the frame in ``pictures``, ascending; None = every row is a frame of its own
    subject   (m,) number of the figure
    box_px    (m, V, 4) x, y, width, height of the figure's box in each picture
    found     (m, V) a camera shows enough of the figure to find it; elsewhere nothing is predicted
    """

    skeleton: Skeleton
    pictures: tuple[ByteArray, ...]
    xy_px: FloatArray
    scale: FloatArray
    keys: tuple[FrameKey, ...]
    pool: IntArray
    test: IntArray
    rare: BoolArray
    rare_share: float
    hidden: BoolArray
    xyz: FloatArray | None = None
    rig: Rig | None = None
    video: bool = False
    unseen: TrueRecording | None = None
    frame: IntArray | None = None
    subject: IntArray | None = None
    box_px: FloatArray | None = None
    found: BoolArray | None = None

    @property
    def frame_of(self) -> IntArray:
        """(m,) place of every row's frame in ``pictures``."""
        return np.arange(len(self.keys)) if self.frame is None else self.frame

    def count_frames(self, rows: IntArray) -> int:
        """How many frames these rows are of."""
        return len(np.unique(self.frame_of[rows]))

    def rows_of(self, frames: IntArray) -> IntArray:
        """All rows of these frames, ascending."""
        return np.flatnonzero(np.isin(self.frame_of, frames))

    @property
    def size_px(self) -> FloatArray:
        """(V, 2) width and height."""
        return np.array([[p.shape[2], p.shape[1]] for p in self.pictures], dtype=np.float64)

    @property
    def unit(self) -> str:
        """Unit of the errors."""
        return "px" if self.rig is None else self.rig.unit


def load_recording(design: Design, seed: int, cache: Path, data: Path | None) -> TrueRecording:
    """The recording of one seed.

    Every seed is another take of the studio (motion, cameras, room), or another split of a labelled recording in ``data``.
    """
    if design.dataset == "studio":
        return _studio(design, seed, cache) if design.figures == 1 else _studio_of_several(design, seed, cache)
    if data is None or not (data / design.dataset).is_dir():
        where = "no folder of recordings was given" if data is None else f"there is no folder {design.dataset} in {data}"
        raise BadInputError(
            f"experiment: expected the labelled recording {design.dataset}, but {where}; give the folder that holds it "
            "with --data or PARALLAX_DATA, or take the dataset studio, which is rendered"
        )
    folder = data / design.dataset
    build = _mirror_mouse if design.dataset == "lp_mirror_mouse" else _openfield
    return build(design, seed, folder)


def _studio(design: Design, seed: int, cache: Path) -> TrueRecording:
    stretch, cameras = TEST_STRETCH * design.test_frames, design.views + design.unseen_views
    studio = CaptureStudio(
        seed=seed,
        n_frames=design.pool_frames + GUARD_FRAMES + stretch,
        n_views=cameras,
        size_px=design.input_px,
        rare_fraction=design.rare_fraction,
    )
    after = np.arange(design.pool_frames + GUARD_FRAMES, studio.n_frames)
    number = np.concatenate([np.arange(design.pool_frames), _spread(after, studio.rare[after], design.test_frames)])
    pictures = _rendered(studio, number, cache)
    m = len(number)
    whole = TrueRecording(
        skeleton=studio.skeleton,
        pictures=pictures,
        xy_px=studio.truth_xy[number],
        scale=np.ones((m, cameras)),
        keys=tuple(studio.frames[i] for i in number),
        pool=np.arange(design.pool_frames),
        test=np.arange(design.pool_frames, m),
        rare=studio.rare[number],
        rare_share=float(studio.rare[after].mean()),
        hidden=studio.occluded[number] if design.annotator_px else np.zeros((m, cameras, len(studio.skeleton)), np.bool_),
        xyz=studio.truth_xyz[number],
        rig=studio.rig if design.views > 1 else None,  # one view has no 3-D error
        video=True,
    )
    if not design.unseen_views:
        return whole
    # Evenly among the others, so that both sets stand around the subject.
    away = {int((i + 0.5) * cameras / design.unseen_views) for i in range(design.unseen_views)}
    return replace(_by_cameras(whole, sorted(set(range(cameras)) - away)), unseen=_by_cameras(whole, sorted(away)))


def _studio_of_several(design: Design, seed: int, cache: Path) -> TrueRecording:
    """Several figures that cross and hide one another; the network sees each in its box."""
    stretch = TEST_STRETCH * design.test_frames
    w, h = design.input_px
    studio = CaptureStudio(
        seed=seed,
        n_frames=design.pool_frames + GUARD_FRAMES + stretch,
        n_views=design.views,
        size_px=(PICTURE_SIDES * w, PICTURE_SIDES * h),
        rare_fraction=design.rare_fraction,
        fill=STANDING_SHARE,
        figures=design.figures,
    )
    after = np.arange(design.pool_frames + GUARD_FRAMES, studio.n_frames)
    number = np.concatenate([np.arange(design.pool_frames), _spread(after, studio.rare[after], design.test_frames)])
    frame, subject = np.nonzero(studio.present[number])
    there, xy = number[frame], studio.subjects_xy[number[frame], subject]
    hidden = studio.subjects_occluded[there, subject]
    low, high = xy.min(axis=2) - BOX_ROOM_PX, xy.max(axis=2) + BOX_ROOM_PX
    rare = studio.subjects_rare
    return TrueRecording(
        skeleton=studio.skeleton,
        pictures=_rendered(studio, number, cache),
        xy_px=xy,
        scale=np.ones(xy.shape[:2]),
        keys=tuple(studio.frames[i] for i in there),
        pool=np.flatnonzero(frame < design.pool_frames),
        test=np.flatnonzero(frame >= design.pool_frames),
        rare=rare[there, subject],
        rare_share=float(rare[after][studio.present[after]].mean()),
        hidden=hidden if design.annotator_px else np.zeros_like(hidden),
        xyz=studio.subjects_xyz[there, subject],
        rig=studio.rig if design.views > 1 else None,
        video=True,
        frame=frame,
        subject=subject,
        box_px=np.concatenate((low, high - low), axis=-1),
        found=np.asarray((studio.rig.inside(xy) & ~hidden).mean(axis=-1) >= FOUND_SHARE),
    )


def _by_cameras(recording: TrueRecording, views: Sequence[int]) -> TrueRecording:
    """The same frames before some of the cameras."""
    rig, chosen = recording.rig, list(views)
    return replace(
        recording,
        pictures=tuple(recording.pictures[view] for view in chosen),
        rig=None if rig is None else Rig(tuple(rig.cameras[view] for view in chosen), rig.unit),
        **{name: getattr(recording, name)[:, chosen] for name in ("xy_px", "scale", "hidden")},
    )


def source_takes(design: Design, seed: int, cache: Path) -> TrueRecording | None:
    """The takes that the generic model is trained on, all frames as one pool; None without them.

    Every seed has takes of its own, in other rooms and before other cameras, so there is no common rig.
    """
    if not design.generic_takes:
        return None
    number = SOURCE_STRIDE * np.arange(design.generic_frames)
    takes = []
    for take in range(design.generic_takes):
        studio = CaptureStudio(
            seed=SOURCE_SEED + design.generic_takes * seed + take,
            n_frames=int(number[-1]) + 1,
            n_views=design.views,
            size_px=design.input_px,
            rare_fraction=design.rare_fraction,
        )
        takes.append((studio, _rendered(studio, number, cache)))
    m = design.generic_takes * design.generic_frames
    return TrueRecording(
        skeleton=takes[0][0].skeleton,
        pictures=tuple(np.concatenate([pixels[view] for _, pixels in takes]) for view in range(design.views)),
        xy_px=np.concatenate([studio.truth_xy[number] for studio, _ in takes]),
        scale=np.ones((m, design.views)),
        keys=tuple(FrameKey(f"take{take}", int(i)) for take in range(design.generic_takes) for i in number),
        pool=np.arange(m),
        test=np.zeros(0, np.int64),
        rare=np.concatenate([studio.rare[number] for studio, _ in takes]),
        rare_share=0.0,
        hidden=np.zeros((m, design.views, len(takes[0][0].skeleton)), np.bool_),
        xyz=np.concatenate([studio.truth_xyz[number] for studio, _ in takes]),
    )


def _spread(frames: IntArray, rare: BoolArray, count: int) -> IntArray:
    """``count`` of ``frames`` at even distances, rare ones RARE_DENSITY times as densely."""
    weight = np.where(rare, RARE_DENSITY, 1.0).cumsum()
    wanted = (np.arange(count) + 0.5) / count * weight[-1]
    return np.asarray(np.unique(frames[np.searchsorted(weight, wanted)]), dtype=np.int64)


def _rendered(studio: CaptureStudio, number: IntArray, cache: Path) -> tuple[ByteArray, ...]:
    """Drawn once per recording and kept in ``cache``; every process maps the same file."""
    w, h = studio.size_px
    several = f"-{studio.figures}figures" if studio.figures > 1 else ""
    name = f"studio{studio.seed}-{studio.n_views}x{w}x{h}-{len(number)}of{studio.n_frames}-{studio.rare_fraction:g}{several}.npy"
    path = cache / name
    with locked(path):
        if not path.exists():
            pixels = np.empty((studio.n_views, len(number), h, w, 3), dtype=np.uint8)
            for i, frame in enumerate(number):
                for view in range(studio.n_views):
                    pixels[view, i] = studio.render(int(frame), view)
            with replacing(path) as temporary:
                np.save(temporary, pixels)
    return tuple(np.load(path, mmap_mode="r"))


def _split(count: int, seed: int, test_share: float) -> tuple[IntArray, IntArray, IntArray]:
    """Order of the frames with the pool first, in temporal order; pool; test."""
    order = np.random.default_rng([seed, 7]).permutation(count)
    n_test = round(test_share * count)
    arranged = np.concatenate([np.sort(order[n_test:]), np.sort(order[:n_test])])
    return arranged, np.arange(count - n_test), np.arange(count - n_test, count)


def _mirror_mouse(design: Design, seed: int, folder: Path) -> TrueRecording:
    """Two views of one mouse in one picture, not calibrated; the seven body parts that both views show."""
    height, width = _read(folder, "labeled-data/img01.png").shape[:2]
    crops = {"top": (0, 0, width, MIRROR_ROW), "bot": (0, MIRROR_ROW, width, height - MIRROR_ROW)}
    labels = split_views(read_dlc(folder / "CollectedData.csv"), {"top": "_top", "bot": "_bot"}, crops)
    names = labels.skeleton.keypoints[:7]
    skeleton = Skeleton("mirror_mouse", names, root=names.index("tailBase"))
    xy = np.stack([label.xy_px[:7] for label in labels.labels]).reshape(-1, 2, 7, 2)
    images = [_read(folder, label.image.source) for label in labels.labels[::2]]
    parts = [[image[y : y + h, x : x + w] for image in images] for x, y, w, h in crops.values()]
    keys = [label.key for label in labels.labels[::2]]
    return _by_hand(skeleton, [np.stack(part) for part in parts], xy, np.ones((len(images), 2)), keys, seed, 30 / 90)


def _openfield(design: Design, seed: int, folder: Path) -> TrueRecording:
    """One view; the mouse is cut out by its true box, as top-down methods assume."""
    labels: LabelSet = read_dlc(folder / "labeled-data" / "m4s1" / "CollectedData_Pranav.csv")
    skeleton = Skeleton("openfield", labels.skeleton.keypoints, root=labels.skeleton.index["tailbase"])
    w, h = design.input_px
    pixels, points, scale = [], [], []
    for label in labels.labels:
        low, high = label.xy_px.min(axis=0), label.xy_px.max(axis=0)
        side = max(float((high - low).max()), 40.0)
        centre = (low + high) / 2
        box = padded_box((centre[0] - side / 2, centre[1] - side / 2, side, side), w / h, OPENFIELD_MARGIN)
        transform = CropTransform(box, (w, h), (w, h))
        pixels.append(transform.extract(_read(folder, label.image.source)))
        points.append(transform.image_to_input(label.xy_px))
        scale.append(box[2] / w)
    keys = [label.key for label in labels.labels]
    return _by_hand(skeleton, [np.stack(pixels)], np.stack(points)[:, None], np.array(scale)[:, None], keys, seed, 30 / 116)


def _by_hand(
    skeleton: Skeleton,
    pictures: list[ByteArray],
    xy: FloatArray,
    scale: FloatArray,
    keys: list[FrameKey | None],
    seed: int,
    test_share: float,
) -> TrueRecording:
    order, pool, test = _split(len(xy), seed, test_share)
    return TrueRecording(
        skeleton=skeleton,
        pictures=tuple(part[order] for part in pictures),
        xy_px=xy[order],
        scale=scale[order],
        keys=tuple(keys[i] or FrameKey("frames", int(i)) for i in order),
        pool=pool,
        test=test,
        rare=np.zeros(len(xy), dtype=np.bool_),
        rare_share=0.0,
        hidden=np.zeros(xy.shape[:3], dtype=np.bool_),
    )


def _read(folder: Path, source: str) -> ByteArray:
    image = cv2.imread(str(folder / source))
    if image is None:
        raise BadInputError(f"experiment: cannot read {folder / source}")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
