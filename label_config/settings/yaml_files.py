"""Reading YAML written by people: a missing file, a syntax error or a key given twice is a BadInputError with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from label_config.values.errors import BadInputError, SettingsError
from label_config.values.refusing import refusing

#: Lists and mappings inside one another.  PyYAML's time grows with the square of their depth.
_DEEPEST = 100
#: Values in a file, those that stand behind an alias counted where they are used: ten lines may stand for 10^10 of them.
_MOST_VALUES = 200_000
_LARGEST_BYTES = 8_000_000
#: Digits of a whole number, and how far it may go: databases hold no larger ones.
_LONGEST_NUMBER, _LARGEST_NUMBER = 100, 2**63
_INT = "tag:yaml.org,2002:int"


class _Bounded(yaml.composer.Composer):
    """How deep and large YAML may be, whoever parses it."""

    def __init__(self) -> None:
        yaml.composer.Composer.__init__(self)
        self._depth = 0
        self._values: dict[Any, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[attr-defined]
            raise yaml.composer.ComposerError(None, None, f"values are nested deeper than {_DEEPEST}", mark)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if node not in self._values:  # an alias gives the node that it stands for
            self._values[node] = 1 + sum(self._values.get(child, 1) for child in _children(node))
        if self._values[node] > _MOST_VALUES:
            raise yaml.composer.ComposerError(None, None, f"there are more than {_MOST_VALUES:,} values", node.start_mark)
        return node

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)  # type: ignore[misc]
        if isinstance(value, str) and any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value):
            raise yaml.constructor.ConstructorError(None, None, "a text holds characters that are no text", node.start_mark)
        return value


class ShallowLoader(_Bounded, yaml.SafeLoader):
    """Plain YAML of a size that people write."""

    def __init__(self, stream: Any) -> None:
        yaml.SafeLoader.__init__(self, stream)
        _Bounded.__init__(self)

    def fetch_flow_collection_start(self, token: Any) -> None:
        if self.flow_level >= _DEEPEST:
            raise yaml.scanner.ScannerError(None, None, f"brackets are nested deeper than {_DEEPEST}", self.get_mark())
        super().fetch_flow_collection_start(token)


class FastLoader(_Bounded, yaml.CSafeLoader):
    """The same for files that programs write, with the parser of libyaml: several times as fast."""

    def __init__(self, stream: Any) -> None:
        yaml.CSafeLoader.__init__(self, stream)
        _Bounded.__init__(self)


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _whole_number(loader: ShallowLoader | FastLoader, node: yaml.ScalarNode) -> int:
    number = loader.construct_yaml_int(node) if len(node.value) <= _LONGEST_NUMBER else _LARGEST_NUMBER
    if abs(number) >= _LARGEST_NUMBER:
        raise yaml.constructor.ConstructorError(None, None, "a whole number is beyond 2^63", node.start_mark)
    return int(number)


ShallowLoader.add_constructor(_INT, _whole_number)
FastLoader.add_constructor(_INT, _whole_number)


class UniqueKeyLoader(ShallowLoader):
    """Plain YAML in which a key given twice is an error (by default the first value would vanish silently)."""


def _mapping(loader: UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, list | dict | set) and key in seen:  # those that are no keys, construct_mapping refuses
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
        seen.add(key if not isinstance(key, list | dict | set) else None)
    return loader.construct_mapping(node, deep=True)


UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.  Raises BadInputError when it cannot be read."""
    with refusing(SettingsError, f"{path}: expected a readable YAML file in UTF-8"):
        text = Path(path).read_text(encoding="utf-8")
    return parse_yaml(text, origin=str(path))


def parse_yaml(
    text: str,
    origin: str,
    *,
    loader: type[ShallowLoader | FastLoader] = UniqueKeyLoader,
    kind: type[BadInputError] = SettingsError,
) -> Any:
    """The content of YAML text.

    origin  names it in messages
    loader  by default a key that is given twice is an error
    kind    what is raised for text that is no YAML
    """
    if len(text) > _LARGEST_BYTES:
        raise kind(f"{origin}: expected YAML of at most {_LARGEST_BYTES // 10**6} MB, got a larger file")
    with refusing(kind, f"{origin}: not valid YAML"):
        return yaml.load(text, Loader=loader)
