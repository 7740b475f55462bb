"""Skeletons by name, from a file or from a mapping; and a draft for label names about which nothing else is known.

A skeleton file looks like this; only ``keypoints`` is needed::

    name: mouse
    keypoints: [nose, left_ear, right_ear, tail]
    limbs: [[nose, left_ear], [nose, right_ear], [nose, tail]]   # parent, child
    root: nose
    pairs: [[left_ear, right_ear]]                               # left, right
    sigmas: {nose: 0.026}                                        # others get DEFAULT_SIGMA
    flip_augment: false
    head: [nose, neck]                                           # whose distance is the unit of PCKh
    torso: [neck, tail]                                          # … and of torso-PCK
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from label_config.settings.spec_errors import explain
from label_config.settings.yaml_files import read_yaml
from label_config.values import BadInputError
from label_config.values.errors import SettingsError
from label_config.values.skeleton import DEFAULT_SIGMA, Skeleton, limbs_by_name

#: Optional pairs of keypoints.
_SPANS = ("head", "torso")
_BUILT_IN = Path(__file__).parents[1] / "skeletons"

#: Ways to write a side, strongest first: pattern of the left name and what makes it the right one.
_SIDES: tuple[tuple[str, Mapping[str, str]], ...] = (
    (r"left|Left|LEFT", {"left": "right", "Left": "Right", "LEFT": "RIGHT"}),
    (r"(?<![A-Za-z0-9])[lL](?![A-Za-z0-9])", {"l": "r", "L": "R"}),  # l_knee, knee.L
    (r"^L(?=[A-Z0-9])|(?<=[a-z0-9])L$", {"L": "R"}),  # LKnee, L1B, kneeL
    (r"^l(?=[A-Z0-9])|^l(?=[a-z]{3})", {"l": "r"}),  # l1, lKnee, lknee
)


class _SkeletonFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keypoints: list[str]
    name: str | None = None
    limbs: list[tuple[str, str]] = []
    root: str | None = None
    pairs: list[tuple[str, str]] = []
    sigmas: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    flip_augment: bool = False
    head: tuple[str, str] | None = None
    torso: tuple[str, str] | None = None


def built_in_skeletons() -> tuple[str, ...]:
    """Names that ``load_skeleton`` knows."""
    return tuple(sorted(path.stem for path in _BUILT_IN.glob("*.yaml")))


def load_skeleton(source: str | Path | Mapping[str, Any]) -> Skeleton:
    """A skeleton by built-in name, from a .yaml file or from an inline mapping.  Raises BadInputError."""
    if isinstance(source, Mapping):
        return _from_mapping(source, name="custom", origin="skeleton")
    if isinstance(source, Path) or source.endswith((".yaml", ".yml")):
        path = Path(source)
        return _from_mapping(read_yaml(path), name=path.stem, origin=str(path))
    if source not in built_in_skeletons():
        near = difflib.get_close_matches(source, built_in_skeletons(), n=1)
        raise SettingsError(
            f"skeleton: expected one of {', '.join(built_in_skeletons())} or a path that ends in .yaml, got {source!r}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    return load_skeleton(_BUILT_IN / f"{source}.yaml")


def skeleton_to_mapping(skeleton: Skeleton) -> dict[str, Any]:
    """The content of a skeleton file; ``load_skeleton`` gives the same skeleton back."""
    names = skeleton.keypoints
    return {
        "name": skeleton.name,
        "keypoints": list(names),
        "root": names[skeleton.root],
        "limbs": [[names[a], names[b]] for a, b in skeleton.limbs],
        "pairs": [[names[a], names[b]] for a, b in skeleton.pairs],
        "sigmas": dict(zip(names, skeleton.sigmas, strict=True)),
        "flip_augment": skeleton.flip_augment,
        **{name: [names[i] for i in span] for name in _SPANS if (span := getattr(skeleton, name)) is not None},
    }


def draft_skeleton(labels: Sequence[str]) -> Skeleton:
    """A skeleton from label names alone, in their order.

    Pairs are guessed from the names: left/right, l_/r_, _L/_R, L1B/R1B, LKnee/RKnee, lknee/rknee; a name is paired only
    when its mirror image is there as well.  Limbs, root and sigmas are those of a built-in skeleton when it has every
    label (however its words are joined or ordered, whole limbs being closed over missing keypoints); otherwise there are
    no limbs, the root is the first keypoint and every sigma is DEFAULT_SIGMA.
    """
    names = tuple(labels)
    known, renamed = _recognised(names)
    if known is None:
        return Skeleton(name="draft", keypoints=names, pairs=_guess_pairs(names))
    position = {renamed[name]: i for i, name in enumerate(names)}
    root = known.keypoints[known.root]
    return Skeleton(
        name="draft",
        keypoints=names,
        limbs=tuple((position[a], position[b]) for a, b in _limbs_between(known, set(position))),
        root=position.get(root, 0),
        pairs=_guess_pairs(names),
        sigmas=tuple(known.sigmas[known.index[renamed[name]]] for name in names),
        flip_augment=known.flip_augment,
        **{name: _kept(getattr(known, name), known, position) for name in _SPANS},
    )


def _kept(span: tuple[int, int] | None, known: Skeleton, position: Mapping[str, int]) -> tuple[int, int] | None:
    """A pair of ``known`` among the keypoints that are present; None when one is missing."""
    ends = [position[known.keypoints[i]] for i in span or () if known.keypoints[i] in position]
    return (ends[0], ends[1]) if len(ends) == 2 else None


def _from_mapping(data: Any, name: str, origin: str) -> Skeleton:
    try:
        file = _SkeletonFile.model_validate(data)
    except ValidationError as error:
        raise SettingsError(f"{origin}: not a skeleton:\n{explain(error, _SkeletonFile)}") from error
    keypoints = tuple(file.keypoints)
    spans = {name: pair for name in _SPANS if (pair := getattr(file, name)) is not None}
    named = (
        [(place, n) for place, pair in spans.items() for n in pair]
        + [("root", file.root)]
        + [("pairs", n) for pair in file.pairs for n in pair]
        + [("sigmas", n) for n in file.sigmas]
    )
    for place, keypoint in named:
        if keypoint is not None and keypoint not in keypoints:
            raise SettingsError(f"{origin}: {place}: {keypoint!r} is not a keypoint; known: {', '.join(keypoints)}")
    try:
        return Skeleton(
            name=file.name or name,
            keypoints=keypoints,
            limbs=limbs_by_name(keypoints, file.limbs),
            root=keypoints.index(file.root) if file.root else 0,
            pairs=limbs_by_name(keypoints, file.pairs),
            sigmas=tuple(file.sigmas.get(keypoint, DEFAULT_SIGMA) for keypoint in keypoints),
            flip_augment=file.flip_augment,
            **{name: limbs_by_name(keypoints, [pair])[0] for name, pair in spans.items()},
        )
    except BadInputError as error:
        raise SettingsError(f"{origin}: {error}") from error


def _guess_pairs(names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    position = {name: i for i, name in enumerate(names)}
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for pattern, other in _SIDES:
        for left in names:
            for match in re.finditer(pattern, left):
                right = left[: match.start()] + other[match.group()] + left[match.end() :]
                pair = (position[left], position.get(right, -1))
                if pair[1] >= 0 and not taken.intersection(pair):
                    pairs.append(pair)
                    taken.update(pair)
    return tuple(sorted(pairs))


def _words(name: str) -> tuple[str, ...]:
    """The words of a name in a fixed order: ``LeftKnee``, ``knee_left`` and ``l.knee`` are the same."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    sides = {"l": "left", "r": "right"}
    return tuple(sorted(sides.get(word, word) for word in re.findall(r"[a-z]+|[0-9]+", spaced.lower())))


def _recognised(names: tuple[str, ...]) -> tuple[Skeleton | None, dict[str, str]]:
    """The built-in skeleton that has all the names, and label → its keypoint."""
    for candidate in map(load_skeleton, built_in_skeletons()):
        known = {_words(keypoint): keypoint for keypoint in candidate.keypoints}
        renamed = {name: known.get(_words(name)) for name in names}
        found = {name: keypoint for name, keypoint in renamed.items() if keypoint is not None}
        if len(names) > 1 and len(found) == len(names) == len(set(found.values())):
            return candidate, found
    return None, {}


def _limbs_between(known: Skeleton, present: set[str]) -> list[tuple[str, str]]:
    """Limbs among the keypoints that are present; a missing keypoint is bridged by its nearest present ancestor."""
    parent = {known.keypoints[b]: known.keypoints[a] for a, b in known.limbs}
    limbs = []
    for child in known.keypoints:
        ancestor = parent.get(child)
        while ancestor is not None and ancestor not in present:
            ancestor = parent.get(ancestor)
        if child in present and ancestor is not None:
            limbs.append((ancestor, child))
    return limbs
