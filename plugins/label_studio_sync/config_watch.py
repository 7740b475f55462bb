"""The labelling config may change under us.

What still fits is taken over.  A keypoint or a picture that gets lost stops training and pushing with a clear message;
labels are pulled meanwhile as far as they can be read, and those that could not be are read again when it fits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from label_config.labelling.binding import Binding, bind
from label_config.settings.spec import Spec, load_spec
from label_config.values import BadInputError, ParallaxError
from ml_backend.store import presence, projects
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace


def check_config(workspace: Workspace, label_config: str) -> None:
    """Bind the project's config again; say what does not fit, and take over what does."""
    project, old = workspace.project, workspace.binding
    try:
        now = _current_spec(workspace.spec)
        aliases = _held_aliases(old) if now is None else now.aliases
        visibility = _held_words(old) if now is None else now.visibility
        new = bind(label_config, old.skeleton, views=old.names, aliases=aliases, visibility=visibility)
    except ParallaxError as error:
        _stop(workspace, str(error))
        return
    lost = what_is_lost(old, new)
    if lost:
        _stop(workspace, lost)
        return
    merged = _with_former_labels(new, old)
    same = json.dumps(merged.to_json()) == json.dumps(old.to_json())  # the order of labels counts
    if same and project.binding_problem is None:
        return
    # Without a time of the last sweep the next pull reads everything, what could not be read included.
    values = {} if same else {"binding": merged.to_json(), "select_requested": True}
    projects.change(workspace.store, binding_problem=None, swept_at=None, **values)
    presence.tell(workspace.store, "the labelling config fits again" if same else _CHANGED, key="config")


def _current_spec(spec: Spec) -> Spec | None:
    """parallax.yaml as it is now: who renames a label, or says what a choice means, need not restart what runs.

    None while it cannot be read, because it is being edited, say: then words mean what they meant.
    """
    try:
        return load_spec(spec.path) if spec.path is not None else spec
    except BadInputError:
        return None


def _held_aliases(held: Binding) -> dict[str, str]:
    return {
        f"{control}/{label}": held.skeleton.keypoints[point]
        for view in held.views
        for control, labels in view.points.items()
        for label, point in labels.items()
    }


def _held_words(held: Binding) -> dict[str, str]:
    meanings = [of for view in held.views for controls in (view.visibility, view.marks) for of in controls.values()]
    return {word: state.name.lower() for of in meanings for word, state in of.items()}


Meaning = TypeVar("Meaning")
_CHANGED = "the labelling config changed; the new one fits"


def _stop(workspace: Workspace, why: str) -> None:
    text = f"the labelling config no longer fits, so that training and pushing stand still: {why}"
    if workspace.project.binding_problem != text:
        projects.change(workspace.store, binding_problem=text)
        presence.tell(workspace.store, text, level=EventLevel.ERROR, key="config")


def what_is_lost(old: Binding, new: Binding) -> str:
    """What the old config had and the new one has not, in words with the fix; empty when nothing."""
    if new.names != old.names:
        gone = ", ".join(sorted(set(old.names) - set(new.names))) or ", ".join(old.names)
        return f"the picture of {gone} is gone; restore it under Settings › Labeling Interface, or run `parallax init` again"
    lines = []
    for before, after in zip(old.views, new.views, strict=True):
        for keypoint in before.label_of.keys() - after.label_of.keys():
            lines.append(f"{before.view}: the keypoint {old.skeleton.keypoints[keypoint]!r} has no label any more")
    if not lines:
        return ""
    hints = [problem.message for problem in new.problems if problem not in old.problems]
    fix = "rename the label back under Settings › Labeling Interface, or name the new one under aliases in parallax.yaml"
    return "; ".join([*sorted(lines), *dict.fromkeys(hints)]) + f". To go on, {fix}"


def _with_former_labels(new: Binding, old: Binding) -> Binding:
    """Words that meant something before still do in annotations made then; the newest ones are those written."""
    views = [
        replace(
            after,
            points=_with_former(after.points, before.points),
            visibility=_with_former(after.visibility, before.visibility),
            marks=_with_former(after.marks, before.marks),
        )
        for before, after in zip(old.views, new.views, strict=True)
    ]
    return replace(new, views=tuple(views))


def _with_former(
    now: Mapping[str, Mapping[str, Meaning]], before: Mapping[str, Mapping[str, Meaning]]
) -> dict[str, dict[str, Meaning]]:
    """Control → word → meaning, what is new last."""
    merged = {control: dict(of) for control, of in before.items() if control not in now}
    for control, of in now.items():
        former = {word: meaning for word, meaning in before.get(control, {}).items() if word not in of}
        merged[control] = {**former, **of}
    return merged
