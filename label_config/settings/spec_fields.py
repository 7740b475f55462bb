"""The field types of parallax.yaml: paths that resolve, addresses, secrets from the environment, bounded numbers."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo

from label_config.values.shown_address import shown_address


def _folder(info: ValidationInfo) -> Path:
    context = info.context or {}
    return Path(context.get("folder", ".")).resolve()


def _resolve(text: str, folder: Path) -> str:
    if "://" in text:
        return text
    return os.path.normpath(folder / Path(text).expanduser())


def _location(text: str, info: ValidationInfo) -> str:
    if not text.strip():
        raise ValueError("expected a path or an address, got an empty text")
    return _resolve(text, _folder(info))


def _database(text: str, info: ValidationInfo) -> str:
    prefix = "sqlite:///"
    if "://" not in text:
        raise ValueError(
            f"expected an address such as sqlite:///parallax.sqlite3 or postgresql+psycopg://…, got {shown_address(text)!r}"
        )
    if not text.startswith(prefix) or ":memory:" in text:
        return text
    return prefix + _resolve(text.removeprefix(prefix), _folder(info))


def _weights(text: str, info: ValidationInfo) -> str:
    return _resolve(text, _folder(info)) if text.startswith((".", "/", "~")) or text.endswith(".safetensors") else text


def _skeleton_path(value: str | dict[str, Any], info: ValidationInfo) -> str | dict[str, Any]:
    if isinstance(value, str) and value.endswith((".yaml", ".yml")):
        return _resolve(value, _folder(info))
    return value


def square(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


def source_alone(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


def weight_alone(value: Any) -> Any:
    return {"weight": value} if isinstance(value, int | float) else value


def secret(variable: str) -> Any:
    """A secret that the environment supplies when the file does not."""

    def from_environment() -> SecretStr | None:
        value = os.environ.get(variable)
        return SecretStr(value) if value else None

    return Field(default_factory=from_environment)


def absent_section() -> Any:
    """A section that is absent is an empty one, read with the same folder and environment as a present one."""
    return Field(default_factory=dict)


#: Pages of Label Studio, as the address bar of a browser shows them.
_PAGE = re.compile(r"(https?://[^?#]*?)/(?:projects(?:/(\d+))?|user/(?:login|signup|account))(?:[/?#].*)?$")


def http_address(url: str) -> str:
    """The address without a slash at its end.  Raises ValueError for what is none, or is that of a page."""
    address = url.strip().rstrip("/")
    page = _PAGE.match(address)
    if page is not None:
        number = f", and project: {page[2]}" if page[2] else ""
        raise ValueError(f"expected the address of the server, got that of one of its pages; write url: {page[1]}{number}")
    if "?" in address or "#" in address:
        raise ValueError(
            f"expected an address without ? and #, got {shown_address(url)!r}; write {re.split('[?#]', address)[0].rstrip('/')}"
        )
    if not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", address):
        raise ValueError(
            f"expected an address such as http://localhost:8080, without user or password, got {shown_address(url)!r}"
        )
    return address


#: A path, resolved against the folder of parallax.yaml, or an address with ``://``.
Location = Annotated[str, AfterValidator(_location)]
Database = Annotated[str, AfterValidator(_database)]
Weights = Annotated[str, AfterValidator(_weights)]
#: A hub name, or a folder written as a path.
Pretrained = Annotated[str, Field(min_length=1), AfterValidator(_weights)]
SkeletonSource = Annotated[str | dict[str, Any], AfterValidator(_skeleton_path)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """One part of the file: immutable, unknown keys are errors, defaults are validated (so that paths resolve)."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
