"""The one value of a network's output: every output takes the whole way, and a new one needs nothing but its member."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from label_config.values import prediction as module
from label_config.values.prediction import Output, Prediction, by_keypoint_name, joined, stacked
from ml_backend.acquisition.score import Chunk
from ml_backend.project.predict_frames import _Collector

K = 3
every_output = pytest.mark.parametrize("output", list(Output))


def of_pictures(output: Output, n: int = 2, dtype: Any = np.float64) -> Prediction:
    """n pictures with one optional output of distinct numbers."""
    first = (n, K) if output.axis == "keypoint" else (n,)
    array = np.arange(np.prod(first) * 2, dtype=dtype).reshape(*first, 2)
    return Prediction(np.ones((n, K, 2)), np.ones((n, K)), np.zeros((n, 4)), {output: array})


@every_output
def test_an_output_takes_the_whole_way(output: Output) -> None:
    pictures = of_pictures(output, dtype=np.float32)
    array = pictures.outputs[output]
    collector = _Collector(2, 2, K)
    picture = np.zeros((4, 6, 3), np.uint8)
    collector.take([(0, 1, picture), (1, 0, picture)], pictures)
    frames = collector.result()
    np.testing.assert_array_equal(frames.outputs[output][[0, 1], [1, 0]], array)
    assert frames.outputs[output].dtype == np.float32
    assert np.isnan(frames.outputs[output][0, 0]).all()
    np.testing.assert_array_equal(frames.read, [[False, True], [True, False]])
    chunk = Chunk("s", np.arange(2), slice(0, 2), Prediction.from_arrays(frames.arrays()), np.full((2, 2), 6.0))
    assert output in chunk.available


@every_output
def test_parts_are_joined_stacked_and_cut(output: Output) -> None:
    whole, array = of_pictures(output, 4), of_pictures(output, 4).outputs[output]
    np.testing.assert_array_equal(joined([whole.rows(slice(0, 1)), whole.rows([1, 2, 3])]).outputs[output], array)
    np.testing.assert_array_equal(stacked([whole, whole], axis=1).outputs[output][:, 1], array)
    assert stacked([whole, whole], axis=1).xy_px.shape == (4, 2, K, 2)


def in_other_order(given: Prediction) -> Prediction:
    """The third keypoint, one that the network does not know, and the first."""
    mapped = by_keypoint_name(given, ("nose", "left ear", "tail"), ("Tail", "paw", "NOSE"))
    np.testing.assert_array_equal(mapped.confidence, [[1, 0, 1]] * 2)
    return mapped


@pytest.mark.parametrize("output", [output for output in Output if output.axis == "keypoint"])
def test_names_reorder_what_belongs_to_keypoints(output: Output) -> None:
    given = of_pictures(output)
    array = given.outputs[output]
    expected = np.stack([array[:, 2], np.full((2, 2), output.missing), array[:, 0]], axis=1)
    np.testing.assert_array_equal(in_other_order(given).outputs[output], expected)


@pytest.mark.parametrize("output", [output for output in Output if output.axis == "limb"])
def test_names_drop_what_belongs_to_limbs(output: Output) -> None:
    assert output not in in_other_order(of_pictures(output)).outputs


@pytest.mark.parametrize("output", [output for output in Output if output.axis not in {"keypoint", "limb"}])
def test_names_leave_what_belongs_to_pictures(output: Output) -> None:
    given = of_pictures(output)
    np.testing.assert_array_equal(in_other_order(given).outputs[output], given.outputs[output])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xy_px": np.zeros((2, 2))}, "Prediction.xy_px: expected shape (..., K, 2), got (2, 2)"),
        ({"confidence": np.zeros((2, 4))}, "Prediction.confidence: expected shape (2, 3), got (2, 4)"),
        ({"box_px": np.zeros((3, 4))}, "Prediction.box_px: expected shape (2, 4), got (3, 4)"),
        ({"size_px": np.zeros((2, 3))}, "Prediction.size_px: expected shape (2, 2), got (2, 3)"),
        (
            {"outputs": {Output.VARIANCE: np.zeros((2, 2))}},
            "Prediction.outputs['variance']: expected shape (2, 3, '...'), got (2, 2)",
        ),
        (
            {"outputs": {Output.LINKS: np.zeros((3, 1, 2))}},
            "Prediction.outputs['links']: expected shape (2, '...'), got (3, 1, 2)",
        ),
    ],
)
def test_axes_that_disagree_are_named(changes: dict[str, Any], message: str) -> None:
    arrays: dict[str, Any] = {"xy_px": np.zeros((2, K, 2)), "confidence": np.zeros((2, K)), "box_px": np.zeros((2, 4))}
    with pytest.raises(BadInputError, match=re.escape(message)):
        Prediction(**{**arrays, **changes})


WITH_ANOTHER_OUTPUT = """
import importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("label_config.values.prediction", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["label_config.values.prediction"] = module
spec.loader.exec_module(module)
from ml_backend.acquisition.score import Chunk
from ml_backend.acquisition.score_registry import render_table
from ml_backend.project.predict_frames import _Collector

Output, Prediction = module.Output, module.Prediction
pictures = Prediction(np.ones((2, 3, 2)), np.ones((2, 3)), np.zeros((2, 4)), {Output.NOVEL: np.arange(6.0).reshape(2, 3)})
assert module.by_keypoint_name(pictures, "abc", "cb").outputs[Output.NOVEL].tolist() == [[2, 1], [5, 4]]
collector = _Collector(1, 2, 3)
collector.take([(0, 0, np.zeros((4, 6, 3))), (0, 1, np.zeros((4, 6, 3)))], pictures)
chunk = Chunk("s", np.arange(1), slice(0, 1), collector.result(), np.full((2, 2), 6.0))
assert Output.NOVEL in chunk.available
print(chunk.outputs[Output.NOVEL].tolist())
"""


def test_a_new_output_is_one_line(tmp_path: Path) -> None:
    """From the network's pictures to the scores' chunks, with nothing changed but a member more."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    member = '    ENSEMBLE = "ensemble", "keypoint"\n'
    assert member in source
    changed = tmp_path / "prediction.py"
    changed.write_text(source.replace(member, member + '    NOVEL = "novel", "keypoint"\n'), encoding="utf-8")
    run = subprocess.run([sys.executable, "-c", WITH_ANOTHER_OUTPUT, changed], capture_output=True, text=True, check=False)
    assert run.stdout == "[[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]\n", run.stderr
