"""Training crops: pictures are decoded once and kept as small patches; every draw is a function of its number."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from label_config.values import Box, ByteArray, Float32Array, FloatArray, ImageRef, IntArray, TrainingTarget
from label_config.values.errors import ModelError
from label_config.values.skeleton import Skeleton
from ml_backend.heatmaps.crops import CropTransform, box_around, padded_box
from ml_backend.pose.augment import Geometry, draw_geometry, headroom, photometric
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.heads import Head
from ml_backend.recordings import UnreadableImageError

log = logging.getLogger("parallax.pose")

LoadImage = Callable[[ImageRef], ByteArray]

#: Room around a subject's box, as a factor on its sides.
BOX_MARGIN = 1.25
#: Patches hold this many times the network's resolution, so that warping them again costs no sharpness.
PATCH_OVERSAMPLING = 1.25
#: Two looks are taken when a typical subject, margin included, fills less than this share of the picture's side …
SMALL_SUBJECT_SHARE = 0.6
#: … and the picture has this many times the network's resolution.
LARGE_PICTURE = 1.5

# Streams of random numbers; every generator is seeded by (seed, stream, position).
_ORDER, _SAMPLE = 1, 2

STILL = Geometry(0.0, 1.0, (0.0, 0.0), False)


@dataclass(frozen=True)
class Skipped:
    """A target that could not be used, and why."""

    image: ImageRef
    reason: str


@dataclass(frozen=True)
class Patch:
    """The part of a picture that all augmentations of one crop come from.

    pixels    uint8 (h, w, 3)
    box       the crop without augmentation, in patch pixels
    xy        (K, 2) keypoints in patch pixels
    to_image  image pixels per patch pixel
    """

    pixels: ByteArray
    box: Box
    xy: FloatArray
    to_image: float


@dataclass(frozen=True)
class Batch:
    """crops uint8 (n, h, w, 3); target and weight as the head encodes them; xy_hm (n, K, 2); px_per_hm (n,) image pixels."""

    crops: ByteArray
    target: Float32Array
    weight: Float32Array
    xy_hm: FloatArray
    px_per_hm: FloatArray


@dataclass(frozen=True)
class _Item:
    target: TrainingTarget
    boxes: tuple[Box, ...]  #: the subject's crop and, when two looks are taken, the whole picture


class _Drawn(NamedTuple):
    crop: ByteArray
    xy_hm: FloatArray
    weight: FloatArray
    px_per_hm: float


class CropDataset:
    """Crops of all usable targets.

    Every picture is read once: this fills the cache, and finds unusable targets (``skipped``) and the typical size of a
    subject (``subject_px``, image pixels, NaN when unknown).  Raises BadInputError when nothing is left.
    """

    def __init__(
        self, targets: Sequence[TrainingTarget], skeleton: Skeleton, head: Head, config: TrainConfig, load_image: LoadImage
    ) -> None:
        self.config, self.skeleton, self.head = config, skeleton, head
        self._load = load_image
        self.skipped: list[Skipped] = []
        usable = [target for target in targets if _has_weight(target, len(skeleton))]
        if not usable:
            raise ModelError(
                f"training: none of {len(targets)} targets has a keypoint with weight and coordinates; label at least one picture"
            )
        self.subject_px = typical_subject(usable)
        self._cache: dict[tuple[int, int], Patch] = {}
        self._items: list[_Item] = []
        self._shuffled: tuple[int, IntArray] = (-1, np.zeros(0, np.int64))
        self.two_stage = False
        self._fill(usable)

    def __len__(self) -> int:
        return len(self._items)

    def batch(self, first_draw: int, count: int) -> Batch:
        """Training crops number ``first_draw`` … of the endless, shuffled, augmented sequence."""
        return self._collate([self._draw(number) for number in range(first_draw, first_draw + count)])

    def plain(self, first: int, count: int) -> Batch:
        """The crops of targets ``first`` … in order, without augmentation; fewer at the end."""
        last = min(first + count, len(self))
        return self._collate([self._render(i, 0, STILL, None) for i in range(first, last)])

    def _fill(self, usable: Sequence[TrainingTarget]) -> None:
        # In file order: a video is then decoded once from front to back.
        order = sorted(range(len(usable)), key=lambda i: (usable[i].image.source, usable[i].image.frame_index or 0))
        looks: dict[int, list[Box]] = {}
        patches: dict[int, list[Patch]] = {}
        shares: list[float] = []
        held, last = 0, None
        for i in order:
            target = usable[i]
            if target.image != last:
                last, picture = target.image, self._read(target.image)
            if picture is None:
                continue
            size = (picture.shape[1], picture.shape[0])
            fine = crop_box(target, self.subject_px, size, self.config.input_px)
            looks[i] = [fine, whole_picture(size, self.config.input_px)]
            shares.append(self._share(fine, size))
            if held < self.config.cache_mb * 1_000_000:
                patches[i] = [self._cut(picture, target, box) for box in looks[i]]
                held += sum(patch.pixels.nbytes for patch in patches[i])
        if not looks:
            first = self.skipped[0]
            raise ModelError(
                f"training: none of {len(usable)} pictures could be read; the first: {first.image.source}: {first.reason}"
            )
        self.two_stage = self._decide_two_stage(shares)
        for position, i in enumerate(sorted(looks)):
            # A single look is the one that prediction will take: the box where there is one, else the whole picture.
            chosen = [0, 1] if self.two_stage else [0 if usable[i].box_px is not None else 1]
            self._items.append(_Item(usable[i], tuple(looks[i][look] for look in chosen)))
            if i in patches:
                self._cache |= {(position, rank): patches[i][look] for rank, look in enumerate(chosen)}

    def _share(self, fine: Box, size: tuple[int, int]) -> float:
        """Share of the picture that the crop takes; 1 where the picture holds no more detail than the network sees."""
        w, h = self.config.input_px
        if max(size[0] / w, size[1] / h) < LARGE_PICTURE:
            return 1.0
        return max(fine[2] / size[0], fine[3] / size[1])

    def _decide_two_stage(self, shares: Sequence[float]) -> bool:
        if self.config.two_stage is not None:
            return self.config.two_stage
        return float(np.median(shares)) < SMALL_SUBJECT_SHARE

    def _read(self, image: ImageRef) -> ByteArray | None:
        try:
            pixels = self._load(image)
        except Exception as error:  # whatever a decoder or a network may raise: one bad picture must not end the job
            reason = error.problem if isinstance(error, UnreadableImageError) else f"{type(error).__name__}: {error}"
            log.warning("training: skipping %s: %s", image.source, reason)
            self.skipped.append(Skipped(image, reason))
            return None
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            self.skipped.append(Skipped(image, f"expected uint8 (h, w, 3), got {pixels.dtype} {pixels.shape}"))
            return None
        return pixels

    def _cut(self, picture: ByteArray, target: TrainingTarget, box: Box) -> Patch:
        w, h = self.config.input_px
        scale = min(1.0, PATCH_OVERSAMPLING * w / box[2])
        region = padded_box(box, w / h, headroom(self.config.augment))
        patch_px = (max(round(region[2] * scale), 1), max(round(region[3] * scale), 1))
        transform = CropTransform(region, patch_px, patch_px)
        low = transform.image_to_input(np.array([box[0] - 0.5, box[1] - 0.5])) + 0.5
        ratio = (patch_px[0] / region[2], patch_px[1] / region[3])
        inside = (float(low[0]), float(low[1]), box[2] * ratio[0], box[3] * ratio[1])
        return Patch(transform.extract(picture), inside, transform.image_to_input(target.xy_px), 1 / ratio[0])

    def _patch(self, index: int, look: int) -> Patch:
        held = self._cache.get((index, look))
        if held is not None:
            return held
        item = self._items[index]
        picture = self._read(item.target.image)
        if picture is None:  # readable before, not now: say nothing about it
            w, h = self.config.input_px
            nothing = np.full_like(item.target.xy_px, np.nan)
            return Patch(np.zeros((h, w, 3), np.uint8), (0.0, 0.0, float(w), float(h)), nothing, 1.0)
        return self._cut(picture, item.target, item.boxes[look])

    def _draw(self, number: int) -> _Drawn:
        epoch, place = divmod(number, len(self))
        index = int(self._order(epoch)[place])
        rng = np.random.default_rng((self.config.seed, _SAMPLE, number))
        look = int(self.two_stage and rng.random() < self.config.coarse_share)
        return self._render(index, look, draw_geometry(self.config.augment, self.skeleton.flip_augment, rng), rng)

    def _order(self, epoch: int) -> IntArray:
        if self._shuffled[0] != epoch:
            rng = np.random.default_rng((self.config.seed, _ORDER, epoch))
            self._shuffled = (epoch, rng.permutation(len(self)))
        return self._shuffled[1]

    def _render(self, index: int, look: int, geometry: Geometry, rng: np.random.Generator | None) -> _Drawn:
        patch = self._patch(index, look)
        h, w = self.head.size_hm
        transform = CropTransform(patch.box, self.config.input_px, (w, h), *geometry, grid=self.head.grid)
        crop = transform.extract(patch.pixels)
        if rng is not None:
            crop = photometric(crop, self.config.augment, rng)
        xy_hm, weight = transform.image_to_heatmap(patch.xy), self._items[index].target.weight
        if geometry.flip:
            mirror = list(self.skeleton.mirror)
            xy_hm, weight = xy_hm[mirror], weight[mirror]
        return _Drawn(crop, xy_hm, weight, patch.to_image * patch.box[2] / w)

    def _collate(self, drawn: Sequence[_Drawn]) -> Batch:
        xy_hm = np.stack([sample.xy_hm for sample in drawn])
        target, weight = self.head.encode(xy_hm, np.stack([sample.weight for sample in drawn]))
        return Batch(
            crops=np.stack([sample.crop for sample in drawn]),
            target=target,
            weight=weight,
            xy_hm=xy_hm,
            px_per_hm=np.array([sample.px_per_hm for sample in drawn]),
        )


def _has_weight(target: TrainingTarget, n_keypoints: int) -> bool:
    """Check a target's arrays; False when it says nothing.  Raises BadInputError."""
    where = f"training target {target.key or target.image.source}"
    if target.xy_px.shape != (n_keypoints, 2) or target.weight.shape != (n_keypoints,):
        raise ModelError(
            f"{where}: expected xy_px {(n_keypoints, 2)} and weight {(n_keypoints,)}, got {target.xy_px.shape} and "
            f"{target.weight.shape}; do skeleton and labels belong together?"
        )
    if not np.isfinite(target.weight).all() or (target.weight < 0).any():
        raise ModelError(f"{where}: weights must be finite and not negative, got {target.weight}")
    return bool(((target.weight > 0) & np.isfinite(target.xy_px).all(axis=1)).any())


def labelled_box(target: TrainingTarget) -> Box | None:
    """The target's own box, else the one around its keypoints."""
    if target.box_px is not None:
        return target.box_px
    return box_around(target.xy_px[target.weight > 0])


def typical_subject(targets: Sequence[TrainingTarget]) -> float:
    """Median over targets of the longer side of the subject's box, image pixels."""
    sides = [max(box[2], box[3]) for box in map(labelled_box, targets) if box is not None]
    return float(np.median(sides)) if sides else float("nan")


def subject_box(xy_px: FloatArray, subject_px: float) -> Box | None:
    """A box around points, never smaller than half a typical subject: few points must not make a keyhole."""
    box = box_around(xy_px)
    if box is None:
        return None
    x, y, w, h = box
    least = 0.5 * subject_px if np.isfinite(subject_px) else 0.0
    grow_x, grow_y = max(least - w, 0.0), max(least - h, 0.0)
    return x - grow_x / 2, y - grow_y / 2, w + grow_x, h + grow_y


def crop_box(target: TrainingTarget, subject_px: float, size_px: tuple[int, int], input_px: tuple[int, int]) -> Box:
    """The crop around the subject: its box with margin at the input's aspect; without a box that of its points."""
    box = target.box_px or subject_box(target.xy_px[target.weight > 0], subject_px)
    if box is None:
        return whole_picture(size_px, input_px)
    return padded_box(box, input_px[0] / input_px[1], BOX_MARGIN)


def whole_picture(size_px: tuple[int, int], input_px: tuple[int, int]) -> Box:
    """The picture, padded to the input's aspect."""
    return padded_box((0.0, 0.0, float(size_px[0]), float(size_px[1])), input_px[0] / input_px[1], 1.0)
