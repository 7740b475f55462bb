import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from label_config.values import BadInputError, FrameKey
from ml_backend.acquisition.explain import RoundContext, build_record, explain
from ml_backend.acquisition.feature_spaces import FeatureSet
from ml_backend.acquisition.fusion import Component, fuse
from ml_backend.acquisition.order_window import Params, Strategy
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.score_record import ComponentRecord, DiversityRecord, PointDetail, ScoreRecord, recompute_final
from ml_backend.acquisition.selection import select

NAN = math.nan


def a_record() -> ScoreRecord:
    return ScoreRecord(
        task_id="trial1/000412",
        round=4,
        model_id="sha256:ab",
        final=0.9,
        components=(
            ComponentRecord("mc", 612.4, "px^2", 0.95, 2.0, 120, PointDetail("cam5", "l_wrist", 7056.0, 84.0, 3, 8)),
            ComponentRecord("thc", NAN, "heatmap L1", NAN, 1.0, 0),
            ComponentRecord("mpe", 0.4, "nat", 0.8, 1.0),
        ),
        rank=17,
        kind="diverse",
        why=("cameras disagree",),
        diversity=DiversityRecord("pose3d", "mm", math.inf, None, 0, 0.62, 1.0, NAN, 0.0, 0.5),
        missing={"pictorial_logdet": "no heatmaps stored"},
        hygiene={"views_valid": 8},
        outcome={"oks": None},
    )


def test_json_round_trip_is_strict_json() -> None:
    text = json.dumps(a_record().to_json(), allow_nan=False)
    again = ScoreRecord.from_json(json.loads(text))
    # NaN is unequal to itself, so compare what is written.
    assert again.to_json() == a_record().to_json()
    assert math.isnan(again.components[1].raw)
    assert math.isinf(again.diversity.distance)  # type: ignore[union-attr]
    assert again.components[0].worst == a_record().components[0].worst
    assert json.loads(text)["components"][1]["raw"] is None
    assert json.loads(text)["outcome"]["oks"] is None


def test_final_from_the_record_alone() -> None:
    assert recompute_final(a_record()) == pytest.approx((2 * 0.95 + 0.8) / 3)
    nothing = ScoreRecord("a/000000", 0, "m", NAN, (ComponentRecord("mc", 1.0, "px", 0.5, 0.0),))
    assert math.isnan(recompute_final(nothing))


@given(st.integers(0, 10_000), st.sampled_from(["percentile", "minmax"]))
@example(69, "percentile")  # no score has a weight: by distance alone
@settings(deadline=None, max_examples=25)
def test_stored_final_is_what_the_record_gives(seed: int, scaling: str) -> None:
    rng = np.random.default_rng(seed)
    n = 30
    components = [
        Component(f"s{i}", np.where(rng.random(n) < 0.7, rng.normal(size=n), NAN), weight=float(rng.integers(0, 4)))
        for i in range(4)
    ]
    pool = Pool.from_keys([FrameKey("a", i) for i in range(n)])
    fused = fuse(components, n, scaling)  # type: ignore[arg-type]
    features = FeatureSet(rng.normal(size=(n, 3)), labelled=rng.normal(size=(2, 3)), name="embedding")
    selection = select(pool, fused, Params(window=20, batch=10, strategy=Strategy.DUW, performance=0.4), features=features)
    context = RoundContext(1, "m", pool.digest(), scaling=scaling, labelled=[FrameKey("z", 1), FrameKey("z", 2)])  # type: ignore[arg-type]
    records = [build_record(pick, selection, fused, context, features=features) for pick in selection.picks]
    for pick, record in zip(selection.picks, records, strict=True):
        again = ScoreRecord.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)))
        assert recompute_final(again) == pytest.approx(record.final, abs=1e-6, nan_ok=True)
        assert str(record.task_id) == str(pick.key)
    diverse = [(record.final, record.diversity) for record in records if record.diversity is not None]
    assert diverse
    assert [chosen.order for _, chosen in diverse] == list(range(len(diverse)))
    for final, chosen in diverse:
        assert chosen.term_distance == pytest.approx((1 - chosen.performance) * chosen.distance / chosen.scale)
        expected = 0.0 if math.isnan(final) else chosen.performance * chosen.trade_off * final
        assert chosen.term_uncertainty == pytest.approx(expected)
        assert chosen.nearest_labelled in ("z/000001", "z/000002")


def test_explanation_tells_everything() -> None:
    text = explain(a_record())
    for part in (
        "trial1/000412: rank 17 (diverse), round 4",
        "0.900000 stored, 0.900000 recomputed",
        "mc: 612.4 px^2, percentile 0.9500, weight 2, from 120 values; most at l_wrist in cam5 (84.0 px)",
        "thc: says nothing",
        "pictorial_logdet: missing, no heatmaps stored",
        "the first frame",
    ):
        assert part in text, text
    far = DiversityRecord("pose3d", "mm", 193.2, "s/000030", 6, 0.62, 1.0, 100.0, 0.73, 0.52)
    assert "193.2 mm from the labelled and picked frames, nearest labelled frame s/000030" in explain(
        ScoreRecord("a/000001", 0, "m", NAN, (), diversity=far)
    )
    assert "final score: none" in explain(ScoreRecord("a/000001", 0, "m", NAN, ()))


@pytest.mark.parametrize("damage", [{"surprise": 1}, {"task_id": ...}])
def test_foreign_records_are_refused(damage: dict[str, object]) -> None:
    data = a_record().to_json()
    for name, value in damage.items():
        data.pop(name, None) if value is ... else data.update({name: value})
    with pytest.raises(BadInputError, match="ScoreRecord"):
        ScoreRecord.from_json(data)
