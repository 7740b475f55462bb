"""parallax.yaml: everything a project may set, validated in one place.

``load_spec(path)`` reads it; unknown keys are errors that name the nearest known one; relative paths are relative to
the folder of the file.  Secrets may come from the environment: LABEL_STUDIO_API_KEY, PARALLAX_SECRET, PARALLAX_REDIS_URL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from label_config.settings.frame_rules import FrameRules
from label_config.settings.spec_errors import explain
from label_config.settings.spec_fields import (
    Count,
    CountOrZero,
    Database,
    Fraction,
    Location,
    NotNegative,
    Positive,
    Pretrained,
    Section,
    SkeletonSource,
    Weights,
    absent_section,
    http_address,
    secret,
    source_alone,
    square,
    weight_alone,
)
from label_config.settings.visibility import VisibilityWords
from label_config.settings.yaml_files import read_yaml
from label_config.values.errors import SettingsError

SCHEMA_VERSION = 1
#: Environment variable that names parallax.yaml for a process and all that it starts.
CONFIG_VARIABLE = "PARALLAX_CONFIG"


class LabelStudio(Section):
    """The server and the project.  ``project`` None: ``parallax init`` creates one called ``title``.

    url         the server as Parallax reaches it
    public_url  the server as browsers reach it (its LABEL_STUDIO_HOST); None = as it says itself
    """

    url: str = "http://localhost:8080"
    public_url: str | None = None
    token: SecretStr | None = secret("LABEL_STUDIO_API_KEY")
    project: int | None = None
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
    """The process that Label Studio calls.  ``url`` is its address as Label Studio sees it."""

    url: str = "http://localhost:9090"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 9090
    secret: SecretStr | None = secret("PARALLAX_SECRET")

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        return http_address(url)


class ViewSource(Section):
    """The pictures of one camera: a video, a folder of pictures or a pattern.

    crop           (x, y, width, height) in pixels of the source picture
    rotation       clockwise degrees, after cropping
    flip           mirrored left to right, after turning
    time_offset_s  seconds to add to this camera's clock to reach the recording's
    fps            frames per second, for sources that do not say or say it wrong
    calibrated_on  whether the calibration is of the source picture or of the view's; None: as its size says
    """

    source: Location
    crop: tuple[CountOrZero, CountOrZero, Count, Count] | None = None
    flip: bool = False
    rotation: Literal[0, 90, 180, 270] = 0
    time_offset_s: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    fps: Positive | None = None
    calibrated_on: Literal["source", "view"] | None = None


class RecordingSettings(Section):
    """One sequence: its cameras, their calibration, the frames to use and labels that exist already.

    pairing  what says which pictures belong together: their times, their place, or the numbers in their names; None: the sources
    unit  of the calibration's lengths, for files that do not say it or have it wrong; None: as the file or its format says
    """

    sequence: str
    views: dict[str, Annotated[ViewSource, BeforeValidator(source_alone)]]
    pairing: Literal["time", "index", "number"] | None = None
    calibration: Location | None = None
    unit: Literal["m", "cm", "mm"] | None = None
    start: CountOrZero = 0
    stop: Count | None = None
    stride: Count = 1
    labels: Location | None = None

    @field_validator("sequence")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not name.strip() or name.startswith(".") or any(c in '/\\:*?"<>|' or ord(c) < 32 for c in name):
            raise ValueError(f"expected a name that can also be a folder's, got {name!r}")
        return name

    @model_validator(mode="after")
    def _frames_left(self) -> Self:
        if not self.views:
            raise ValueError("expected at least one view, got none")
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"expected stop > start, got start {self.start} and stop {self.stop}")
        return self


class AcftSettings(Section):
    """Continued fine-tuning, ``train.preset: acft`` and ``video_specific`` (docs/methods.md §3.4).

    epochs  α: passes over the training set after a batch that was predicted as badly as can be, G = 0
    margin  m: labelled frames with an OKS of at most ``stop.oks`` + m are trained on again
    """

    epochs: Positive = 250.0
    margin: NotNegative = 0.05


class Train(Section):
    """The network and when it is trained.

    network_args  keyword arguments of the network, such as the number of stacks of an hourglass
    plugins     networks of one's own that earlier versions use and that may still be imported; ``network`` always may
    preset      named set of augmentations and schedule
    input_px    (width, height) of the network's input; one number means a square
    sigma_hm    standard deviation of the target in heatmap pixels
    steps_first, steps_round  optimiser steps from a fresh start and for a warm start; None = as many as the labels ask for
    weights     "default" (the network's own pretrained ones where it has any), "none" (random), a path or a hub name
    window      train on at most this many labelled frames, newest first; None = all
    amplitude   height of the target
    grid        relation of input and heatmap pixels; "stride" for weights published with SimpleBaseline or HRNet
    flip_test   predict from the mirrored picture too, and average the heatmaps
    randaugment  (operations, magnitude 0..10) of photometric RandAugment in every recipe, None = off
    lr_parts    factors of ``lr`` for backbone, decoder and last layer of the network
    precision   "auto" = bfloat16 on CUDA, and in training on processors that multiply it natively; float32 elsewhere
    compile     torch.compile on CUDA
    devices     processes that train one network together, one per CUDA device, each with its own batch; "all" = every device
    """

    network: str = "unet_small"
    network_args: dict[str, Any] = Field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    preset: str = "default"
    acft: AcftSettings = AcftSettings()
    input_px: Annotated[tuple[Count, Count], BeforeValidator(square)] = (128, 128)
    sigma_hm: Positive = 1.5
    steps_first: Count | None = None
    steps_round: Count | None = None
    batch: Count = 8
    lr: Positive = 4e-3
    lr_parts: tuple[NotNegative, NotNegative, NotNegative] = (1.0, 1.0, 1.0)
    weight_decay: NotNegative = 1e-2
    warm_start: bool = True
    max_minutes: Positive = 20.0
    checkpoint_seconds: Positive = 30.0
    auto: bool = True
    min_new_frames: Count = 20
    max_wait_minutes: Positive = 10.0
    weights: Weights = "default"
    device: str = "auto"
    devices: Count | Literal["all"] = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    codec: Literal["msra", "dark", "udp"] = "dark"
    amplitude: Positive = 1.0
    grid: Literal["centre", "stride"] = "centre"
    flip_test: bool = False
    randaugment: tuple[Count, Annotated[float, Field(ge=0, le=10)]] | None = None
    window: Count | None = None
    seed: CountOrZero = 0


class Hybrid(Section):
    """The filter of the hybrid strategy (docs/methods.md §5): which frames are uncertain.

    found        a keypoint of a picture whose strongest heatmap value is below this was not found
    quantile     instead: of each camera, this share of all keypoints was not found, the lowest ones; None = ``found``
    space        what near neighbours are near in: "network" the pose network's features, "embedding" those of
                 ``cold_start.embedding``, such as an ImageNet network
    least        keypoints that must be missing; None = a third of them
    rule         A: at least ``least`` keypoints were not found; B: fewer than ``least`` were found
    empty_share  of the batch, at most this share shows nothing at all
    """

    found: Fraction = 0.3
    quantile: Fraction | None = None
    space: Literal["network", "embedding"] = "network"
    least: Count | None = None
    rule: Literal["A", "B"] = "A"
    empty_share: Fraction = 0.1


class ColdStart(Section):
    """Before there is a model.

    embedding   backbone of the ``transformers`` library, a hub name or folder, by whose features the first frames are spread;
                None = by small grey pictures
    pose_model  ready-made ViTPose, a hub name or folder, whose points open the first tasks; None = no points
    """

    embedding: Pretrained | None = None
    pose_model: Pretrained | None = None


class SelectionSettings(Section):
    """What is shown next (docs/methods.md §10.2).

    window          open tasks that carry a prediction of the current generation
    refill_below    refill the window when less than this share of it is left
    random_every    every n-th slot is a uniform random pick; 0 = never
    blind_random    random picks are served without points, so that they measure the model
    exclusion_frames  no two picks of a batch lie closer than this in one sequence
    diversity       how the first batch of the window is chosen; docs/scores.md explains the names
    lambda_         exponent of the usefulness in ``k_median``, its factor in ``duw`` and ``duw_paper``
    """

    window: Count = 500
    refill_below: Fraction = 0.5
    candidates_per_round: Count = 5000
    random_every: CountOrZero = 10
    blind_random: bool = True
    exclusion_frames: CountOrZero = 5
    diversity: Literal["k_median", "duw", "duw_paper", "kcenter", "k_means", "hybrid", "none"] = "k_median"
    lambda_: NotNegative = 1.0
    hybrid: Hybrid = absent_section()


class ScoreSettings(BaseModel):
    """The weight of a score and its parameters, whose names only the score knows."""

    model_config = ConfigDict(extra="allow", frozen=True)

    weight: NotNegative = 1.0

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but the weight."""
        return dict(self.model_extra or {})


class PseudoLabelSettings(Section):
    """Self-training on points that all cameras agree on (docs/methods.md §1.6).

    max_ratio     of the labels of the round
    threshold_px  reprojection error that counts as agreement; None = relative to the subject's size
    per_joint     accept single keypoints, not only whole frames
    weight        of a pseudo-label in the loss; a person's point has 1
    """

    enabled: bool = True
    max_ratio: Fraction = 0.2
    threshold_px: Positive | None = None
    min_views: Annotated[int, Field(ge=2)] = 3
    min_angle_deg: Annotated[float, Field(ge=0, lt=90)] = 10.0
    per_joint: bool = True
    weight: Fraction = 0.5


class ValidationSettings(Section):
    """Frames that are never trained on, in blocks of time with a guard gap on either side.

    None = decided for each sequence when it is first met, by the size of the project and by how alike neighbours are.
    """

    fraction: Annotated[float, Field(ge=0, lt=1)] | None = None
    block_frames: Count | None = None
    guard_frames: CountOrZero | None = None


class Gate(Section):
    """When a new model may go live: paired bootstrap of old against new on the same validation frames.

    min_frames   below this the gate is off and says so
    confidence   a model is refused when it is worse with this probability or more
    """

    min_frames: Count = 20
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class StopSettings(Section):
    """When ``parallax status`` says that labelling may stop (docs/methods.md §3.6).

    rule      on which frames the criterion looks: "sc_quantile" random picks, "sc_min" the mean of all that people labelled in a
              round, "sc_all" these and all labelled before
    oks       similarity of prediction and label that is good enough
    quantile  share of the frames that must reach it, for "sc_quantile"
    rounds    rounds in a row in which the criterion must hold
    """

    rule: Literal["sc_quantile", "sc_min", "sc_all"] = "sc_quantile"
    oks: Fraction = 0.8
    quantile: Annotated[float, Field(gt=0, le=1)] = 0.95
    rounds: Count = 2


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
    train: Train = absent_section()
    scores: Literal["auto"] | dict[str, Annotated[ScoreSettings, BeforeValidator(weight_alone)]] = "auto"
    cold_start: ColdStart = absent_section()
    selection: SelectionSettings = absent_section()
    pseudo_labels: PseudoLabelSettings = absent_section()
    validation: ValidationSettings = absent_section()
    gate: Gate = absent_section()
    stop: StopSettings = absent_section()
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
