"""The ML backend that Label Studio talks to.  NumPy only: predictions are read from the store, never computed here.

The answers have the shapes that Label Studio 1.23 was seen to expect.
"""

from __future__ import annotations

import logging
import secrets
import time

from flask import Flask, Response, g, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from werkzeug.exceptions import HTTPException

from label_config.values.json_values import mapping
from ml_backend.server.access import MAX_PREDICT_BYTES, RefusedError, protect, read_json
from ml_backend.server.events import NO_VERSION, note_address, ring, serving
from ml_backend.server.gauges import StoreGauges
from ml_backend.server.predictions import Compute, ForeignProjectError, PoolMissError, Predictions, TooManyTasksError
from ml_backend.server.wishes import Wishes
from ml_backend.store import generations
from ml_backend.store.fault_points import reach
from ml_backend.store.workspace import Workspace

log = logging.getLogger("parallax.server")


def create_app(workspace: Workspace, secret: str | None, *, compute: Compute | None = None) -> Flask:
    """The application.

    secret   what callers must bring; None only for ``--insecure``
    compute  asks a worker to predict frames that no order contains, and waits; None = there is no worker to ask

    Raises ValueError for an empty secret, which every caller would bring.
    """
    if secret == "":
        raise ValueError("the secret is empty")
    app = Flask("parallax", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_PREDICT_BYTES
    registry = CollectorRegistry()
    calls = Counter("parallax_requests", "Requests by endpoint and status", ["endpoint", "status"], registry=registry)
    took = Histogram("parallax_request_seconds", "Time to answer", ["endpoint"], registry=registry)
    registry.register(StoreGauges(workspace))
    predictions, wishes = Predictions(workspace, compute), Wishes(workspace)
    project_number = workspace.project.ls_project_id

    @app.before_request
    def _enter() -> None:
        request.environ["parallax.start"] = time.perf_counter()
        reach(f"asked {request.endpoint}")

    protect(app, secret)

    @app.after_request
    def _leave(response: Response) -> Response:
        reach(f"answering {request.endpoint}")
        endpoint = request.endpoint or "unknown"
        calls.labels(endpoint, response.status_code).inc()
        took.labels(endpoint).observe(time.perf_counter() - request.environ["parallax.start"])
        return response

    @app.errorhandler(HTTPException)
    def _http_error(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.name), error.code or 500

    @app.errorhandler(Exception)
    def _unexpected(error: Exception) -> tuple[Response, int]:
        # The caller gets a number to quote; what happened stays in our log.
        number = secrets.token_hex(6)
        log.exception("error %s while answering %s", number, request.path, exc_info=error)
        return jsonify(error=f"internal error {number}; see the backend's log"), 500

    @app.get("/health")
    def health() -> Response:
        return jsonify(status="UP", model_class="Parallax")

    @app.get("/")
    def root() -> Response:
        return jsonify(status="UP", model_class="Parallax")

    @app.post("/setup")
    def setup() -> Response:
        note_address(workspace, read_json(request).get("hostname"))
        return jsonify(model_version=serving(workspace) or NO_VERSION)

    @app.get("/versions")
    def versions() -> Response:
        served = generations.list_generations(workspace.store)
        return jsonify(versions=[row.name for row in served if row.switched_at is not None][::-1])

    @app.post("/predict")
    def predict() -> Response | tuple[Response, int]:
        body = read_json(request, MAX_PREDICT_BYTES)
        tasks = body.get("tasks")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise RefusedError(400, "expected 'tasks', a list of tasks")
        try:
            clicked = mapping(mapping(body.get("params")).get("context"))
            return jsonify(results=predictions.of(tasks, body.get("project"), clicked))
        except ForeignProjectError as foreign:
            raise RefusedError(404, str(foreign)) from foreign
        except TooManyTasksError as many:
            raise RefusedError(413, str(many)) from many
        except PoolMissError as miss:
            # A short or empty answer would be stored as if it were the model's word.
            raise RefusedError(503, str(miss)) from miss

    @app.post("/webhook")
    def webhook() -> tuple[Response, int]:
        ring(wishes, project_number, read_json(request), may_train=g.may_train)
        return jsonify(status="accepted"), 202

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return app
