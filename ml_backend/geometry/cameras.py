"""Cameras and rigs.

Frames of reference
    world   the calibration's own, in the rig's ``unit``
    camera  x right, y down, z forwards: ``X_cam = R_cam_world @ X_world + t_cam_world``
    image   pixels of the (cropped, resized) view; (0, 0) is the *centre* of the top-left pixel, as in OpenCV

``K`` maps normalised coordinates to those pixels, so a lens centred on a picture of width ``w`` has ``K[0, 2] = (w - 1) / 2``.
A calibration whose origin is the *corner* of the top-left pixel needs 0.5 subtracted from both entries of ``K[:2, 2]``.

*Undistorted pixels* are what a perfect pinhole with the same ``K`` would have seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from label_config.values import BadInputError, BoolArray, FloatArray
from ml_backend.geometry import lens

Model = Literal["pinhole", "fisheye"]
_COEFFICIENTS = {"pinhole": (0, 4, 5, 8, 12, 14), "fisheye": (0, 4)}
_ROTATION_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Camera:
    """One calibrated view.  Arrays are copied and made read-only.

    name         unique within its rig
    K            (3, 3) intrinsics in pixels, last row [0, 0, 1], upper triangular (skew allowed)
    R_cam_world  (3, 3) rotation world → camera
    t_cam_world  (3,) translation world → camera, in the rig's unit
    dist         lens coefficients, see :mod:`ml_backend.geometry.lens`; 0, 4, 5, 8, 12 or 14 (pinhole), 0 or 4 (fisheye)
    size_px      (width, height)

    Raises BadInputError naming the camera when any of this does not hold or is not finite.
    """

    name: str
    K: FloatArray
    R_cam_world: FloatArray
    t_cam_world: FloatArray
    dist: FloatArray = field(default_factory=lambda: np.zeros(0))
    model: Model = "pinhole"
    size_px: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for name, shape in (("K", (3, 3)), ("R_cam_world", (3, 3)), ("t_cam_world", (3,)), ("dist", (-1,))):
            self._freeze(name, shape)
        self._check_model()
        self._check_intrinsics()
        self._check_rotation()

    def _fail(self, what: str) -> BadInputError:
        return BadInputError(f"camera {self.name!r}: {what}")

    def _freeze(self, name: str, shape: tuple[int, ...]) -> None:
        array = np.array(getattr(self, name), dtype=np.float64)
        if array.ndim != len(shape) or (shape != (-1,) and array.shape != shape):
            raise self._fail(f"{name}: expected shape {'(n,)' if shape == (-1,) else shape}, got {array.shape}")
        if not np.isfinite(array).all():
            raise self._fail(f"{name}: expected finite numbers, got {array.tolist()}")
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def _check_model(self) -> None:
        if self.model not in get_args(Model):
            raise self._fail(f"model: expected one of {', '.join(get_args(Model))}, got {self.model!r}")
        allowed = _COEFFICIENTS[self.model]
        if self.dist.size not in allowed:
            raise self._fail(f"dist: a {self.model} lens has {allowed} coefficients, got {self.dist.size}; pad with zeros")
        width, height = self.size_px
        if not (int(width) == width > 0 and int(height) == height > 0):
            raise self._fail(f"size_px: expected positive whole (width, height), got {self.size_px}")
        object.__setattr__(self, "size_px", (int(width), int(height)))

    def _check_intrinsics(self) -> None:
        if not np.array_equal(self.K[2], [0, 0, 1]):
            hint = "; it looks transposed, pass K.T" if np.array_equal(self.K[:, 2], [0, 0, 1]) else ""
            raise self._fail(f"K: expected last row [0, 0, 1], got {self.K[2].tolist()}{hint}")
        if self.K[1, 0] != 0 or not (self.K[0, 0] > 0 and self.K[1, 1] > 0):
            raise self._fail(f"K: expected positive focal lengths and K[1][0] = 0, got {self.K[:2].tolist()}")

    def _check_rotation(self) -> None:
        error = np.abs(self.R_cam_world @ self.R_cam_world.T - np.eye(3)).max()
        if error > _ROTATION_TOLERANCE:
            raise self._fail(f"R_cam_world: expected an orthonormal matrix, R·Rᵀ differs from the identity by {error:.2g}")
        if np.linalg.det(self.R_cam_world) < 0:
            raise self._fail("R_cam_world: expected determinant +1, got -1 (a mirror image: one axis has the wrong sign)")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Camera) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.name, self.size_px))

    @property
    def P(self) -> FloatArray:
        """(3, 4) projection matrix world → undistorted pixels."""
        extrinsics = np.column_stack((self.R_cam_world, self.t_cam_world))
        return np.asarray(self.K @ extrinsics)

    @cached_property
    def centre(self) -> FloatArray:
        """(3,) optical centre in the world."""
        return np.asarray(-self.R_cam_world.T @ self.t_cam_world)

    @property
    def axis(self) -> FloatArray:
        """(3,) unit viewing direction in the world."""
        return np.asarray(self.R_cam_world[2])

    def depth(self, xyz_world: FloatArray) -> FloatArray:
        """World (..., 3) → (...) distance in front of the camera along its axis."""
        return np.asarray(_coordinates(xyz_world, 3) @ self.R_cam_world[2] + self.t_cam_world[2])

    def project(self, xyz_world: FloatArray) -> FloatArray:
        """World (..., 3) → distorted pixels (..., 2).

        NaN for points that are NaN, not in front of the camera, or so far aside that the lens model has no place for them
        (:func:`ml_backend.geometry.lens.reach`).
        """
        xyz_cam = _coordinates(xyz_world, 3) @ self.R_cam_world.T + self.t_cam_world
        z = np.where(xyz_cam[..., 2] > 0, xyz_cam[..., 2], np.nan)
        return self._to_pixels(*lens.distort(self.model, self.dist, xyz_cam[..., 0] / z, xyz_cam[..., 1] / z))

    def distort(self, xy_px: FloatArray) -> FloatArray:
        """Undistorted pixels (..., 2) → distorted pixels (..., 2)."""
        return self._to_pixels(*lens.distort(self.model, self.dist, *self._to_normalised(xy_px)))

    def undistort(self, xy_px: FloatArray) -> FloatArray:
        """Distorted pixels (..., 2) → undistorted pixels (..., 2).

        NaN where the lens model cannot have produced the point, see :func:`ml_backend.geometry.lens.undistort`.
        """
        return self.undistort_scaled(xy_px)[0]

    def undistort_scaled(self, xy_px: FloatArray) -> tuple[FloatArray, FloatArray]:
        """:meth:`undistort` and, (...), by how much the lens enlarges there: distorted pixels per undistorted pixel."""
        x, y, determinant = lens.undistort(self.model, self.dist, *self._to_normalised(xy_px))
        return self._to_pixels(x, y), np.sqrt(determinant)

    def rays(self, xy_px: FloatArray) -> FloatArray:
        """Distorted pixels (..., 2) → unit directions (..., 3) in the world, from :attr:`centre` outwards."""
        x, y, _ = lens.undistort(self.model, self.dist, *self._to_normalised(xy_px))
        direction = np.stack((x, y, np.ones_like(x)), axis=-1) @ self.R_cam_world
        return np.asarray(direction / np.linalg.norm(direction, axis=-1, keepdims=True))

    def _to_pixels(self, x: FloatArray, y: FloatArray) -> FloatArray:
        return np.stack((self.K[0, 0] * x + self.K[0, 1] * y + self.K[0, 2], self.K[1, 1] * y + self.K[1, 2]), axis=-1)

    def _to_normalised(self, xy_px: FloatArray) -> tuple[FloatArray, FloatArray]:
        xy_px = _coordinates(xy_px, 2)
        y = (xy_px[..., 1] - self.K[1, 2]) / self.K[1, 1]
        return (xy_px[..., 0] - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0], y

    def cropped(self, x: int, y: int, width: int, height: int) -> Camera:
        """The camera of the picture's part that starts at pixel (x, y)."""
        K = self.K.copy()
        K[:2, 2] -= (x, y)
        return replace(self, K=K, size_px=(width, height))

    def rotated(self, quarter_turns: int) -> Camera:
        """The camera of the picture turned clockwise by so many right angles.

        Raises BadInputError for a lens that has no such camera: skewed axes, or a tilted sensor.
        """
        turned = self
        for _ in range(quarter_turns % 4):
            turned = turned._turned_once()
        return turned

    def _turned_once(self) -> Camera:
        if self.K[0, 1] != 0 or self.dist[12:].any():
            raise self._fail("a picture with skewed axes or a tilted sensor cannot be turned; calibrate the turned pictures")
        quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        fx, fy, cx, cy = self.K[0, 0], self.K[1, 1], self.K[0, 2], self.K[1, 2]
        dist = self.dist.copy()
        if self.model == "pinhole" and dist.size >= 4:
            dist[2:4] = dist[3], -dist[2]  # p1, p2
        if dist.size >= 12:
            dist[8:12] = -dist[10], -dist[11], dist[8], dist[9]  # s1 … s4
        return replace(
            self,
            K=np.array([[fy, 0.0, self.size_px[1] - 1 - cy], [0.0, fx, cx], [0.0, 0.0, 1.0]]),
            R_cam_world=quarter @ self.R_cam_world,
            t_cam_world=quarter @ self.t_cam_world,
            dist=dist,
            size_px=self.size_px[::-1],
        )

    def resized(self, size_px: tuple[int, int]) -> Camera:
        """The camera of the picture scaled to ``size_px``; the pictures' *corners* coincide, not their pixel centres."""
        scale = np.array(size_px, dtype=np.float64) / self.size_px
        K = self.K.copy()
        K[:2, 2] += 0.5
        K[:2] *= scale[:, None]
        K[:2, 2] -= 0.5
        return replace(self, K=K, size_px=size_px)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "name": self.name,
            "K": self.K.tolist(),
            "R_cam_world": self.R_cam_world.tolist(),
            "t_cam_world": self.t_cam_world.tolist(),
            "dist": self.dist.tolist(),
            "model": self.model,
            "size_px": list(self.size_px),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Camera:
        """Inverse of :meth:`to_json`.  Raises BadInputError for missing fields and impossible values."""
        try:
            fields = {name: data[name] for name in ("name", "K", "R_cam_world", "t_cam_world", "dist", "model")}
            width, height = data["size_px"]
            return cls(**fields, size_px=(width, height))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"camera {data.get('name', '?')!r}: expected the fields of Camera.to_json, {error!r}") from error


def _coordinates(points: FloatArray, size: int) -> FloatArray:
    """``points`` as float64 (..., size); infinities, which no lens or camera can have made, become NaN."""
    points = np.asarray(points, dtype=np.float64)
    if points.shape[-1:] != (size,):
        raise BadInputError(f"camera: expected points of shape (..., {size}), got {points.shape}")
    return np.where(np.isinf(points), np.nan, points) if np.isinf(points).any() else points


@dataclass(frozen=True)
class Rig:
    """Cameras that watch one scene, in the order of every V axis.  ``unit`` is that of the world's coordinates."""

    cameras: tuple[Camera, ...]
    unit: str = "mm"

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", tuple(self.cameras))
        if not self.cameras:
            raise BadInputError("rig: expected at least one camera, got none")
        repeated = sorted(name for name, count in Counter(self.names).items() if count > 1)
        if repeated:
            raise BadInputError(f"rig: camera names must be unique, repeated: {', '.join(repeated)}")

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.cameras)

    @cached_property
    def size_px(self) -> FloatArray:
        """(V, 2) width and height of the pictures."""
        return np.array([camera.size_px for camera in self.cameras], dtype=np.float64)

    def inside(self, xy_px: FloatArray) -> BoolArray:
        """(..., V, K, 2) pixels → (..., V, K) True within the pictures, which reach from -0.5 to size - 0.5; False for NaN."""
        return np.asarray(((xy_px >= -0.5) & (xy_px <= self.size_px[:, None] - 0.5)).all(axis=-1))

    def subset(self, names: Sequence[str]) -> Rig:
        """The rig of the named cameras, in that order.  Raises BadInputError for a name that it does not have."""
        by_name = {camera.name: camera for camera in self.cameras}
        missing = [name for name in names if name not in by_name]
        if missing:
            raise BadInputError(f"rig: no camera named {', '.join(missing)}; it has {', '.join(self.names)}")
        return Rig(tuple(by_name[name] for name in names), self.unit)

    def project(self, xyz_world: FloatArray) -> FloatArray:
        """World (..., K, 3) → distorted pixels (..., V, K, 2); NaN as in :meth:`Camera.project`."""
        xyz_world = np.asarray(xyz_world, dtype=np.float64)
        if xyz_world.ndim < 2 or xyz_world.shape[-1] != 3:
            raise BadInputError(f"project: expected points of shape (..., K, 3), got {xyz_world.shape}")
        return np.stack([camera.project(xyz_world) for camera in self.cameras], axis=-3)

    def undistort(self, xy_px: FloatArray) -> FloatArray:
        """Distorted (..., V, K, 2) → undistorted pixels of the same shape; NaN as in :meth:`Camera.undistort`."""
        xy_px = self.check_points(xy_px)
        return np.stack([camera.undistort(xy_px[..., v, :, :]) for v, camera in enumerate(self.cameras)], axis=-3)

    def check_points(self, xy_px: FloatArray) -> FloatArray:
        """``xy_px`` as float64 (..., V, K, 2).  Raises BadInputError when its V axis is not this rig's."""
        xy_px = np.asarray(xy_px, dtype=np.float64)
        if xy_px.ndim < 3 or xy_px.shape[-1] != 2 or xy_px.shape[-3] != len(self):
            raise BadInputError(
                f"points: expected shape (..., V, K, 2) with V = {len(self)} ({', '.join(self.names)}), got {xy_px.shape}"
            )
        return xy_px

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {"unit": self.unit, "cameras": [camera.to_json() for camera in self.cameras]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rig:
        """Inverse of :meth:`to_json`."""
        if not isinstance(data.get("cameras"), list):
            raise BadInputError("rig: expected the fields 'cameras' (a list) and 'unit' of Rig.to_json")
        return cls(tuple(Camera.from_json(camera) for camera in data["cameras"]), str(data.get("unit", "mm")))
