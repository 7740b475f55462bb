"""Which label of a config stands for which keypoint of a skeleton."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

from label_config.labelling.xml_tags import ControlTag
from label_config.values.problem import Problem
from label_config.values.skeleton import Skeleton


def match_labels(
    view: str,
    controls: Sequence[ControlTag],
    skeleton: Skeleton,
    aliases: Mapping[str, str],
    problems: list[Problem],
    marks: Mapping[str, Collection[str]],
) -> dict[str, dict[str, int]]:
    """Control → label → keypoint index, for the controls of one picture.

    By an alias (``control/label`` before ``label``), by the label's own name, else by the only keypoint that differs in case
    alone.  A label with an alias of Label Studio's is known by both names; the one in results comes last.
    marks  control → labels that say something else of a point

    Labels that stand for nothing and keypoints without a label are added to ``problems``.
    """
    matched: dict[str, dict[str, int]] = {}
    offered: dict[str, str] = {}
    unknown: list[str] = []
    for control in controls:
        of_control: dict[str, int] = {}
        labels = [label for label in control.labels if label not in marks.get(control.name, ())]
        for label in dict.fromkeys(labels):
            if labels.count(label) > 1:
                problems.append(Problem("warning", f"label {label!r} is given {labels.count(label)} times", view))
            alias = aliases.get(f"{control.name}/{label}")
            if label in offered and alias is None:
                problems.append(Problem("error", _ambiguous(label, offered[label], control.name), view))
                continue
            offered.setdefault(label, control.name)
            value = control.values.get(label, label)
            keypoint = skeleton.index.get(alias) if alias else keypoint_of(label, labels, skeleton, aliases)
            if keypoint is None and alias is None and value != label:
                keypoint = keypoint_of(value, [control.values.get(other, other) for other in labels], skeleton, aliases)
            if keypoint is None:
                unknown.append(label)
            elif any(keypoint in of.values() for of in (of_control, *matched.values())):
                name = skeleton.keypoints[keypoint]
                problems.append(Problem("warning", f"label {label!r} is not used: another one stands for {name!r}", view, name))
            else:
                of_control |= {label: keypoint} if value in control.labels else {value: keypoint, label: keypoint}
        matched[control.name] = of_control
    if unknown:
        problems.append(Problem("warning", _unknown(unknown, skeleton), view))
    for index, name in enumerate(skeleton.keypoints):
        if not any(index in of.values() for of in matched.values()):
            message = f"keypoint {name!r} has no label, so that it can be neither shown nor corrected; add a label for it"
            problems.append(Problem("warning", message, view, name))
    return matched


def _ambiguous(label: str, first: str, second: str) -> str:
    return (
        f"label {label!r} is offered by two controls, {first!r} and {second!r}, which may mean different things: points of "
        f"{second!r} with it are not used; write aliases: {{{first}/{label}: …, {second}/{label}: …}} in parallax.yaml"
    )


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
