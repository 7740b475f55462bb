"""Are there as many subjects as the network says?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from label_config.values import FloatArray
from ml_backend.metrics.oks import Detection, Truth, average_precision


@dataclass(frozen=True)
class CountAccuracy:
    """Person-count accuracy; NaN without a labelled subject or image.

    matched_share     subjects matched by a detection (OKS ≥ threshold) / subjects
    mean_count_error  mean over images of |detections − subjects|
    """

    matched_share: float
    mean_count_error: float
    subjects: int
    detections: int


def count_accuracy(
    truths: Sequence[Truth],
    detections: Sequence[Detection],
    sigmas: FloatArray,
    *,
    threshold: float = 0.5,
    min_score: float = 0.0,
) -> CountAccuracy:
    """Detections of at least ``min_score`` against the subjects.

    Kaplan et al. (2021) divide detections by subjects, which false detections can push above 1; matching cannot.
    """
    kept = [d for d in detections if d.score >= min_score]
    wanted = [t for t in truths if not t.ignored]
    result = average_precision(wanted, kept, sigmas, area_source="bbox", thresholds=(threshold,), per_image=max(len(kept), 1))
    expected, found = Counter(t.image for t in wanted), Counter(d.image for d in kept)
    images = expected.keys() | found.keys()
    off = sum(abs(expected[image] - found[image]) for image in images)
    return CountAccuracy(result.recall[threshold], off / len(images) if images else float("nan"), len(wanted), len(kept))
