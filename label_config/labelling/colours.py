"""Colours of keypoints that stay apart for colour-blind eyes.

Left is blue, right is orange, centre is grey: the pair that every common colour-vision deficiency keeps apart, and no
hue at all.  Within a side the shade runs from dark to light.  A skeleton without sides takes its colours along cividis,
a scale made for the same eyes (Nuñez, Anderton & Renslow 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

from label_config.values.skeleton import Skeleton

_SCALES: dict[str, tuple[str, ...]] = {
    "left": ("#08519C", "#4292C6", "#9ECAE1"),
    "right": ("#A63603", "#E6550D", "#FDAE6B"),
    "centre": ("#525252", "#D9D9D9"),
}
_WITHOUT_SIDES = ("#00204D", "#575C6D", "#A69D75", "#FFEA46")


def keypoint_colours(skeleton: Skeleton) -> tuple[str, ...]:
    """(K,) ``#RRGGBB``, all different within a side."""
    if not skeleton.pairs:
        return tuple(_shade(_WITHOUT_SIDES, i, len(skeleton)) for i in range(len(skeleton)))
    sides = [skeleton.side(i) for i in range(len(skeleton))]
    return tuple(_shade(_SCALES[side], sides[:i].count(side), sides.count(side)) for i, side in enumerate(sides))


def _shade(scale: Sequence[str], position: int, count: int) -> str:
    """The colour at ``position`` of ``count`` even steps along a scale of colours (linear in sRGB)."""
    place = (position + 0.5) / count * (len(scale) - 1)
    segment = min(int(place), len(scale) - 2)
    share = place - segment
    low, high = (_channels(scale[segment + step]) for step in (0, 1))
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in zip(low, high, strict=True))


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
