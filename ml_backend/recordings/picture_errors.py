"""What can go wrong between a reference and its pixels."""

from __future__ import annotations

from label_config.values.errors import ParallaxError


class UnreadableImageError(ParallaxError):
    """One picture cannot be turned into pixels; the others can.  ``where`` names the file or address, and the frame."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where, self.problem = where, problem


class UnavailableImageError(UnreadableImageError):
    """The picture could not be had this time, which says nothing about the picture: try again later."""


class FetchError(UnavailableImageError):
    """A picture could not be fetched from its address."""


class ServerAwayError(FetchError):
    """The server itself did not answer as one that works; others of its pictures will fare no better."""


class ForbiddenAddressError(FetchError):
    """The address lies outside what the project allows to be fetched."""
