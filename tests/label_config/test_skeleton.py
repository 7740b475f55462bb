import pytest

from label_config.values import BadInputError
from label_config.values.skeleton import DEFAULT_SIGMA, Skeleton, limbs_by_name


def test_sides_and_mirror_follow_the_pairs() -> None:
    skeleton = Skeleton("s", ("nose", "l", "r"), pairs=((1, 2),))
    assert [skeleton.side(i) for i in range(3)] == ["centre", "left", "right"]
    assert skeleton.mirror == (0, 2, 1)
    assert skeleton.index == {"nose": 0, "l": 1, "r": 2}
    assert skeleton.sigmas == (DEFAULT_SIGMA,) * 3


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"keypoints": ()}, "at least one"),
        ({"keypoints": ("a", "b", "a")}, "repeated: a"),
        ({"sigmas": (0.1,)}, "expected 3 sigmas, got 1"),
        ({"limbs": ((0, 3),)}, r"\(0, 3\) is outside 0..2"),
        ({"root": 3}, "outside"),
        ({"limbs": ((0, 2), (1, 2))}, "'c' has two parents"),
        ({"limbs": ((1, 1),)}, "two parents"),
        ({"limbs": ((0, 1), (1, 2), (2, 0))}, "cycle"),
    ],
)
def test_what_is_no_skeleton(fields: dict[str, object], expected: str) -> None:
    with pytest.raises(BadInputError, match=expected):
        Skeleton(**{"name": "s", "keypoints": ("a", "b", "c"), **fields})  # type: ignore[arg-type]


def test_limbs_by_name() -> None:
    assert limbs_by_name(["a", "b"], [("b", "a")]) == ((1, 0),)
    with pytest.raises(BadInputError, match="'c' is not a keypoint"):
        limbs_by_name(["a", "b"], [("a", "c")])
