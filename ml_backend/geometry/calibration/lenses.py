"""Names of lens models in other tools' files.  A name or a key that is not known is an error, never a camera without a lens."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ml_backend.geometry.calibration.safe_reading import Where
from ml_backend.geometry.cameras import Model

#: Names without regard to case and punctuation.  No lens at all is a special case of Brown's.
_MODELS: dict[str, Model] = {
    **dict.fromkeys(("", "none", "pinhole", "perspective", "standard", "opencv", "brown", "brownconrady", "radtan"), "pinhole"),
    **dict.fromkeys(("plumbbob", "rationalpolynomial", "rational", "radialtangential", "pinholeradtan"), "pinhole"),
    **dict.fromkeys(("fisheye", "opencvfisheye", "equidistant", "equi", "pinholeequi", "kb", "kb4"), "fisheye"),
    **dict.fromkeys(("kannala", "kannalabrandt", "kannalabrandt4", "kannalabrandt8"), "fisheye"),
}
_ABOUT_THE_LENS = re.compile("dist|coef|model|lens|fish|equi|kannala|skew", re.IGNORECASE)


def lens_model(where: Where, key: str, name: object) -> Model:
    """The model of that name.  Raises BadInputError for others."""
    model = _MODELS.get(re.sub("[^a-z0-9]", "", str(name).lower()))
    if model is None:
        known = "a pinhole with Brown's lens (radtan, plumb_bob, rational_polynomial) or a fisheye (equidistant, kannala_brandt)"
        raise where.fail(key, known, repr(name), "calibrate with one of these models")
    return model


def refuse_unknown(where: Where, keys: Iterable[str], known: Iterable[str]) -> None:
    """Raise BadInputError for a key about the lens that is not ``known``: what it says would be lost in silence."""
    expected = set(known)
    for key in keys:
        if key not in expected and _ABOUT_THE_LENS.search(key):
            raise where.fail(key, f"only keys that are known here ({', '.join(sorted(expected))})", "this key", "rename it")
