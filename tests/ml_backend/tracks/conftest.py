"""A recording of the capture studio as videos, and a small network that was trained on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from label_config.values import ByteArray, ImageRef, TrainingTarget
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.training import train
from ml_backend.simulation.studio import CaptureStudio, anipose_toml

SIZE = (96, 96)
FPS = 30


def write_video(
    path: Path,
    pictures: Sequence[ByteArray],
    *,
    codec: str = "libx264",
    times: Sequence[int] = (),
    audio: bool = False,
) -> Path:
    """Pictures at 30 a second, or at these times in thirtieths of a second; with a second of sound beside them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=FPS)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p" if codec == "libx264" else "yuvj420p"
        stream.options = {"crf": "15"} if codec == "libx264" else {"qscale": "2"}
        sound: Any = container.add_stream("aac", rate=44100, layout="mono") if audio else None
        for place, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = times[place] if times else place
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            quiet = av.AudioFrame.from_ndarray(np.zeros((1, 44100), dtype=np.float32), format="fltp", layout="mono")
            quiet.rate, quiet.pts = 44100, 0
            container.mux(sound.encode(quiet))
            container.mux(sound.encode())
    return path


def turn_by_metadata(path: Path) -> Path:
    """Let the container of an MP4 file say that players turn its pictures clockwise by 90° (ISO 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = np.array([0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30], dtype=">i4").tobytes()
    path.write_bytes(bytes(data))
    return path


@dataclass(frozen=True)
class Trained:
    """The studio, a model folder, and a folder with ``<camera>.mp4`` and ``calibration.toml``."""

    studio: CaptureStudio
    model: Path
    videos: Path

    def pictures(self, view: int, frames: Sequence[int]) -> list[ByteArray]:
        return [self.studio.render(frame, view) for frame in frames]


def make_trained(folder: Path, n_frames: int = 24, views: int = 3, steps: int = 160) -> Trained:
    """Trained on all frames, in seconds."""
    studio = CaptureStudio(seed=1, n_frames=n_frames, n_views=views, size_px=SIZE, distractor=False)
    pictures = {f"{f}/{v}": studio.render(f, v) for f in range(n_frames) for v in range(views)}
    targets = [
        TrainingTarget(ImageRef(f"{f}/{v}"), studio.truth_xy[f, v], np.ones(len(studio.skeleton)))
        for f in range(n_frames)
        for v in range(views)
    ]
    config = TrainConfig(
        input_px=(64, 64),
        network_args={"width": 8, "decoder": 16},
        steps=steps,
        batch=8,
        device="cpu",
        two_stage=False,
        augment=AugmentConfig.none(),
    )
    train(config, targets, studio.skeleton, lambda ref: pictures[ref.source], folder / "model")
    for v, name in enumerate(studio.rig.names):
        write_video(folder / "videos" / f"{name}.mp4", [pictures[f"{f}/{v}"] for f in range(n_frames)])
    (folder / "calibration.toml").write_text(anipose_toml(studio.rig), encoding="utf-8")
    return Trained(studio, folder / "model", folder / "videos")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return make_trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``run("predict", …)`` in an empty folder, without any parallax.yaml."""
    from typer.testing import CliRunner

    from plugins.cli.main import app

    monkeypatch.chdir(tmp_path)
    # Commands set it for their children; setenv makes sure that it is put back.
    monkeypatch.setenv("PARALLAX_CONFIG", "parallax.yaml")
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])
