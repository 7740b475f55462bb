"""The labelling config may change under us.

What still fits is taken over.  A keypoint or a picture that gets lost stops training and pushing with a clear message;
labels are pulled meanwhile as far as they can be read, and those that could not be are read again when it fits.
"""

from __future__ import annotations

import json
from dataclasses import replace

from label_config.binding import Binding, bind
from label_config.spec import Spec, load_spec
from label_config.values import BadInputError, ParallaxError
from ml_backend.store import presence, projects
from ml_backend.store.workspace import Workspace


def check_config(workspace: Workspace, label_config: str) -> None:
    """Bind the project's config again; say what does not fit, and take over what does."""
    project, old = workspace.project, workspace.binding
    try:
        new = bind(label_config, old.skeleton, views=old.names, aliases=_current_aliases(workspace.spec, old))
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
    # Without a time of the last sweep the next pull looks at everything, what could not be read included.
    values = {} if same else {"binding": merged.to_json(), "select_requested": True}
    projects.change(workspace.store, project.id, binding_problem=None, swept_at=None, **values)
    presence.tell(workspace.store, project.id, "the labelling config fits again" if same else _CHANGED, key="config")


def _current_aliases(spec: Spec, held: Binding) -> dict[str, str]:
    """``aliases`` as parallax.yaml has them now: who renames a label need not restart what runs.

    While the file cannot be read, because it is being edited, say, labels stand for what they stood for.
    """
    try:
        return load_spec(spec.path).aliases if spec.path is not None else spec.aliases
    except BadInputError:
        return {label: held.skeleton.keypoints[point] for view in held.views for label, point in view.labels.items()}


_CHANGED = "the labelling config changed; the new one fits"


def _stop(workspace: Workspace, why: str) -> None:
    text = f"the labelling config no longer fits, so that training and pushing stand still: {why}"
    if workspace.project.binding_problem != text:
        projects.change(workspace.store, workspace.project_id, binding_problem=text)
        presence.tell(workspace.store, workspace.project_id, text, level="error", key="config")


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
    """Labels that stood for a keypoint before still do in annotations made then; the newest name is the one written."""
    views = []
    for before, after in zip(old.views, new.views, strict=True):
        former = {label: keypoint for label, keypoint in before.labels.items() if label not in after.labels}
        views.append(replace(after, labels={**former, **after.labels}))
    return replace(new, views=tuple(views))
