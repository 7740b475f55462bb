"""The documentation names what there is: every setting with its default, every command, and no file that is not there."""

from __future__ import annotations

import pydoc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from label_config.settings.frame_rules import FrameRules
from label_config.settings.recording_settings import RecordingSettings, ViewSource
from label_config.settings.spec import Spec, load_spec
from plugins.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
SETTINGS = (ROOT / "docs" / "parallax-yaml.md").read_text(encoding="utf-8")
#: Lists and mappings of sections, which a type alone does not show.
INSIDE: dict[str, type[BaseModel]] = {"recordings": RecordingSettings, "recordings.views": ViewSource, "frames": FrameRules}


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        inside = INSIDE.get(path)
        if inside is None and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inside = field.annotation
        if inside is None or path.startswith("recordings."):
            yield path, field
        if inside is not None:
            yield from fields(inside, f"{path}.")


def plain(value: Any) -> Any:
    return list(map(plain, value)) if isinstance(value, tuple) else value


def documented() -> dict[str, str]:
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| (.+?) \|", SETTINGS, flags=re.MULTILINE)
    return {name: default.strip("`") for name, default in rows}


def test_every_setting_is_documented_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LABEL_STUDIO_API_KEY", "PARALLAX_SECRET", "PARALLAX_REDIS_URL"):
        monkeypatch.delenv(variable, raising=False)
    said = documented()
    expected = dict(fields(Spec))
    assert said.keys() == expected.keys()
    required = {name for name, field in expected.items() if field.is_required()}
    assert {name for name in said if said[name] == "required"} == required
    for name in expected.keys() - required:
        assert yaml.safe_load(said[name]) == plain(expected[name].get_default(call_default_factory=True)), name


def commands() -> Iterator[str]:
    def walk(command: Any, prefix: str) -> Iterator[str]:
        yield prefix
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, f"{prefix} {name}")

    yield from walk(typer.main.get_command(app), "parallax")


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_is_explained(command: str) -> None:
    assert command in "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    known = set(commands())
    groups = {name.split()[1] for name in known if len(name.split()) > 2} - {"harvest"}  # harvest is a command as well
    shown = re.findall(r"\bparallax ((?:[a-z]+(?:-[a-z]+)* ?){1,2})", "\n".join(code(page.read_text(encoding="utf-8"))))
    words = [tuple(one.split()) for one in shown]
    assert {f"parallax {first}" for first, *_ in words} <= known
    assert {f"parallax {' '.join(both)}" for both in words if len(both) > 1 and both[0] in groups} <= known


def code(text: str) -> list[str]:
    """Inline code and code blocks."""
    blocks = re.findall(r"^```.*?$(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")) if "://" not in target]
    for target in targets:
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def examples() -> list[str]:
    """Every parallax.yaml that a page shows."""
    found = []
    for page in PAGES:
        found += re.findall(r"^```yaml\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [text for text in found if re.search(r"^(label_studio|views|scores|train|cache|store):", text, flags=re.MULTILINE)]


@pytest.mark.parametrize("text", examples())
def test_settings_that_are_shown_are_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "parallax.yaml"
    path.write_text(text, encoding="utf-8")
    load_spec(path)


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "img").glob("*.png")), ids=lambda path: path.name)
def test_pictures_are_small(picture: Path) -> None:
    assert picture.stat().st_size <= 250_000


API = re.compile(r"^::: (\S+)(?:\n    options:\n      members: \[(.*)\])?", re.MULTILINE)
API_PAGES = sorted((ROOT / "docs" / "api").glob("*.md"))
IN_API = [(name, members) for page in API_PAGES for name, members in API.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("name", "members"), IN_API, ids=[name for name, _ in IN_API])
def test_what_the_pages_of_the_interface_show_exists(name: str, members: str) -> None:
    shown = pydoc.locate(name)
    assert shown is not None
    assert [member for member in re.findall(r"\w+", members) if not hasattr(shown, member)] == []
