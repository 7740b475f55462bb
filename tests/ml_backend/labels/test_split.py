"""The validation split: stable, block-wise, guarded."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError
from ml_backend.labels.split import SplitRule, assign_split, choose_rule, random_slots, stable_uniform

SETTINGS: dict[str, Any] = {"fraction": 0.2, "block_frames": 30, "guard_frames": 10, "seed": 7}
cases = {
    "fraction": st.sampled_from([0.05, 0.1, 0.2, 0.34, 0.5, 0.8]),
    "block_frames": st.integers(1, 40),
    "guard_frames": st.integers(0, 90),
    "seed": st.integers(0, 10**6),
}


@settings(deadline=None, max_examples=40)
@given(settings_=st.fixed_dictionaries(cases))
def test_blocks_are_whole_and_guards_are_exactly_the_frames_near_them(settings_: Any) -> None:
    frames = np.arange(1200)
    split = assign_split("run", frames, **settings_)
    validation = split == "val"
    by_block = [set(split[frames // settings_["block_frames"] == b] == "val") for b in range(1200 // settings_["block_frames"])]
    assert all(len(kinds) == 1 for kinds in by_block)
    chosen = frames[validation]
    # The end is left out: a validation block may begin beyond the last frame looked at.
    inner = frames[: 1200 - settings_["guard_frames"] - settings_["block_frames"]]
    for frame in inner[~validation[: len(inner)]]:
        near = len(chosen) > 0 and np.abs(chosen - frame).min() <= settings_["guard_frames"]
        assert split[frame] == ("guard" if near else "train")


@settings(deadline=None, max_examples=40)
@given(fraction=st.sampled_from([0.1, 0.2, 0.25, 0.34]), seed=st.integers(0, 10**6))
def test_one_block_of_every_stratum_is_validation(fraction: Any, seed: int) -> None:
    blocks = np.arange(600)
    chosen = assign_split("run", blocks, fraction=fraction, block_frames=1, guard_frames=0, seed=seed) == "val"
    assert chosen.sum() == pytest.approx(600 * fraction, rel=0.12)
    # Two neighbouring draws are at most two strata apart.
    assert np.diff(np.flatnonzero(chosen)).max() <= 2 / fraction + 1


def test_the_decision_does_not_depend_on_which_other_frames_exist() -> None:
    every = assign_split("run", np.arange(3000), **SETTINGS)
    some = np.random.default_rng(0).permutation(3000)[:500]
    np.testing.assert_array_equal(assign_split("run", some, **SETTINGS), every[some])


def test_seed_and_sequence_decide() -> None:
    frames = np.arange(3000)
    first = assign_split("run", frames, **SETTINGS)
    assert (first == assign_split("run", frames, **SETTINGS)).all()
    assert (first != assign_split("run2", frames, **SETTINGS)).any()
    assert (first != assign_split("run", frames, **{**SETTINGS, "seed": 8})).any()


def test_a_known_assignment_never_changes() -> None:
    """The split is stored with the labels; another answer after an upgrade would leak validation frames into training."""
    blocks = np.arange(20)
    split = assign_split("trial1", blocks, fraction=0.2, block_frames=1, guard_frames=0, seed=1)
    assert np.flatnonzero(split == "val").tolist() == KNOWN_VALIDATION_BLOCKS


def _reference_blocks() -> Any:
    """The same decision in plain integers, one block at a time."""
    import hashlib
    import math

    key = int.from_bytes(hashlib.blake2b(b"split\x001\x00trial1", digest_size=8).digest(), "little")
    mask = 2**64 - 1

    def uniform(number: Any) -> Any:
        z = (key + number * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return ((z ^ (z >> 31)) >> 11) / 2**53

    return sorted({b for s in range(10) if (b := math.floor((s + uniform(s)) / 0.2)) < 20})


KNOWN_VALIDATION_BLOCKS = _reference_blocks()


@pytest.mark.parametrize(("fraction", "kind"), [(0.0, "train"), (1.0, "val")])
def test_all_or_nothing(fraction: Any, kind: Any) -> None:
    split = assign_split("run", np.arange(100), fraction=fraction, block_frames=10, guard_frames=20, seed=1)
    assert set(split) == {kind}


def test_no_frames() -> None:
    assert assign_split("run", np.zeros(0, int), **SETTINGS).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"fraction": 1.2}, r"\[0, 1\]"), ({"block_frames": 0}, "block_frames"), ({"guard_frames": -1}, "guard_frames")],
)
def test_bad_settings_are_named(change: Any, message: Any) -> None:
    with pytest.raises(BadInputError, match=message):
        assign_split("run", np.arange(10), **{**SETTINGS, **change})
    with pytest.raises(BadInputError, match="negative"):
        assign_split("run", np.array([-1]), **SETTINGS)


def test_random_picks_are_sticky_and_uniform() -> None:
    values = stable_uniform("run", np.arange(20000), seed=3)
    np.testing.assert_array_equal(stable_uniform("run", np.array([5, 19999]), seed=3), values[[5, 19999]])
    assert values.min() >= 0
    assert values.max() < 1
    share = np.bincount((values * 10).astype(int), minlength=10) / 20000
    np.testing.assert_allclose(share, 0.1, atol=0.01)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.03
    # Independent of the split: a validation block is no more likely to be picked.
    validation = assign_split("run", np.arange(20000), fraction=0.2, block_frames=1, guard_frames=0, seed=3) == "val"
    assert values[validation].mean() == pytest.approx(0.5, abs=0.02)


def test_random_slots_are_every_tenth() -> None:
    assert np.flatnonzero(random_slots(25)).tolist() == [9, 19]
    assert not random_slots(25, 0).any()
    with pytest.raises(BadInputError, match="every"):
        random_slots(5, -1)


def _parts(rule: Any, indices: Any, seeds: Any = 40) -> Any:
    """Mean number of train, val and guard frames over many seeds."""
    splits = [rule.of("run", indices, seed) for seed in range(seeds)]
    return {part: float(np.mean([(split == part).sum() for split in splits])) for part in ("train", "val", "guard")}


def test_116_extracted_pictures_give_the_gate_its_20_frames_and_leave_the_rest_to_learn_from() -> None:
    rule = choose_rule(116, np.arange(116), alike=False, wanted=20)
    assert (rule.block_frames, rule.guard_frames) == (1, 0)
    parts = _parts(rule, np.arange(116))
    assert parts["val"] == pytest.approx(20, abs=1)
    assert parts["guard"] == 0


def test_a_short_video_keeps_its_blocks_and_gaps_small() -> None:
    parts = _parts(choose_rule(116, np.arange(116), alike=True, wanted=20), np.arange(116))
    assert parts["val"] == pytest.approx(20, abs=3)
    assert 2 <= parts["guard"] <= 10


@pytest.mark.parametrize("n", [10, 60, 116, 400, 3000, 50_000])
@pytest.mark.parametrize("step", [1, 7])
@pytest.mark.parametrize("alike", [False, True])
def test_whatever_its_size_most_of_a_project_is_learnt_from(n: Any, step: Any, alike: Any) -> None:
    indices = np.arange(n) * step
    parts = _parts(choose_rule(n, indices, alike=alike, wanted=20), indices, seeds=30)
    assert parts["train"] >= 0.6 * n
    assert parts["val"] <= 0.3 * n + 1
    assert parts["val"] == pytest.approx(n * min(max(20 / n, 0.1), 0.2), rel=0.3, abs=2)


def test_a_long_video_is_split_as_ever() -> None:
    assert choose_rule(3000, np.arange(3000), alike=True, wanted=20) == SplitRule(0.1, 50, 10)


def test_blocks_of_every_seventh_frame_hold_as_many_pictures() -> None:
    rule = choose_rule(3000, 7 * np.arange(3000), alike=True, wanted=20)
    assert (rule.block_frames, rule.guard_frames) == (350, 70)
