"""Which label of a config stands for which keypoint of a skeleton."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from label_config.problems import Problem
from label_config.skeleton import Skeleton


def match_labels(
    view: str, labels: Sequence[str], skeleton: Skeleton, aliases: Mapping[str, str], problems: list[Problem]
) -> dict[str, int]:
    """Label → keypoint index: by an alias, by its own name, else by the only keypoint that differs in case alone.

    Labels that stand for nothing and keypoints without a label are added to ``problems``.
    """
    matched: dict[str, int] = {}
    unknown: list[str] = []
    for label in dict.fromkeys(labels):
        count = list(labels).count(label)
        if count > 1:
            problems.append(Problem("warning", f"label {label!r} is given {count} times", view))
        keypoint = keypoint_of(label, labels, skeleton, aliases)
        if keypoint is None:
            unknown.append(label)
        elif keypoint in matched.values():
            name = skeleton.keypoints[keypoint]
            problems.append(Problem("warning", f"label {label!r} is not used: another one stands for {name!r}", view, name))
        else:
            matched[label] = keypoint
    if unknown:
        problems.append(Problem("warning", _unknown(unknown, skeleton), view))
    for index, name in enumerate(skeleton.keypoints):
        if index not in matched.values():
            message = f"keypoint {name!r} has no label, so that it can be neither shown nor corrected; add a label for it"
            problems.append(Problem("warning", message, view, name))
    return matched


def keypoint_of(label: str, labels: Sequence[str], skeleton: Skeleton, aliases: Mapping[str, str]) -> int | None:
    """The keypoint that a label stands for among ``labels``, None for none: see :func:`match_labels`."""
    if label in aliases:
        return skeleton.index.get(aliases[label])
    if label in skeleton.index:
        return skeleton.index[label]
    alike = {other for other in (*labels, *skeleton.keypoints) if other.lower() == label.lower()}
    same = [skeleton.index[name] for name in alike if name in skeleton.index]
    return same[0] if len(same) == 1 and len(alike) == 2 else None


def _unknown(labels: Sequence[str], skeleton: Skeleton) -> str:
    """All of one picture in one message: how many, and each with the keypoint that its name is nearest to."""
    lower = {name.lower(): name for name in skeleton.keypoints}
    named = []
    for label in labels:
        near = difflib.get_close_matches(label.lower(), lower, n=1)
        named.append(f"{label!r} (nearest: {lower[near[0]]!r})" if near else repr(label))
    what = "1 label is no keypoint" if len(labels) == 1 else f"{len(labels)} labels are no keypoints"
    return (
        f"{what} of the skeleton {skeleton.name!r}: {', '.join(named)}; points with "
        f"{'it' if len(labels) == 1 else 'them'} are neither used nor predicted until the skeleton, "
        "or aliases of parallax.yaml, has a keypoint for every one"
    )
