"""OpenCV FileStorage (YAML and XML) as plain Python values, without OpenCV's own parser, pickles, aliases or entities.

Maps become dicts, sequences lists, ``!!opencv-matrix`` float64 arrays (rows, cols), everything else text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import yaml

from label_config.settings.yaml_files import FastLoader, parse_yaml
from label_config.values.errors import CalibrationError
from ml_backend.geometry.calibration.safe_reading import Where, read_text
from ml_backend.geometry.calibration.xml import Element
from ml_backend.geometry.calibration.xml import parse as parse_xml

_MATRIX_TAG = "tag:yaml.org,2002:opencv-matrix"


class _Matrix(dict[Any, Any]):
    """The fields of an ``!!opencv-matrix`` until they are checked."""


class _Loader(FastLoader):
    """The loader that knows OpenCV's matrices, leaves every scalar as text (a camera may be called ``007`` or ``true``) and
    refuses aliases, which can make a small file exponentially large.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)


def _matrix_fields(loader: _Loader, node: Any) -> _Matrix:
    return _Matrix(loader.construct_mapping(node, deep=True))


_Loader.add_constructor(_MATRIX_TAG, _matrix_fields)


def read_storage(path: Path) -> dict[str, Any]:
    """The tree of a FileStorage file.  Raises BadInputError."""
    text = read_text(path)
    tree = _from_xml(path, text) if text.lstrip().startswith("<") else _from_yaml(path, text)
    if not isinstance(tree, dict) or isinstance(tree, _Matrix):
        raise CalibrationError(f"{path}: expected named values at the top level, got {type(tree).__name__}")
    return {str(key): _plain(Where(path), str(key), value) for key, value in tree.items()}


def _from_yaml(path: Path, text: str) -> Any:
    lines = [line for line in text.splitlines() if not line.startswith("%YAML")]
    return parse_yaml("\n".join(lines), f"{path}: expected OpenCV YAML", loader=_Loader, kind=CalibrationError)


def _from_xml(path: Path, text: str) -> Any:
    root = parse_xml(path, text)
    if root.tag != "opencv_storage":
        raise CalibrationError(f"{path}: expected <opencv_storage>, got <{root.tag}>")
    return _element(root) if len(root) else {}


def _element(element: Element) -> Any:
    if element.get("type_id") == "opencv-matrix":
        fields = {child.tag: (child.text or "").strip() for child in element}
        return _Matrix({**fields, "data": fields.get("data", "").split()})
    if len(element) == 0:
        words = (element.text or "").split()
        return (element.text or "").strip().strip('"') if len(words) <= 1 or '"' in (element.text or "") else words
    if all(child.tag == "_" for child in element):
        return [_element(child) for child in element]
    return {child.tag: _element(child) for child in element}


def _plain(where: Where, key: str, value: Any) -> Any:
    if isinstance(value, _Matrix):
        rows, cols = (where.numbers(f"{key}.{name}", where.get(value, name), (1,))[0] for name in ("rows", "cols"))
        if rows != round(rows) or cols != round(cols) or min(rows, cols) < 0:
            raise where.fail(key, "whole rows and cols", f"{rows} and {cols}")
        return where.numbers(key, where.get(value, "data"), (int(rows), int(cols)))
    if isinstance(value, dict):
        return {str(name): _plain(where, f"{key}.{name}", inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(where, f"{key}[{position}]", inner) for position, inner in enumerate(value)]
    return value
