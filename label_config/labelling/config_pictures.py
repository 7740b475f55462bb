"""Which pictures of a labelling config can be labelled with keypoints, and under which camera names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from label_config.labelling.build_xml import safe_view_names
from label_config.labelling.xml_tags import ControlTag, ImageTag, control_tags, image_tags, repeaters
from label_config.values.errors import LabellingConfigError
from label_config.values.problem import Problem

#: Camera name, picture and the controls that put points on it.
Picture = tuple[str, ImageTag, tuple[ControlTag, ...]]
#: Tags that put something of their own on each region.
_PER_REGION = ("Rating", "Number", "Taxonomy")


def pictures_with_points(root: Element, problems: list[Problem]) -> list[Picture]:
    """Every picture that can be labelled, named as in the config; what cannot be used is added to ``problems``."""
    images = {image.name: image for image in image_tags(root)}
    controls: dict[str, list[ControlTag]] = {}
    problems.extend(Problem("error", message) for message in _repeated_names(root))
    problems.extend(Problem("error", _why_no_repeater(tag)) for tag in repeaters(root))
    made_anew = {tag.get("name") for repeater in repeaters(root) for tag in repeater.iter()}
    for control in control_tags(root, "KeyPointLabels"):
        if control.name in made_anew:
            continue
        image = images.get(control.targets[0]) if len(control.targets) == 1 else None
        message = _why_not(image, control)
        if message:
            problems.append(Problem("error", message, image.name if image else None))
        elif image:
            controls.setdefault(image.name, []).append(control)
    for kind in ("VectorLabels", "KeyPoint"):
        for control in control_tags(root, kind):
            problems.append(
                Problem("warning", f"<{kind} name={control.name!r}> is not used yet; points are read from <KeyPointLabels>")
            )
    for kind in _PER_REGION:
        for control in control_tags(root, kind):
            if control.per_region and controls.keys() & set(control.targets):
                text = f"<{kind} name={control.name!r}> is not read; whether a point can be seen is read from <Choices>"
                problems.append(Problem("warning", text))
    return [(name, images[name], tuple(of)) for name, of in controls.items()]


def _repeated_names(root: Element) -> list[str]:
    names = Counter(name for tag in root.iter() if (name := tag.get("name")))
    return [f"the name {name!r} is given to {times} tags; names must differ" for name, times in names.items() if times > 1]


def _why_no_repeater(tag: Element) -> str:
    """Label Studio makes the tags in it while it shows a task, and takes no prediction for them (1.23.2)."""
    flag, inside = tag.get("indexFlag", "{{idx}}"), [of for of in tag.iter() if of is not tag and of.get("name")]
    written = " ".join(
        f'<{of.tag} name="{of.get("name", "").replace(flag, "0")}"'
        + "".join(f' {name}="{of.get(name, "").replace(flag, "0")}"' for name in ("value", "toName") if of.get(name))
        + " …>"
        for of in inside
    )
    return (
        f"<Repeater on={tag.get('on')!r}> cannot be used: Label Studio takes no pre-annotations for the tags in it. Write them "
        f"out for every picture, with 0, 1, 2 … in place of {flag}: {written}; labels that exist stay valid"
    )


def _why_not(image: ImageTag | None, control: ControlTag) -> str | None:
    """Why a control and its picture cannot be used, and what to do; None when they can."""
    points = f"<KeyPointLabels name={control.name!r}>"
    if len(control.targets) != 1:
        return (
            f"{points} serves {len(control.targets)} pictures, so that no point can be placed by hand; "
            "give every <Image> a <KeyPointLabels> of its own"
        )
    if image is None:
        return f"{points} labels {control.targets[0]!r}, which is no <Image>"
    picture = f"<Image name={image.name!r}>"
    if image.value_list:
        return (
            f"{picture} shows a list of pictures (valueList), which breaks Label Studio's export; "
            'use one <Image> and one <KeyPointLabels> per camera, with value="$images[0]", "$images[1]" … for a list'
        )
    if image.data_key is None:
        return f'{picture}: expected value="$key", "$key.name" or "$key[0]", the place of one address in the task\'s data'
    if control.dynamic:
        return f"{points} takes its labels from the task; write them as <Label> tags"
    if not any(control.labels):
        return f"{points} has no <Label>"
    return None


def named(pictures: list[Picture], views: Sequence[str] | None, problems: list[Problem]) -> list[Picture]:
    """The pictures under the wanted camera names and in their order; others are left out.  Raises BadInputError if none is left.

    A view is found by its own name or by what ``safe_view_names`` makes of it, as picture name or data key.  A single
    picture stands for any view.
    """
    if views is None or (len(pictures) == 1 and len(views) != 1):
        return pictures
    if len(pictures) == 1:
        return [(views[0], *pictures[0][1:])]
    left, found = list(pictures), []
    for view, safe in safe_view_names(views).items():
        match = next((picture for key in (view, safe) for picture in left if key in (picture[1].name, picture[1].data_key)), None)
        if match is None:
            message = f"view {view!r} has no <Image> in the labelling config; it has {', '.join(name for name, _, _ in pictures)}"
            problems.append(Problem("error", message, view))
        else:
            left.remove(match)
            found.append((view, *match[1:]))
    for name, _, _ in left:
        problems.append(Problem("warning", f"<Image name={name!r}> is not among the views {', '.join(views)}; it is not used"))
    if not found:
        known = ", ".join(name for name, _, _ in pictures)
        raise LabellingConfigError(f"views: none of {', '.join(views)} is an <Image> of the labelling config; it has {known}")
    return found
