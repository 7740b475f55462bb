"""Every kind of error, on one page.

::

    ParallaxError                     the message is for the user: what went wrong, expected, got, where, and how to fix it
    ├── BadInputError                 something that the user gave cannot be used as it is
    │   ├── SettingsError             parallax.yaml, a skeleton file, an option of a command
    │   ├── LabellingConfigError      the labelling config of the project, or a region that it gave
    │   ├── RecordingError            a video, a picture, their names or times
    │   ├── CalibrationError          a calibration file, or a rig that contradicts its pictures
    │   ├── LabelFileError            a file of labels, ours or of another tool
    │   └── ModelError                a network, its weights, or what it was asked to do
    ├── UnreadableImageError          one picture cannot be turned into pixels, or not now; the others can (recordings/errors.py)
    ├── ServiceError                  Label Studio, Redis, or a server of pictures is away or refuses
    └── InterruptedWorkError          control flow: the work ends here and goes on elsewhere; nobody has to do anything

The leaves that one room alone raises and catches are defined there.
"""

from __future__ import annotations


class ParallaxError(Exception):
    """Root of every error that a user can act upon.

    The message says what went wrong, what was expected, what was found, where, and how to fix it.
    """


class BadInputError(ParallaxError):
    """Something the user gave (a file, a config, an annotation) cannot be used as it is."""


class SettingsError(BadInputError):
    """A setting of parallax.yaml, of a skeleton file or of a command cannot be used."""


class LabellingConfigError(BadInputError):
    """A labelling config, or a region made with it, cannot be used."""


class RecordingError(BadInputError):
    """A recording cannot be used: its files, their names or their times."""


class CalibrationError(BadInputError):
    """A calibration cannot be used, or contradicts what it is used with."""


class LabelFileError(BadInputError):
    """A file of labels cannot be read, or labels cannot be written as asked."""


class ModelError(BadInputError):
    """A network or its weights cannot be used."""


class ServiceError(ParallaxError):
    """Another service is away or refuses; what was not done is tried again or can be asked for again.

    retry_after_s  how long the service wants to be left alone, when it said so
    """

    retry_after_s = 0.0


class InterruptedWorkError(ParallaxError):
    """The work ends here because it goes on elsewhere: no fault, and nothing for a user to do."""
