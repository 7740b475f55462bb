"""Every error of ours has a place in the tree of ``label_config.values.errors``."""

from __future__ import annotations

import ast

import pytest

from label_config.values import BadInputError, ParallaxError, errors
from tests.test_import_rules import MODULES

#: They never leave the room that raises them, so no user meets them.
INTERNAL = {
    "ml_backend.recordings.decoding.DecoderDiedError",
    "ml_backend.server.access.RefusedError",
    "ml_backend.server.predictions.ForeignProjectError",
    "ml_backend.server.predictions.PoolMissError",
    "ml_backend.server.predictions.TooManyTasksError",
}


def parents() -> dict[str, set[str]]:
    """Class of an exception → names of its bases, over all modules."""
    found: dict[str, set[str]] = {}
    for module, file in MODULES.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef):
                continue
            bases = {ast.unparse(base) for base in node.bases}
            if any(base.endswith(("Error", "Exception")) for base in bases - {"utilities.Error"}):  # waitress's kind of answer
                found[f"{module}.{node.name}"] = bases
    return found


def test_every_error_is_in_the_tree() -> None:
    of_user = {name.rsplit(".", 1)[1] for name in parents().keys() - INTERNAL}
    stray = {name: bases for name, bases in parents().items() if name not in INTERNAL and not bases & (of_user | {"Exception"})}
    assert stray == {}
    roots = {name for name, bases in parents().items() if bases == {"Exception"}}
    assert roots == INTERNAL | {"label_config.values.errors.ParallaxError"}


@pytest.mark.parametrize("name", [name for name in vars(errors) if name.endswith("Error")])
def test_the_page_shows_every_branch(name: str) -> None:
    assert issubclass(getattr(errors, name), ParallaxError)
    assert name in (errors.__doc__ or "")


def test_what_a_user_gave_is_one_kind() -> None:
    kinds = {"SettingsError", "LabellingConfigError", "RecordingError", "CalibrationError", "LabelFileError", "ModelError"}
    assert {kind.__name__ for kind in BadInputError.__subclasses__()} >= kinds
