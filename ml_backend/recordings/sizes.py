"""Pictures and calibration that disagree about the size of a picture."""

from __future__ import annotations

from dataclasses import dataclass

from label_config.values.errors import RecordingError

#: Codecs work in blocks of this many pixels and pad or cut pictures to whole blocks.
CODEC_BLOCK_PX = 16


@dataclass(frozen=True)
class SizeFix:
    """How the calibrated camera becomes that of the decoded picture: ``camera.cropped(0, 0, *keep_px).resized(size_px)``.

    keep_px  (width, height) in calibration pixels, from the top left corner, that the decoded picture shows
    size_px  (width, height) of the decoded picture
    warning  what was assumed; None when the sizes agree
    """

    keep_px: tuple[int, int]
    size_px: tuple[int, int]
    warning: str | None = None


def reconcile_size(view: str, decoded_px: tuple[int, int], calibrated_px: tuple[int, int]) -> SizeFix:
    """Decide what a difference between the decoded and the calibrated size means.

    Less than a codec block: the codec padded or cut the right and lower sides, where the calibration's pixels stay in place.
    Same aspect: the picture was scaled.  Everything else raises BadInputError.
    """
    if decoded_px == calibrated_px:
        return SizeFix(calibrated_px, decoded_px)
    sizes = f"view {view!r}: the pictures are {_text(decoded_px)}, the calibration says {_text(calibrated_px)}"
    difference = [d - c for d, c in zip(decoded_px, calibrated_px, strict=True)]
    if max(map(abs, difference)) < CODEC_BLOCK_PX:
        sides = [
            f"{abs(d)} px {'cut from' if d < 0 else 'added to'} the {side}"
            for d, side in zip(difference, ("right", "bottom"), strict=True)
            if d
        ]
        return SizeFix(
            decoded_px, decoded_px, f"{sizes}; assumed codec padding: {' and '.join(sides)}, all other pixels in place. "
            "If the picture was cut on the other side or scaled, calibrate at the decoded size."
        )  # fmt: skip
    scale = [d / c for d, c in zip(decoded_px, calibrated_px, strict=True)]
    if abs(scale[0] / scale[1] - 1) < 0.01:
        return SizeFix(calibrated_px, decoded_px, f"{sizes}; assumed that the pictures were scaled by {scale[0]:.4g}.")
    hint = (
        "; give the view 'rotation: 90' or 270"
        if decoded_px == calibrated_px[::-1]
        else "; give the view's crop, or the calibration of these pictures"
    )
    raise RecordingError(f"{sizes}; neither codec padding nor a change of scale explains that{hint}")


def _text(size_px: tuple[int, int]) -> str:
    return f"{size_px[0]} × {size_px[1]}"
