"""What ``label-studio-ml start`` runs, and gunicorn as ``_wsgi:app``; the secret is asked for like on our own server."""

from __future__ import annotations

import argparse
import os

from label_studio_ml.api import init_app
from model import Parallax

from label_config.settings.caller_secret import BASIC_USER
from ml_backend.server.access import protect

SECRET_VARIABLE = "PARALLAX_SECRET"
#: The host's own check knows basic auth only, and would refuse our webhook, which brings a header.
OWN_PASSWORD = (
    "a user and a password of the host's own (BASIC_AUTH_USER, ML_SERVER_BASIC_AUTH_USER, --basic-auth-user) are not supported: "
    f"leave them out; Label Studio brings the user {BASIC_USER!r} and the password that stands in {SECRET_VARIABLE}"
)

if os.environ.get("BASIC_AUTH_USER"):
    raise SystemExit(OWN_PASSWORD)
app = init_app(model_class=Parallax)
secret = os.environ.get(SECRET_VARIABLE)
if not secret:
    raise SystemExit(f"{SECRET_VARIABLE} is not set: write there what `.parallax/secret` beside parallax.yaml holds")
protect(app, secret)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-p", "--port", type=int, default=9090)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--basic-auth-user", "--basic-auth-pass", dest="own_password", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.own_password:
        raise SystemExit(OWN_PASSWORD)
    app.run(host=options.host, port=options.port)
