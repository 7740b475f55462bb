"""Arrows between rooms point down only, in one step or in many; what is heavy stays where it belongs."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP = ("label_config", "ml_backend", "plugins")

_GROUND = {"label_config.values", "label_config.settings", "label_config.labelling", "ml_backend.child_processes"}
_VALUES = {"ml_backend.recordings", "ml_backend.store"}
_MATHS = {"ml_backend.heatmaps", "ml_backend.geometry", "ml_backend.metrics"}
_SKILLS = {"ml_backend.pose", "ml_backend.acquisition", "ml_backend.labels", "ml_backend.formats"}
_LOOP = {"ml_backend.project", "ml_backend.evaluation", "ml_backend.jobs"}
_BACKEND = (
    _GROUND
    | _VALUES
    | _MATHS
    | _SKILLS
    | _LOOP
    | {
        "ml_backend.server",
        "ml_backend.web_page",
        "ml_backend.simulation",
        "ml_backend.tracks",
    }
)

#: Room → rooms that it may import, itself aside.
ROOMS: dict[str, set[str]] = {
    "label_config.values": set(),
    "label_config.settings": {"label_config.values"},
    "label_config.labelling": {"label_config.values", "label_config.settings"},
    # Every file of somebody else starts one, so that nothing may be imported there for comfort.
    "ml_backend.child_processes": {"label_config.values"},
    **dict.fromkeys(_VALUES, _GROUND),
    **dict.fromkeys(_MATHS, _GROUND | _VALUES),
    **dict.fromkeys(_SKILLS, _GROUND | _VALUES | _MATHS),
    "ml_backend.project": _GROUND | _VALUES | _MATHS | _SKILLS,
    "ml_backend.evaluation": _GROUND | _VALUES | _MATHS | _SKILLS | {"ml_backend.project"},
    "ml_backend.jobs": _GROUND | _VALUES | _MATHS | _SKILLS | {"ml_backend.project", "ml_backend.evaluation"},
    # Answers from the store, so never the network.
    "ml_backend.server": _GROUND | _VALUES | _MATHS | _SKILLS - {"ml_backend.pose"},
    # Pages for people, on the same server; they never load the network either.
    "ml_backend.web_page": _GROUND
    | _VALUES
    | _MATHS
    | (_SKILLS - {"ml_backend.pose"})
    | {"ml_backend.project", "ml_backend.evaluation", "ml_backend.server"},
    # Runs inside the host `label-studio-ml`, in place of our own server.
    "ml_backend.label_studio_ml": _GROUND | _VALUES | {"ml_backend.server", "ml_backend.jobs"},
    # Pure: neither a store nor a service.
    "ml_backend.simulation": _GROUND | {"ml_backend.recordings"} | _MATHS | _SKILLS,
    # A model folder and videos are enough: neither a store nor a service.
    "ml_backend.tracks": _GROUND | {"ml_backend.recordings"} | _MATHS | {"ml_backend.pose", "ml_backend.formats"},
    # Never runs a model, so never the network.
    "plugins.label_studio_sync": _BACKEND
    - {"ml_backend.pose", "ml_backend.server", "ml_backend.web_page", "ml_backend.simulation", "ml_backend.tracks"},
    "plugins.cli": _BACKEND | {"plugins.label_studio_sync"},
    "plugins.demo": _BACKEND | {"plugins.label_studio_sync", "plugins.cli"},
}
_NUMBERS = {"numpy"}
#: Room → packages of others that it may import; rooms that are not listed here are free.
PACKAGES: dict[str, set[str]] = {
    "label_config.values": _NUMBERS,
    "label_config.settings": _NUMBERS | {"pydantic", "yaml"},
    "label_config.labelling": _NUMBERS | {"defusedxml"},
    "ml_backend.child_processes": _NUMBERS | {"scipy"},
    "ml_backend.recordings": _NUMBERS | {"av", "cv2", "httpx"},
    "ml_backend.store": _NUMBERS | {"sqlalchemy", "alembic"},
    "ml_backend.heatmaps": _NUMBERS | {"cv2"},
    "ml_backend.geometry": _NUMBERS | {"scipy", "cv2", "yaml", "defusedxml"},
    "ml_backend.metrics": _NUMBERS | {"scipy", "cv2"},  # pictures changed on purpose, to see what a model makes of them
    "ml_backend.acquisition": _NUMBERS | {"scipy"},
    "ml_backend.labels": _NUMBERS | {"scipy"},
    # Pictures alone are encoded with cv2, those in label files, by a child that imports no room of pictures.
    "ml_backend.formats": _NUMBERS | {"yaml", "h5py", "pandas", "sleap_io", "xarray", "cv2"},
    "ml_backend.server": _NUMBERS | {"flask", "waitress", "werkzeug", "prometheus_client"},
    "ml_backend.web_page": _NUMBERS | {"flask", "markupsafe", "werkzeug", "cv2"},  # pictures are sent at the size that is shown
    "ml_backend.project": _NUMBERS | {"cv2", "pydantic"},  # what the rows of jobs hold is checked
    "ml_backend.evaluation": _NUMBERS,
    "ml_backend.jobs": _NUMBERS | {"redis", "rq"},
    "ml_backend.tracks": _NUMBERS | {"scipy", "cv2", "av", "rerun"},
}
NETWORKS = {"torch", "torchvision", "transformers"}


def modules() -> dict[str, Path]:
    """Module name → file."""
    found = {}
    for top in TOP:
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


def room_of(module: str) -> str:
    """The first two parts of a name."""
    return ".".join(module.split(".")[:2])


def imports_in(source: str) -> Iterator[str]:
    """Every name that the source imports, wherever in it; ``from a import b`` gives a.b, a module or a thing in a."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imports_of(module: str) -> frozenset[str]:
    return frozenset(imports_in(MODULES[module].read_text(encoding="utf-8")))


def our_modules(names: frozenset[str]) -> set[str]:
    """The modules of ours behind imported names, with the packages that lie above them: those are run as well."""
    found = set()
    for name in names:
        parts = name.split(".")
        if parts[0] in TOP:
            found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)} & MODULES.keys()
    return found


def their_packages(names: frozenset[str]) -> set[str]:
    return {name.split(".")[0] for name in names} - set(TOP) - set(sys.stdlib_module_names)


@cache
def reached_from(module: str) -> frozenset[str]:
    """Every module of ours that importing this one may run, now or later, itself among them."""
    reached, waiting = {module}, [module]
    while waiting:
        for other in our_modules(imports_of(waiting.pop())) - reached:
            reached.add(other)
            waiting.append(other)
    return frozenset(reached)


def broken_rules(module: str, names: frozenset[str]) -> list[str]:
    """Imports of a module that its room may not have."""
    room = room_of(module)
    rooms = {room_of(other) for other in our_modules(names)} - {room, *TOP}
    packages = their_packages(names) - PACKAGES.get(room, their_packages(names))
    return sorted((rooms - ROOMS[room]) | packages)


def test_no_two_files_or_classes_have_one_name() -> None:
    files = [file.name for file in MODULES.values() if not file.name.startswith("_")]
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in MODULES.values()]
    classes = [node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    assert [name for name, count in Counter([*files, *classes]).items() if count > 1] == []


def test_every_room_is_known() -> None:
    rooms = {room_of(module) for module in MODULES} - set(TOP)
    assert rooms <= ROOMS.keys(), "a new room needs its rules in this table"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    mine = [module for module in MODULES if room_of(module) == room]
    broken = {module: broken_rules(module, imports_of(module)) for module in mine}
    assert {module: names for module, names in broken.items() if names} == {}


def test_the_check_sees_what_it_should() -> None:
    lazy = frozenset(imports_in("def f():\n    from ml_backend.pose import infer\n    import torch\n"))
    assert broken_rules("ml_backend.server.app", lazy) == ["ml_backend.pose", "torch"]
    assert broken_rules("ml_backend.jobs.retrain_job", lazy) == ["torch"]
    assert broken_rules("ml_backend.pose.training", lazy) == []


def below(room: str) -> set[str]:
    """The rooms under a room, all the way down."""
    return ROOMS[room].union(*(below(other) for other in ROOMS[room]))


@pytest.mark.parametrize("room", [room for room in sorted(ROOMS) if not room.startswith("plugins")])
def test_a_room_reaches_only_what_lies_below_it(room: str) -> None:
    """Module by module, through whatever each of them imports in turn."""
    assert room not in below(room)
    for module in (module for module in MODULES if room_of(module) == room):
        rooms = {room_of(other) for other in reached_from(module)} - {room, "ml_backend", "label_config"}
        assert rooms <= below(room), f"{module} reaches {sorted(rooms - below(room))}"


@pytest.mark.parametrize("room", sorted(_SKILLS))
def test_skills_never_reach_one_another(room: str) -> None:
    for module in (module for module in MODULES if room_of(module) == room):
        assert {room_of(other) for other in reached_from(module)} & _SKILLS == {room}, module


@pytest.mark.parametrize("room", ["ml_backend.server", "ml_backend.web_page", "plugins.label_studio_sync"])
def test_server_and_sync_never_load_a_network(room: str) -> None:
    for module in (module for module in MODULES if room_of(module) == room):
        heavy = {other for other in reached_from(module) if their_packages(imports_of(other)) & NETWORKS}
        assert not heavy, f"{module} reaches {sorted(heavy)}"


def test_networks_are_imported_by_pose_alone() -> None:
    users = {room_of(module) for module in MODULES if their_packages(imports_of(module)) & NETWORKS}
    assert users <= {"ml_backend.pose", "ml_backend.simulation"}


def test_one_module_talks_to_label_studio() -> None:
    users = {module for module in MODULES if "label_studio_sdk" in their_packages(imports_of(module))}
    assert users == {"plugins.label_studio_sync.client"}


def test_the_backend_never_imports_plugins() -> None:
    for module in (module for module in MODULES if not module.startswith("plugins")):
        assert not any(other.startswith("plugins") for other in reached_from(module)), module
