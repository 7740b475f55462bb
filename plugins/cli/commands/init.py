"""``parallax init``: create or adopt a project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from label_config.settings.spec import load_spec
from plugins.cli.context import config_path, connect, console, read_spec
from plugins.cli.secrets import ensure_secret
from plugins.cli.settings_file import set_in_yaml, write_whole


def init(
    ctx: typer.Context,
    project: Annotated[int | None, typer.Option(help="Number of the Label Studio project to adopt.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what was understood and would change.")] = False,
    header: Annotated[
        bool | None, typer.Option(help="Add a line above the pictures that says why a task was chosen; asked when left out.")
    ] = None,
) -> None:
    """Set up a Label Studio project: adopt the one in parallax.yaml, or create it from the recordings there."""
    from plugins.label_studio_sync.adoption_plan import understand
    from plugins.label_studio_sync.reason_header import add_header, shows_reason
    from plugins.label_studio_sync.set_up import carry_out

    spec = read_spec(ctx)
    if project is not None:
        spec = spec.model_copy(update={"label_studio": spec.label_studio.model_copy(update={"project": project})})
    out = console()
    client = connect(spec)
    ctx.call_on_close(client.close)
    plan = understand(spec, client)
    changes = [*plan.changes, *(["add a line with the reason above the pictures"] if header else [])]
    remarks = [remark for remark in plan.remarks if not (header and "--header" in remark)]
    for line in (*plan.lines, *(f"{'would' if dry_run else 'will'} {change}" for change in changes), *remarks):
        out.print(line, markup=False)
    if dry_run:
        out.print("dry run: nothing was changed")
        return
    if header is None and sys.stdin.isatty() and not shows_reason(plan.label_config):
        header = typer.confirm("Add a line above the pictures that says why a task was chosen?", default=True)
    workspace = carry_out(plan, ensure_secret(spec), note=_Number(config_path(ctx)))
    ctx.call_on_close(workspace.store.close)
    if header and not add_header(workspace, client):
        out.print("no line was added: the labelling config has one, or its first tag is no <View>")
    number = workspace.project.ls_project_id
    out.print(f"project {number} is set up: {spec.label_studio.url}/projects/{number}/data", markup=False)
    out.print("next: `parallax up` in a terminal of its own, then `parallax doctor`", markup=False)


class _Number:
    """Writes ``label_studio.project`` where another one, or none, stands; None puts back what stood there before."""

    def __init__(self, path: Path) -> None:
        self.path, self.before = path, path.read_bytes().decode("utf-8")
        self.written = load_spec(path).label_studio.project

    def __call__(self, number: int | None) -> None:
        if number is None:
            write_whole(self.path, self.before, "take label_studio.project out")
        elif number != self.written:
            set_in_yaml(self.path, "label_studio", "project", number)
