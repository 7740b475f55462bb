"""Networks by name.

A name of the table, or ``package.module:function`` for one's own; the function takes ``n_keypoints`` and keyword
arguments and returns a PoseNetwork.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from label_config.settings.config_variable import CONFIG_VARIABLE
from label_config.values.errors import ModelError
from ml_backend.pose.networks.network import HeadKind, Part, PoseNetwork, PoseOutput, map_shapes, part_of

__all__ = ["NETWORKS", "HeadKind", "Part", "PoseNetwork", "PoseOutput", "build_network", "map_shapes", "part_of", "takes"]

#: name → (module, class or function); imported on first use because some need the transformers library.
NETWORKS = {
    "unet_small": ("unet_small", "UNetSmall"),
    "pose_resnet18": ("pose_resnet", "resnet18"),
    "pose_resnet50": ("pose_resnet", "resnet50"),
    "pose_resnet101": ("pose_resnet", "resnet101"),
    "hrnet_w32": ("hrnet", "w32"),
    "hrnet_w48": ("hrnet", "w48"),
    "hourglass": ("hourglass", "StackedHourglass"),
    "backbone": ("transformers_backbone", "BackboneNetwork"),
    "regression": ("regression", "RegressionNetwork"),
    "simcc": ("regression", "SimCCNetwork"),
}


def build_network(name: str, n_keypoints: int, *, plugins: Collection[str] = (), **kwargs: Any) -> PoseNetwork:
    """Build a freshly initialised network.

    ``plugins`` are the ``package.module:function`` names that the user's own configuration allows: a name that
    merely stands in a model folder is never imported.  Raises BadInputError for an unknown name or bad arguments.
    """
    builder = _builder(name, plugins)
    try:
        inspect.signature(builder).bind(n_keypoints, **kwargs)
    except TypeError as error:
        raise ModelError(f"network {name!r}: arguments {sorted(kwargs)} do not fit: {error}") from error
    try:
        network = builder(n_keypoints, **kwargs)
    except Exception as error:
        if name in NETWORKS:
            raise
        raise ModelError(f"network {name!r} cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(network, PoseNetwork):
        raise ModelError(f"network {name!r}: expected a PoseNetwork, got {type(network).__name__}")
    return network


def takes(name: str, argument: str, *, plugins: Collection[str] = ()) -> bool:
    """A network has an argument of this name.  Raises BadInputError as :func:`build_network`."""
    return argument in inspect.signature(_builder(name, plugins)).parameters


def _builder(name: str, plugins: Collection[str]) -> Callable[..., Any]:
    if name in NETWORKS:
        module, attribute = NETWORKS[name]
        found: Callable[..., Any] = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        return found
    if ":" not in name:
        raise ModelError(f"network {name!r} is not known; expected one of {', '.join(NETWORKS)} or 'package.module:function'")
    if name not in plugins:
        raise ModelError(f"network {name!r} is not allowed here; name it in parallax.yaml to have it imported")
    module, _, attribute = name.partition(":")
    _find_beside_settings()
    try:
        own: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"network {name!r} cannot be imported: {error}; is its package installed here, or its file beside parallax.yaml?"
        ) from error
    return own


def _find_beside_settings() -> None:
    """Modules beside parallax.yaml can be imported, after whatever is installed: they stand in for nothing."""
    settings = os.environ.get(CONFIG_VARIABLE)
    folder = str(Path(settings).resolve().parent) if settings else ""
    if folder and folder not in sys.path:
        sys.path.append(folder)
