import pytest
from hypothesis import given
from hypothesis import strategies as st

from label_config.labelling.region_ids import RegionId

numbers = st.integers(0, 9999)


@given(st.integers(0, 2**31 - 1), numbers, numbers, st.none() | numbers)
def test_round_trip(generation: int, view: int, subject: int, keypoint: int | None) -> None:
    region = RegionId(generation, view, subject, keypoint)
    assert RegionId.parse(str(region)) == region


def test_how_it_is_written() -> None:
    assert str(RegionId(17, 3, 0, 16)) == "px:17:3:0:16"
    assert str(RegionId(17, 3, 1, None)) == "px:17:3:1:b"


@pytest.mark.parametrize(
    "text",
    ["", "a7Xk_2", "px:1:2:3", "px:1:2:3:4:5", "px:1:2:3:-4", "px:01:2:3:4", "px:1:2:3:c", " px:1:2:3:4", "px:1:2:3:4\n",
     "PX:1:2:3:4", "px:1:2:3:٤", "px:1:2:3:" + "9" * 40,
     "px:2147483648:2:3:4", "px:1:10000:3:4", "px:1:2:10000:4", "px:1:2:3:10000", None, 5, ["px:1:2:3:4"]],
)  # fmt: skip
def test_foreign_ids_are_none(text: object) -> None:
    assert RegionId.parse(text) is None
