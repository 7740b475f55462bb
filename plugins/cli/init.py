"""``parallax init``: create or adopt a project."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from label_config.values import BadInputError
from plugins.cli.context import config_path, connect, console, read_spec
from plugins.cli.secrets import ensure_secret


def init(
    ctx: typer.Context,
    project: Annotated[int | None, typer.Option(help="Number of the Label Studio project to adopt.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what was understood and would change.")] = False,
) -> None:
    """Set up a Label Studio project: adopt the one in parallax.yaml, or create it from the recordings there."""
    from plugins.label_studio_sync.adopt import understand
    from plugins.label_studio_sync.set_up import carry_out

    spec = read_spec(ctx)
    if project is not None:
        spec = spec.model_copy(update={"label_studio": spec.label_studio.model_copy(update={"project": project})})
    out = console()
    plan = understand(spec, connect(spec))
    for line in plan.lines:
        out.print(line, markup=False)
    if dry_run:
        out.print("dry run: nothing was changed")
        return
    workspace = carry_out(plan, ensure_secret(spec))
    number = workspace.project.ls_project_id
    path = config_path(ctx)
    write_project_number(path, number)
    out.print(f"project {number} is set up: {spec.label_studio.url}/projects/{number}; next: `parallax up`", markup=False)


def write_project_number(path: Path, number: int) -> None:
    """Set ``label_studio.project`` in the file and leave every other line, comments among them, as it is.

    Raises BadInputError when the section is written in a way that cannot be changed line by line.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next((i for i, line in enumerate(lines) if re.match(r"label_studio\s*:\s*(#.*)?$", line)), None)
    if start is None:
        if any(re.match(r"label_studio\s*:", line) for line in lines):
            raise BadInputError(f"{path}: write `project: {number}` into label_studio yourself; the section is on one line")
        lines += ["label_studio:", f"  project: {number}"]
    else:
        section = range(start + 1, _end_of_section(lines, start))
        indent = next((m[1] for i in section if (m := re.match(r"(\s+)[^\s#]", lines[i]))), "  ")
        known = next((i for i in section if re.match(rf"{indent}project\s*:", lines[i])), None)
        if known is None:
            lines.insert(start + 1, f"{indent}project: {number}")
        else:
            comment = re.search(r"\s+#.*$", lines[known])
            lines[known] = f"{indent}project: {number}{comment[0] if comment else ''}"
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"{path}: write `project: {number}` into label_studio yourself ({error.strerror})") from error


def _end_of_section(lines: list[str], start: int) -> int:
    return next((i for i in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[i])), len(lines))
