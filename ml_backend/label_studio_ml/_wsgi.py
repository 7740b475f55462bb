"""What ``label-studio-ml start`` runs, and gunicorn as ``_wsgi:app``; the secret is asked for like on our own server."""

from __future__ import annotations

import argparse
import os

from label_studio_ml.api import init_app
from model import Parallax

from ml_backend.server.access import protect

SECRET_VARIABLE = "PARALLAX_SECRET"

# Label Studio's webhooks bring a header and its other calls bring basic auth; the host's own check knows the second only.
app = init_app(model_class=Parallax)
secret = os.environ.get(SECRET_VARIABLE)
if not secret:
    raise SystemExit(f"{SECRET_VARIABLE} is not set: write there what `.parallax/secret` beside parallax.yaml holds")
protect(app, secret)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-p", "--port", type=int, default=9090)
    parser.add_argument("--host", default="0.0.0.0")
    options = parser.parse_args()
    app.run(host=options.host, port=options.port)
