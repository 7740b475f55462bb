"""The capture studio: calibrated cameras around a moving figure, or several, with exact truth for every frame and view.

``CaptureStudio(seed=0)`` is a whole recording.  The same arguments give the same bits, picture by picture, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from label_config.values import BadInputError, BoolArray, ByteArray, FloatArray, Frame, FrameKey, ImageRef
from label_config.values.skeleton import Skeleton
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.simulation import company
from ml_backend.simulation.motion import Motion, make_motion
from ml_backend.simulation.ray_casting import Scene, draw, expose, make_scene
from ml_backend.simulation.studio_figure import (
    CAPSULES,
    KEYPOINTS,
    LEFT_RGB,
    POINTS,
    RIGHT_DARK_RGB,
    STUDIO_SKELETON,
    Capsule,
    hidden,
    keypoint_depth_mm,
    pose_points,
)

RING_MM, TARGET_HEIGHT_MM, FIGURE_MM = 4000.0, 930.0, 1900.0
#: Points of the moving limb-like object that is not part of the figure, after those of the figure.
_DISTRACTOR = (
    Capsule(len(POINTS), len(POINTS) + 1, 52.0, LEFT_RGB, 3.0),
    Capsule(len(POINTS) + 1, len(POINTS) + 2, 42.0, RIGHT_DARK_RGB),
)
_DISTRACTOR_POINTS = 3
_MOTION, _CAMERAS, _ROOM, _GRAIN, _THING, _OTHERS, _COMPANY = range(7)  # independent random streams of one seed


@dataclass(frozen=True)
class CaptureStudio:
    """One recording of the studio's figure, and of others beside it.

    seed           draws motion, cameras, room and noise
    n_frames       length of the recording
    n_views        cameras on the ring
    size_px        (width, height) of every picture
    fps            pictures per second
    rare_fraction  share of frames that belong to bouts of rare actions
    fill           height of the standing figure relative to the shorter side of the picture
    noise          standard deviation of the sensor noise in grey levels
    distractor     a limb-like object moves around the figure
    figures        how many move there; all but the first leave the room now and then.  ``truth_…`` and ``occluded`` are of the
                   first, ``subjects_…`` of all
    """

    seed: int
    n_frames: int = 300
    n_views: int = 4
    size_px: tuple[int, int] = (256, 256)
    fps: float = 30.0
    rare_fraction: float = 0.2
    fill: float = 0.72
    noise: float = 4.0
    distractor: bool = True
    figures: int = 1

    def __post_init__(self) -> None:
        if self.n_frames < 1 or self.n_views < 1 or min(self.size_px) < 16 or self.figures < 1:
            raise BadInputError(
                f"capture studio: expected at least 1 frame, 1 view, 1 figure and 16 px, "
                f"got n_frames={self.n_frames}, n_views={self.n_views}, figures={self.figures}, size_px={self.size_px}"
            )

    @property
    def skeleton(self) -> Skeleton:
        """The figure's skeleton: 15 keypoints whose sides differ by colour only."""
        return STUDIO_SKELETON

    @property
    def sequence(self) -> str:
        """Name of the recording."""
        return f"studio{self.seed}"

    @cached_property
    def frames(self) -> tuple[FrameKey, ...]:
        """(n,) one key per frame."""
        return tuple(FrameKey(self.sequence, i) for i in range(self.n_frames))

    @cached_property
    def rig(self) -> Rig:
        """Cameras cam1 … camV, world unit millimetres, Brown–Conrady distortion."""
        rng = self._rng(_CAMERAS)
        return Rig(tuple(self._camera(view, rng) for view in range(self.n_views)), unit="mm")

    def _camera(self, view: int, rng: np.random.Generator) -> Camera:
        azimuth = 2 * np.pi * (view / self.n_views + 0.06 * rng.uniform(-1, 1)) + 0.4
        height = (1250.0 if view % 2 == 0 else 2000.0) + rng.uniform(-150, 150)
        radius = RING_MM * rng.uniform(0.95, 1.05)
        centre = np.array([radius * np.cos(azimuth), radius * np.sin(azimuth), height])
        forward = np.array([0.0, 0.0, TARGET_HEIGHT_MM]) - centre
        distance = float(np.linalg.norm(forward))
        z = forward / distance
        x = np.cross(z, [0.0, 0.0, 1.0])
        x /= np.linalg.norm(x)
        rotation = np.stack([x, np.cross(z, x), z])
        focal = self.fill * min(self.size_px) * distance / FIGURE_MM
        width, height_px = self.size_px
        shift = rng.uniform(-0.01, 0.01, 2) * min(self.size_px)
        return Camera(
            name=f"cam{view + 1}",
            K=np.array([[focal, 0, (width - 1) / 2 + shift[0]], [0, focal * 1.002, (height_px - 1) / 2 + shift[1]], [0, 0, 1]]),
            R_cam_world=rotation,
            t_cam_world=-rotation @ centre,
            dist=np.array([-0.18, 0.05, 8e-4, -6e-4, -0.01]) * rng.uniform(0.8, 1.2, 5),
            size_px=self.size_px,
        )

    @cached_property
    def _motion(self) -> Motion:
        return make_motion(self._rng(_MOTION), self.n_frames, self.fps, self.rare_fraction)

    @cached_property
    def present(self) -> BoolArray:
        """(n, S) which figures are in the room."""
        return company.presence(self._rng(_COMPANY, 1), self.n_frames, self.figures)

    @cached_property
    def _figures_world(self) -> FloatArray:
        """(n, S, P, 3) all capsule ends of all figures, in the room or not."""
        motions = [self._motion, *(self._other_motion(number) for number in range(1, self.figures))]
        steps = np.stack([motion.floor_xy for motion in motions], axis=1)
        floor_xy = steps if self.figures == 1 else company.paths(self._rng(_COMPANY, 0), steps, self.fps)
        return np.stack([pose_points(motion.angles, floor_xy[:, s], motion.lift_mm) for s, motion in enumerate(motions)], axis=1)

    def _other_motion(self, number: int) -> Motion:
        return make_motion(self._rng(_OTHERS, number), self.n_frames, self.fps, self.rare_fraction)

    @cached_property
    def _points_world(self) -> FloatArray:
        """(n, P, 3) all capsule ends: of the first figure, of the distractor, of the other figures."""
        others = self._figures_world[:, 1:].reshape(self.n_frames, -1, 3)
        return np.concatenate([self._figures_world[:, 0], self._distractor_points(), others], axis=1)

    @cached_property
    def _points_px(self) -> FloatArray:
        """(n, V, P, 2) distorted pixels."""
        return self.rig.project(self._points_world)

    @property
    def _capsules(self) -> tuple[Capsule, ...]:
        """The first figure and the distractor; a capsule names its ends in ``_points_world``."""
        return CAPSULES + _DISTRACTOR if self.distractor else CAPSULES

    def _capsules_at(self, frame: int) -> tuple[Capsule, ...]:
        """All that is in the room at a frame."""
        here = np.flatnonzero(self.present[frame, 1:])
        return self._capsules + tuple(capsule for number in here.tolist() for capsule in self._other_capsules[number])

    @cached_property
    def _other_capsules(self) -> tuple[tuple[Capsule, ...], ...]:
        shifts = [len(POINTS) + _DISTRACTOR_POINTS + number * len(POINTS) for number in range(self.figures - 1)]
        return tuple(tuple(replace(c, start=c.start + shift, end=c.end + shift) for c in CAPSULES) for shift in shifts)

    def _distractor_points(self) -> FloatArray:
        """(n, 3, 3) an arm-like object that circles the figure and folds."""
        rng = self._rng(_THING)
        t = np.arange(self.n_frames) / self.fps
        turn = rng.uniform(0, 2 * np.pi) + 0.55 * t
        radius = 780 + 120 * np.sin(0.7 * t + rng.uniform(0, 6))
        base = np.stack([radius * np.cos(turn), radius * np.sin(turn), 900 + 350 * np.sin(0.43 * t + rng.uniform(0, 6))], axis=-1)
        points = [base]
        for length, rate in ((290.0, 0.9), (260.0, 1.4)):
            tilt, swing = 1.3 + 0.9 * np.sin(rate * t + rng.uniform(0, 6)), 0.8 * rate * t + rng.uniform(0, 6)
            step = np.stack([np.sin(tilt) * np.cos(swing), np.sin(tilt) * np.sin(swing), np.cos(tilt)], axis=-1)
            points.append(points[-1] + length * step)
        return np.stack(points, axis=1)

    @property
    def truth_xyz(self) -> FloatArray:
        """(n, K, 3) mm, world frame."""
        return self._points_world[:, : len(KEYPOINTS)]

    @property
    def truth_xy(self) -> FloatArray:
        """(n, V, K, 2) distorted image pixels."""
        return self._points_px[:, :, : len(KEYPOINTS)]

    @cached_property
    def subjects_xyz(self) -> FloatArray:
        """(n, S, K, 3) mm, world frame, of all figures; NaN while one is not in the room."""
        return np.where(self.present[..., None, None], self._figures_world[:, :, : len(KEYPOINTS)], np.nan)

    @cached_property
    def subjects_xy(self) -> FloatArray:
        """(n, S, V, K, 2) distorted image pixels of all figures; NaN while one is not in the room."""
        return self.rig.project(self.subjects_xyz)

    @property
    def occluded(self) -> BoolArray:
        """(n, V, K) the figure itself, the distractor or another figure hides the keypoint from the camera."""
        return self.subjects_occluded[:, 0]

    @cached_property
    def subjects_occluded(self) -> BoolArray:
        """(n, S, V, K) :attr:`occluded` of all figures; False while one is not in the room."""
        covered = np.zeros((self.n_frames, self.figures, self.n_views, len(KEYPOINTS)), dtype=np.bool_)
        together, which = np.unique(self.present, axis=0, return_inverse=True)
        for group, here in enumerate(together):
            frames = np.flatnonzero(which.ravel() == group)
            capsules = self._capsules_at(int(frames[0]))
            for view, camera in enumerate(self.rig.cameras):
                points = self._points_world[frames] @ camera.R_cam_world.T + camera.t_cam_world
                for figure in np.flatnonzero(here).tolist():
                    keypoints = self.subjects_xyz[frames, figure] @ camera.R_cam_world.T + camera.t_cam_world
                    covered[frames, figure, view] = hidden(points, keypoints, capsules, keypoint_depth_mm())
        return covered

    @property
    def rare(self) -> BoolArray:
        """(n,) the frame belongs to a bout of a rare action."""
        return self._motion.rare

    @cached_property
    def subjects_rare(self) -> BoolArray:
        """(n, S) :attr:`rare` of all figures."""
        return np.stack([self._motion.rare, *(self._other_motion(i).rare for i in range(1, self.figures))], axis=1)

    @property
    def action(self) -> tuple[str, ...]:
        """(n,) name of the action."""
        return self._motion.action

    @cached_property
    def _scenes(self) -> tuple[Scene, ...]:
        return tuple(make_scene(camera, self._rng(_ROOM)) for camera in self.rig.cameras)

    def render(self, frame: int, view: int) -> ByteArray:
        """(h, w, 3) RGB picture of ``frame`` by camera number ``view``."""
        picture = draw(self._scenes[view], self._points_world[frame], self._points_px[frame, view], self._capsules_at(frame))
        return expose(picture, self._rng(_GRAIN, frame, view), self.noise)

    def write(self, folder: Path, format: Literal["images", "video"] = "images") -> tuple[Frame, ...]:
        """Write the recording as a camera system would: pictures, ``calibration.toml`` and, to evaluate with, ``truth.npz``.

        images  cam1/000000.jpg …; video  cam1.mp4 … (lossy: frame ``i`` of the file is frame ``i`` of the studio)
        truth.npz holds xyz_mm (n, K, 3), xy_px (n, V, K, 2), occluded (n, V, K), rare (n,), action (n,), keypoints (K,); of
        several figures also subjects_xyz_mm (n, S, K, 3), subjects_xy_px (n, S, V, K, 2), subjects_occluded (n, S, V, K).
        Returns the frames with references to the files.
        """
        folder.mkdir(parents=True, exist_ok=True)
        images: dict[str, list[ImageRef]] = {}
        for view, name in enumerate(self.rig.names):
            write = self._write_images if format == "images" else self._write_video
            images[name] = write(folder, view, name)
        (folder / "calibration.toml").write_text(anipose_toml(self.rig), encoding="utf-8")
        np.savez_compressed(
            folder / "truth.npz",
            xyz_mm=self.truth_xyz,
            xy_px=self.truth_xy,
            occluded=self.occluded,
            rare=self.rare,
            action=np.array(self.action),
            keypoints=np.array(KEYPOINTS),
            **self._truth_of_all(),
        )
        return tuple(Frame(key, {name: images[name][key.index] for name in images}) for key in self.frames)

    def _truth_of_all(self) -> dict[str, Any]:
        if self.figures == 1:
            return {}
        return {
            "subjects_xyz_mm": self.subjects_xyz,
            "subjects_xy_px": self.subjects_xy,
            "subjects_occluded": self.subjects_occluded,
        }

    def _write_images(self, folder: Path, view: int, name: str) -> list[ImageRef]:
        (folder / name).mkdir(exist_ok=True)
        refs = []
        for i in range(self.n_frames):
            path = folder / name / f"{i:06d}.jpg"
            cv2.imwrite(str(path), self.render(i, view)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
            refs.append(ImageRef(str(path), time_s=i / self.fps, size_px=self.size_px))
        return refs

    def _write_video(self, folder: Path, view: int, name: str) -> list[ImageRef]:
        path = str(folder / f"{name}.mp4")
        writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), self.fps, self.size_px)
        if not writer.isOpened():
            raise BadInputError(f"{path}: OpenCV cannot write mp4 video here; use format='images'")
        for i in range(self.n_frames):
            writer.write(np.ascontiguousarray(self.render(i, view)[..., ::-1]))
        writer.release()
        return [ImageRef(path, i, time_s=i / self.fps, size_px=self.size_px) for i in range(self.n_frames)]

    def _rng(self, stream: int, *index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream, *index])


def anipose_toml(rig: Rig) -> str:
    """The rig as anipose's ``calibration.toml`` (five Brown–Conrady coefficients, rotation vector world → camera)."""
    sections = []
    for number, camera in enumerate(rig.cameras):
        rotation, _ = cv2.Rodrigues(camera.R_cam_world)
        values = {
            "name": f'"{camera.name}"',
            "size": list(camera.size_px),
            "matrix": camera.K.tolist(),
            "distortions": camera.dist.tolist(),
            "rotation": rotation.ravel().tolist(),
            "translation": camera.t_cam_world.tolist(),
            "fisheye": "false",
        }
        sections.append("\n".join([f"[cam_{number}]", *(f"{key} = {value}" for key, value in values.items())]))
    return "\n\n".join([*sections, "[metadata]\nadjusted = false\n"])
