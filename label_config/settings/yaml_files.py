"""Reading YAML written by people: a missing file, a syntax error or a key given twice is a BadInputError with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from label_config.values.errors import SettingsError

#: Brackets inside brackets.  PyYAML's time grows with the square of their depth.
_DEEPEST = 100


#: What PyYAML raises for text that is no YAML: besides its own errors, those of what it calls for numbers, dates and so on.
NO_YAML = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


class ShallowLoader(yaml.SafeLoader):
    """Plain YAML, but for brackets that are nested deeper than anybody would."""

    def fetch_flow_collection_start(self, token: Any) -> None:
        if self.flow_level >= _DEEPEST:
            mark = self.get_mark()
            raise yaml.scanner.ScannerError(None, None, f"brackets are nested deeper than {_DEEPEST}", mark)
        super().fetch_flow_collection_start(token)


class _UniqueKeyLoader(ShallowLoader):
    """Plain YAML in which a key given twice is an error (by default the first value would vanish silently)."""


def _mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    keys = [loader.construct_object(key) for key, _ in node.value]
    for position, key in enumerate(keys):
        if key in keys[:position]:
            mark = node.value[position][0].start_mark
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", mark)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.  Raises BadInputError when it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected a readable YAML file in UTF-8, got {error}") from error
    return parse_yaml(text, origin=str(path))


def parse_yaml(text: str, origin: str) -> Any:
    """The content of YAML text; ``origin`` names it in messages."""
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except NO_YAML as error:
        raise SettingsError(f"{origin}: not valid YAML: {error}") from error
