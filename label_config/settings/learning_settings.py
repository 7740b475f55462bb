"""The sections of parallax.yaml about learning: training, what to label next, pseudo-labels, the gate and when to stop."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from label_config.settings.spec_fields import (
    Count,
    CountOrZero,
    Fraction,
    NotNegative,
    Positive,
    Pretrained,
    Section,
    Weights,
    absent_section,
    square,
)


class AcftSettings(Section):
    """Continued fine-tuning, ``train.preset: acft`` and ``video_specific`` (docs/methods.md §3.4).

    epochs  α: passes over the training set after a batch that was predicted as badly as can be, G = 0
    margin  m: labelled frames with an OKS of at most ``stop.oks`` + m are trained on again
    """

    epochs: Positive = 250.0
    margin: NotNegative = 0.05


class Augment(Section):
    """How far crops are changed in training; None = as far as the recipe says (docs/models.md).

    rotation_deg  turned by at most this, to either side; 180 where the subject is seen from above and has no upright
    scale         larger or smaller by at most this share
    shift         moved by at most this share of the crop's side
    brightness, contrast  changed by at most this share
    noise         largest standard deviation of pixel noise, of 255
    """

    rotation_deg: Annotated[float, Field(ge=0, le=180)] | None = None
    scale: Annotated[float, Field(ge=0, lt=1)] | None = None
    shift: Fraction | None = None
    brightness: Fraction | None = None
    contrast: Fraction | None = None
    noise: NotNegative | None = None


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
    limb_refinement  where a keypoint has several maxima, take those whose limbs have the lengths that the network expects
    randaugment  (operations, magnitude 0..10) of photometric RandAugment in every recipe, None = off
    lr_parts    factors of ``lr`` for backbone, decoder and last layer of the network
    precision   "auto" = bfloat16 on CUDA, and in training on processors that multiply it natively; float32 elsewhere
    compile     torch.compile on CUDA
    threads     of a worker that trains or predicts on the CPU; "auto" = the machine's cores, or OMP_NUM_THREADS where it is set
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
    threads: Count | Literal["auto"] = "auto"
    codec: Literal["msra", "dark", "udp"] = "dark"
    amplitude: Positive = 1.0
    grid: Literal["centre", "stride"] = "centre"
    flip_test: bool = False
    limb_refinement: bool = False
    augment: Augment = Augment()
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


class SubjectSettings(Section):
    """How many subjects a frame may hold.

    max      with more than one, boxes in the data of the tasks say where they are; a list per camera, see docs/formats.md
    combine  how the scores of a frame's subjects become that of the frame (docs/scores.md)
    """

    max: Annotated[int, Field(ge=1, le=20)] = 1
    combine: Literal["mean", "max", "sum"] = "mean"


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
