"""What the demo takes for the truth of several figures, and what its oracle makes of their boxes."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from label_config.labelling.region_frame import to_percent
from ml_backend.simulation.studio import CaptureStudio
from plugins.demo.box_correction import agreed_numbers, find_boxes
from plugins.demo.demo_recordings import DemoTruth
from plugins.demo.several_figures import detected
from plugins.demo.subject_figures import NOTHING, UNUSED, numbers_of

SIZE = (120, 90)


def test_the_truth_of_some_frames_is_whole() -> None:
    rng = np.random.default_rng(0)
    shapes = {"px": (4, 2, 3, 5, 2), "occluded": (4, 2, 3, 5), "world": (4, 2, 5, 3), "rare": (4,), "boxes": (4, 2, 3, 4)}
    whole = DemoTruth(**{name: rng.random(shape) for name, shape in shapes.items()})  # type: ignore[arg-type]
    some = whole.of(np.array([3, 1]))
    for field in fields(DemoTruth):
        np.testing.assert_array_equal(getattr(some, field.name), getattr(whole, field.name)[[3, 1]])
    assert some.box(0, 1, 2) == tuple(whole.boxes[3, 1, 2].tolist())  # type: ignore[index]


def test_the_detector_misses_some_and_draws_the_others_around_the_figure() -> None:
    studio = CaptureStudio(seed=0, n_frames=30, n_views=3, size_px=SIZE, fill=0.5, figures=2)
    boxes = detected(studio, np.random.default_rng(0))
    there = np.asarray(np.isfinite(boxes).all(axis=-1))
    assert not there[~studio.present].any()
    assert 0.8 < there[studio.present].mean() < 1.0
    xy = studio.subjects_xy[there]
    centre = boxes[there][:, None, :2] + boxes[there][:, None, 2:] / 2
    assert (np.abs(xy - centre) <= boxes[there][:, None, 2:] / 2 + 8.0).mean() > 0.9


def test_the_oracle_gives_every_box_its_figure_and_one_number_to_each_figure() -> None:
    truth = np.array([[[[10.0, 10.0], [30.0, 40.0]]] * 2, [[[60.0, 20.0], [90.0, 70.0]]] * 2])  # (S, V, K, 2)
    regions = []
    for view, numbers in (("a", "12"), ("b", "21")):
        for figure, number in enumerate(numbers):
            (x0, y0), (x1, y1) = truth[figure, 0]
            value = {"x": to_percent(x0, SIZE[0]), "y": to_percent(y0, SIZE[1]), "rectanglelabels": [number]}
            value |= {"width": 100 * (x1 - x0) / SIZE[0], "height": 100 * (y1 - y0) / SIZE[1]}
            regions.append({"type": "rectanglelabels", "to_name": view, "value": value})
    found = find_boxes(regions, truth, ("a", "b"), {"a": SIZE, "b": SIZE})
    assert {place: region["value"]["rectanglelabels"] for place, region in found.items()} == {
        (0, 0): ["1"], (1, 0): ["2"], (0, 1): ["2"], (1, 1): ["1"]
    }  # fmt: skip
    assert sorted(agreed_numbers(found, 2).values()) == [0, 1]
    assert agreed_numbers({}, 2) == {}


def test_numbers_are_read_off_the_boxes_that_the_loop_holds() -> None:
    nothing = [np.nan] * 4
    detector = np.array([[[0.0, 0, 5, 5], nothing], [[9.0, 9, 5, 5], [1.0, 1, 4, 4]]])  # (figures, views, 4)
    held = np.array([[[9.0, 9, 5, 5], nothing], [nothing, nothing]])  # (numbers, views, 4)
    assert numbers_of(detector, held).tolist() == [[UNUSED, NOTHING], [0, UNUSED]]
