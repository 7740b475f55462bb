"""``parallax train``: ask for a training run, or for the learning rate that suits the labels."""

from __future__ import annotations

from typing import Annotated

import typer

from plugins.cli.context import console, open_project


def train(
    ctx: typer.Context,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only try out learning rates on the labels of this moment, here and now.")
    ] = False,
) -> None:
    """Train on the labels of this moment, at the next tick."""
    from ml_backend.store import projects

    workspace = open_project(ctx)
    if find_lr:
        from ml_backend.jobs.learning_rate import range_test

        found = range_test(workspace)
        console().print(
            f"train.lr: {found.suggestion:.2g} is where the loss falls fastest ({len(found.lr)} rates from {found.lr[0]:.1g} to "
            f"{found.lr[-1]:.1g} tried; {workspace.spec.train.lr:g} is set)",
            markup=False,
        )
        return
    projects.change(workspace.store, train_requested=True, pull_requested=True)
    if workspace.project.halted is not None:
        console().print(f"asked for, but training has stopped: {workspace.project.halted}", markup=False)
    else:
        console().print("training was asked for; `parallax status` shows its progress")
