"""A served project, and a client that brings the secret."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from label_config.settings.caller_secret import SECRET_HEADER
from ml_backend.server.app import create_app
from ml_backend.store.workspace import Workspace
from tests.small_project import SECRET


@pytest.fixture
def client(workspace: Workspace) -> FlaskClient:
    """Calls the backend as Label Studio does."""
    caller = create_app(workspace, SECRET).test_client()
    caller.environ_base["HTTP_" + SECRET_HEADER.upper().replace("-", "_")] = SECRET
    return caller
