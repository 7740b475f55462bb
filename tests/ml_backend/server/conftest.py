"""A served project, and a client that brings the secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from ml_backend.server.access import SECRET_HEADER
from ml_backend.server.app import create_app
from ml_backend.store.workspace import Workspace
from tests.small_project import SECRET, make_project


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Six frames, five of them in the order that is served."""
    made = make_project(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def client(workspace: Workspace) -> FlaskClient:
    """Calls the backend as Label Studio does."""
    caller = create_app(workspace, SECRET).test_client()
    caller.environ_base["HTTP_" + SECRET_HEADER.upper().replace("-", "_")] = SECRET
    return caller
