"""parallax.yaml: everything a project may set, validated in one place.

``load_spec(path)`` reads it; unknown keys are errors that name the nearest known one; relative paths are relative to
the folder of the file.  Secrets may come from the environment: LABEL_STUDIO_API_KEY, PARALLAX_SECRET, PARALLAX_REDIS_URL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from label_config.settings.frame_rules import FrameRules
from label_config.settings.learning_settings import (
    ColdStart,
    Gate,
    PseudoLabelSettings,
    ScoreSettings,
    SelectionSettings,
    StopSettings,
    SubjectSettings,
    Train,
    ValidationSettings,
)
from label_config.settings.recording_settings import RecordingSettings
from label_config.settings.spec_errors import explain
from label_config.settings.spec_fields import (
    Count,
    CountOrZero,
    Database,
    Fraction,
    Location,
    NotNegative,
    Positive,
    Section,
    SkeletonSource,
    absent_section,
    http_address,
    secret,
    weight_alone,
)
from label_config.settings.visibility import VisibilityWords
from label_config.settings.yaml_files import read_yaml
from label_config.values.errors import SettingsError

SCHEMA_VERSION = 1


class LabelStudio(Section):
    """The server and the project.  ``project`` None: ``parallax init`` creates one called ``title``.

    url         the server as Parallax reaches it
    public_url  the server as browsers reach it (its LABEL_STUDIO_HOST); None = as it says itself
    """

    url: str = "http://localhost:8080"
    public_url: str | None = None
    token: SecretStr | None = secret("LABEL_STUDIO_API_KEY")
    project: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    title: str = "Parallax"

    @field_validator("url", "public_url")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        return None if url is None else http_address(url)


class Network(Section):
    """How Label Studio and hosts of pictures are reached.

    ca_file  certificates that are trusted besides the public authorities, such as that of an organisation
    proxies  "environment": by HTTPS_PROXY and HTTP_PROXY, except for hosts in NO_PROXY; "none": directly
    """

    ca_file: Location | None = None
    proxies: Literal["none", "environment"] = "none"


class Cache(Section):
    """Pictures fetched from elsewhere, and the largest picture that is opened at all.

    hosts  where pictures may be fetched besides Label Studio itself: ``host``, ``host:port`` or a private network
    """

    folder: Location = ".parallax/cache"
    max_gb: Positive = 20.0
    hosts: tuple[str, ...] = ()
    max_megapixels: Positive = 80.0
    max_megabytes: Positive = 64.0


class Backend(Section):
    """The process that Label Studio calls.

    url         its address as Label Studio sees it
    public_url  its address as annotators' browsers see it, for the links in tasks; None = ``url``
    """

    url: str = "http://localhost:9090"
    public_url: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 9090
    secret: SecretStr | None = secret("PARALLAX_SECRET")

    @field_validator("url", "public_url")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        return None if url is None else http_address(url)


class Screen(Section):
    """The labelling screen.

    picture_px  longest side of the pictures that are written for Label Studio; None = as they are
    """

    picture_px: Count | None = None


class Sync(Section):
    """The clock of the exchange with Label Studio.  ``chunk`` is tasks per import request, ``lock_hours`` its task lock."""

    tick_seconds: Positive = 30.0
    push_every_minutes: NotNegative = 5.0
    chunk: Count = 100
    lock_hours: Positive = 24.0
    reason_tasks: CountOrZero = 20
    full_sweep_minutes: Positive = 30.0


class Spec(Section):
    """The whole file.

    store         database address
    models        folder of weights
    arrays        folder of snapshots, predictions and scores
    skeleton      name, path or mapping for ``load_skeleton``; None = drafted from the project's label names
    views         order of the cameras; None = order of the recording or of the labelling config
    aliases       label name in Label Studio, or control/label, → keypoint name
    visibility    choice of a point, or second label on it, → what it says of the point
    frames        how frames are read from tasks that exist already
    documents_root  the folder that Label Studio serves as local files
    scores        "auto" or score name → weight, alone or with the score's parameters
    stop_labels_loss  a pull that loses more than this share of all labels stops training and asks
    """

    schema_version: Literal[1] = 1
    label_studio: LabelStudio = absent_section()
    network: Network = absent_section()
    store: Database = "sqlite:///.parallax/parallax.sqlite3"
    models: Location = ".parallax/models"
    arrays: Location = ".parallax/arrays"
    cache: Cache = absent_section()
    redis: SecretStr | None = secret("PARALLAX_REDIS_URL")
    backend: Backend = absent_section()
    skeleton: SkeletonSource | None = None
    views: tuple[str, ...] | None = None
    aliases: dict[str, str] = Field(default_factory=dict)
    visibility: VisibilityWords = Field(default_factory=dict)
    recordings: tuple[RecordingSettings, ...] = ()
    documents_root: Location | None = None
    frames: FrameRules = absent_section()
    subjects: SubjectSettings = absent_section()
    train: Train = absent_section()
    scores: Literal["auto"] | dict[str, Annotated[ScoreSettings, BeforeValidator(weight_alone)]] = "auto"
    cold_start: ColdStart = absent_section()
    selection: SelectionSettings = absent_section()
    pseudo_labels: PseudoLabelSettings = absent_section()
    validation: ValidationSettings = absent_section()
    gate: Gate = absent_section()
    stop: StopSettings = absent_section()
    screen: Screen = absent_section()
    sync: Sync = absent_section()
    stop_labels_loss: Fraction = 0.10

    _path: Path | None = PrivateAttr(default=None)

    @property
    def path(self) -> Path | None:
        """The file that this was read from."""
        return self._path

    @property
    def folder(self) -> Path:
        """The folder of the file that this was read from; the working folder for one that was not."""
        return self._path.parent if self._path else Path.cwd()

    @field_validator("views")
    @classmethod
    def _distinct(cls, views: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if views is not None and (not views or len(set(views)) < len(views)):
            raise ValueError(f"expected different camera names, got {', '.join(views) or 'none'}")
        return views

    @model_validator(mode="after")
    def _known_views(self) -> Self:
        sequences = [recording.sequence for recording in self.recordings]
        twice = sorted({name for name in sequences if sequences.count(name) > 1})
        if twice:
            raise ValueError(f"recordings: each sequence may be given once, repeated: {', '.join(twice)}")
        for recording in self.recordings if self.views else ():
            unknown = ", ".join(sorted(set(recording.views) - set(self.views or ())))
            if unknown:
                raise ValueError(f"recordings: {recording.sequence}: {unknown} not in views: {', '.join(self.views or ())}")
        return self


def load_spec(path: str | Path) -> Spec:
    """Read and validate parallax.yaml.  Raises BadInputError that names every wrong place."""
    file = Path(path).expanduser().resolve()
    data = read_yaml(file)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise SettingsError(f"{file}: expected 'name: value' pairs at the top level, got {type(data).__name__}")
    version = data.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise SettingsError(
            f"{file}: schema_version: expected {SCHEMA_VERSION}, got {version!r}; CHANGELOG.md says what changed between them"
        )
    try:
        spec = Spec.model_validate(data, context={"folder": file.parent})
    except ValidationError as error:
        raise SettingsError(f"{file}:\n{explain(error, Spec)}") from error
    spec._path = file
    return spec
