"""The sections of parallax.yaml about recordings: where pictures come from, how they are turned and cut, and the calibration."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from label_config.settings.spec_fields import (
    Count,
    CountOrZero,
    Location,
    Positive,
    Section,
    source_alone,
)
from label_config.values.file_names import file_name


class ViewSource(Section):
    """The pictures of one camera: a video, a folder of pictures or a pattern.

    crop           (x, y, width, height) in pixels of the source picture
    rotation       clockwise degrees, after cropping
    flip           mirrored left to right, after turning
    time_offset_s  seconds to add to this camera's clock to reach the recording's
    fps            frames per second, for sources that do not say or say it wrong
    calibrated_on  whether the calibration is of the source picture or of the view's; None: as its size says
    """

    source: Location
    crop: tuple[CountOrZero, CountOrZero, Count, Count] | None = None
    flip: bool = False
    rotation: Literal[0, 90, 180, 270] = 0
    time_offset_s: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    fps: Positive | None = None
    calibrated_on: Literal["source", "view"] | None = None


class RecordingSettings(Section):
    """One sequence: its cameras, their calibration, the frames to use and labels that exist already.

    pairing  what says which pictures belong together: their times, their place, or the numbers in their names; None: the sources
    unit  of the calibration's lengths, for files that do not say it or have it wrong; None: as the file or its format says
    """

    sequence: str
    views: dict[str, Annotated[ViewSource, BeforeValidator(source_alone)]]
    pairing: Literal["time", "index", "number"] | None = None
    calibration: Location | None = None
    unit: Literal["m", "cm", "mm"] | None = None
    start: CountOrZero = 0
    stop: Count | None = None
    stride: Count = 1
    labels: Location | None = None

    @field_validator("sequence")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not name.strip() or name.startswith(".") or file_name(name) != name:
            raise ValueError(f"expected a name that can also be a folder's, got {name!r}")
        return name

    @model_validator(mode="after")
    def _frames_left(self) -> Self:
        if not self.views:
            raise ValueError("expected at least one view, got none")
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"expected stop > start, got start {self.start} and stop {self.stop}")
        return self
