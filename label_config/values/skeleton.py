"""Skeletons: keypoint names, limbs, left/right pairs and how precisely each point can be placed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from label_config.values import BadInputError

#: OKS sigma of a keypoint about which nothing is known (COCO's are 0.025 for an eye, 0.107 for a hip).
DEFAULT_SIGMA = 0.05
#: Whole bodies with hands and faces have 133.
MOST_KEYPOINTS = 1000


@dataclass(frozen=True)
class Skeleton:
    """A named set of keypoints and the tree of limbs that joins them.

    keypoints  (K,) unique names, the order of every array with a K axis
    limbs      (parent, child) index pairs; together a forest in which every child has one parent
    root       index of the keypoint that poses are centred on
    pairs      (left, right) index pairs
    sigmas     (K,) OKS sigmas, standard deviation of careful labels relative to the square root of the subject's area
    flip_augment  a mirrored picture is still a valid example (False when only colour distinguishes left from right)
    head, torso   index pairs whose distance is the unit of PCKh and of torso-PCK, None = these cannot be computed
    """

    name: str
    keypoints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...] = ()
    root: int = 0
    pairs: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()
    flip_augment: bool = False
    # They measure and do not change what a network is: a model that does not name them fits a skeleton that does.
    head: tuple[int, int] | None = field(default=None, compare=False)
    torso: tuple[int, int] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        if count == 0:
            raise BadInputError(f"skeleton {self.name!r}: expected at least one keypoint, got none")
        if count > MOST_KEYPOINTS:
            raise BadInputError(f"skeleton {self.name!r}: expected at most {MOST_KEYPOINTS} keypoints, got {count}")
        repeated = sorted(name for name, times in Counter(self.keypoints).items() if times > 1)
        if repeated:
            raise BadInputError(f"skeleton {self.name!r}: keypoint names must be unique, repeated: {', '.join(repeated)}")
        if not self.sigmas:
            object.__setattr__(self, "sigmas", (DEFAULT_SIGMA,) * count)
        if len(self.sigmas) != count:
            raise BadInputError(f"skeleton {self.name!r}: expected {count} sigmas, got {len(self.sigmas)}")
        spans = [span for span in (self.head, self.torso) if span is not None]
        for a, b in (*self.limbs, *self.pairs, *spans, (self.root, self.root)):
            if not (0 <= a < count and 0 <= b < count):
                raise BadInputError(f"skeleton {self.name!r}: index pair ({a}, {b}) is outside 0..{count - 1}")
        self._check_forest()

    def _check_forest(self) -> None:
        parent: dict[int, int] = {}
        for a, b in self.limbs:
            if b in parent or a == b:
                raise BadInputError(f"skeleton {self.name!r}: {self.keypoints[b]!r} has two parents; limbs must form a tree")
            parent[b] = a
        for start in parent:
            seen, node = {start}, start
            while node in parent:
                node = parent[node]
                if node in seen:
                    raise BadInputError(f"skeleton {self.name!r}: limbs form a cycle through {self.keypoints[node]!r}")
                seen.add(node)

    def __len__(self) -> int:
        return len(self.keypoints)

    @cached_property
    def index(self) -> dict[str, int]:
        """Keypoint name → position."""
        return {name: position for position, name in enumerate(self.keypoints)}

    def side(self, keypoint: int) -> str:
        """``"left"``, ``"right"`` or ``"centre"`` by the left/right pairs."""
        for left, right in self.pairs:
            if keypoint == left:
                return "left"
            if keypoint == right:
                return "right"
        return "centre"

    @property
    def mirror(self) -> tuple[int, ...]:
        """(K,) the index that each keypoint becomes when the picture is mirrored."""
        swap = list(range(len(self)))
        for left, right in self.pairs:
            swap[left], swap[right] = right, left
        return tuple(swap)


def limbs_by_name(keypoints: Sequence[str], limbs: Sequence[tuple[str, str]]) -> tuple[tuple[int, int], ...]:
    """Limbs as names → limbs as indices.  Raises BadInputError for a name that is not a keypoint."""
    position = {name: i for i, name in enumerate(keypoints)}
    for pair in limbs:
        for name in pair:
            if name not in position:
                raise BadInputError(f"limb {pair[0]}–{pair[1]}: {name!r} is not a keypoint; known: {', '.join(keypoints)}")
    return tuple((position[a], position[b]) for a, b in limbs)
