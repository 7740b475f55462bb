"""The secret that Label Studio brings when it calls the backend: set by the user, else made once and kept in a file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from label_config.settings.spec import Spec
from label_config.values import ParallaxError
from label_config.values.private_files import make_folder

SECRET_VARIABLE = "PARALLAX_SECRET"


def secret_file(spec: Spec) -> Path:
    """Where a secret that we made is kept."""
    return spec.folder / ".parallax" / "secret"


def find_secret(spec: Spec) -> str | None:
    """The secret of parallax.yaml, of the environment or of our file; None when there is none yet."""
    if spec.backend.secret is not None:
        return spec.backend.secret.get_secret_value() or None
    path = secret_file(spec)
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ParallaxError(f"{path}: the backend's secret cannot be read ({error.strerror})") from error


def ensure_secret(spec: Spec) -> str:
    """The secret, made when there is none; the file is readable by its owner only."""
    found = find_secret(spec)
    if found is not None:
        return found
    path = secret_file(spec)
    make_folder(path.parent)
    path.unlink(missing_ok=True)  # an empty one; never another's, because find_secret would have read it
    made = secrets.token_urlsafe(32)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(made + "\n")
    return made
