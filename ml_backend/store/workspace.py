"""What every process opens first: the settings, the database, the arrays, and the project they are about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from label_config.labelling.binding import Binding
from label_config.settings.spec import Spec
from label_config.values import BadInputError, ParallaxError
from label_config.values.refusing import refusing
from label_config.values.shown_address import shown_address
from ml_backend.store import projects
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import ProjectStore, open_store


@dataclass(frozen=True)
class Workspace:
    """One project on one machine."""

    spec: Spec
    store: ProjectStore
    arrays: ArrayStore

    @property
    def project(self) -> projects.Project:
        """The project as it is now."""
        return projects.get(self.store)

    @property
    def binding(self) -> Binding:
        """How the project's labelling config maps to views and keypoints."""
        return self.binding_in(self.project)

    def binding_in(self, project: projects.Project) -> Binding:
        """:attr:`binding` of the project as it was read already."""
        with refusing(BadInputError, "store: what it holds of the labelling config is damaged; run `parallax init` again"):
            return Binding.from_json(project.binding or {})

    @property
    def views(self) -> tuple[str, ...]:
        """(V,) camera names, the order of every V axis.

        A config with one picture may serve several cameras, one task each; then parallax.yaml names them.
        """
        return self.views_of(self.binding)

    def views_of(self, binding: Binding) -> tuple[str, ...]:
        """:attr:`views` of a binding that was read already."""
        names = binding.names
        return self.spec.views if len(names) == 1 and self.spec.views else names

    def binding_of(self, task_views: tuple[str, ...] | None) -> Binding:
        """The binding for a task that shows ``task_views`` (None = all)."""
        return self.of_task(self.binding, task_views)

    def of_task(self, binding: Binding, task_views: tuple[str, ...] | None) -> Binding:
        """:meth:`binding_of` with the project's binding read already."""
        if len(binding.views) == 1 and len(self.views_of(binding)) > 1 and task_views:
            return binding.for_view(task_views[0])
        return binding

    @property
    def models(self) -> Path:
        """The folder of model versions."""
        return Path(self.spec.models)


def open_workspace(spec: Spec) -> Workspace:
    """Open the store of a project that ``parallax init`` has registered.  Raises ParallaxError when it has not."""
    store = open_store(spec.store, create=False)
    number = spec.label_studio.project
    project = projects.find(store, spec.label_studio.url, number) if number is not None else None
    if project is None or project.binding is None:
        where = shown_address(spec.store)
        wanted = f"project {number}" if number is not None else "a project"
        elsewhere = [
            row for row in projects.list_all(store) if row.ls_project_id == number and row.ls_url != spec.label_studio.url
        ]
        if project is None and elsewhere:
            raise ParallaxError(
                f"{wanted} on {spec.label_studio.url} is not set up in {where}, but {wanted} on {elsewhere[-1].ls_url} is. "
                "If Label Studio has moved, run `parallax init`: it takes the project over with its labels and models"
            )
        raise ParallaxError(f"{wanted} on {spec.label_studio.url} is not set up in {where}; run `parallax init` first")
    return Workspace(spec, store.of_project(project.id), ArrayStore(Path(spec.arrays)))
