"""Links of the pages that lead out of docs/ (to the code, the licence, the changelog) become plain text on the site."""

from __future__ import annotations

import re

_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:[A-Z][\w.]*|(?:ml_backend|plugins|label_config|tests|bench|docker)[\w/.]*)\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by mkdocs for every page."""
    return _OUTSIDE.sub(r"\1", markdown)
