"""Ray casting of capsules into a distorted camera, with depth buffer, shading, a shadow on the floor and a still background.

Every pixel's ray is bent by the camera's distortion, so pictures and projected points agree exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from label_config.values import ByteArray, Float32Array, FloatArray
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.simulation.studio_figure import Capsule, capsule_distance

#: Direction towards the lamp, world frame.
LIGHT = np.array([0.35, 0.45, 0.82]) / np.linalg.norm([0.35, 0.45, 0.82])
AMBIENT, LAMP, HEADLIGHT = 0.42, 0.55, 0.22
ROOM_RADIUS_MM, ROOM_HEIGHT_MM = 5200.0, 2800.0
SHADOW_CELL_MM, SHADOW_CELLS, SHADOW_DEPTH = 25.0, 160, 0.45


@dataclass(frozen=True)
class Scene:
    """What one camera sees of the empty room.

    rays      (h, w, 3) unit vectors in the camera's frame
    backdrop  (h, w, 3) RGB 0…255
    floor_cell (h, w, 2) where the ray meets the floor, in cells of the shadow map; far outside it for the walls
    """

    camera: Camera
    rays: Float32Array
    backdrop: Float32Array
    floor_cell: Float32Array


def make_scene(camera: Camera, rng: np.random.Generator) -> Scene:
    """The empty room seen by ``camera``; ``rng`` draws the room and must start equal for all cameras of a rig."""
    width, height = camera.size_px
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float64)
    ideal = Rig((camera,)).undistort(pixels.reshape(1, -1, 2))[0]
    rays = np.concatenate([ideal, np.ones((len(ideal), 1))], axis=1) @ np.linalg.inv(camera.K).T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    centre = -camera.R_cam_world.T @ camera.t_cam_world
    backdrop, floor_xy = _room(rays @ camera.R_cam_world, centre, rng)
    cell = floor_xy / SHADOW_CELL_MM + SHADOW_CELLS / 2
    return Scene(
        camera=camera,
        rays=rays.reshape(height, width, 3).astype(np.float32),
        backdrop=backdrop.reshape(height, width, 3).astype(np.float32),
        floor_cell=cell.reshape(height, width, 2).astype(np.float32),
    )


def _room(rays_world: FloatArray, centre: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """(N, 3) colour of floor or round wall along each ray, and (N, 2) floor position (far away where a wall is seen)."""
    with np.errstate(divide="ignore"):
        to_floor = np.where(rays_world[:, 2] < 0, -centre[2] / rays_world[:, 2], np.inf)
    flat = (rays_world[:, :2] ** 2).sum(1)
    along = rays_world[:, :2] @ centre[:2]
    to_wall = (-along + np.sqrt(along**2 - flat * (centre[:2] @ centre[:2] - ROOM_RADIUS_MM**2))) / flat
    is_floor = to_floor < to_wall
    spot = centre + np.minimum(to_floor, to_wall)[:, None] * rays_world
    azimuth = np.arctan2(spot[:, 1], spot[:, 0]) / (2 * np.pi) + 0.5

    tiles = rng.uniform(0.86, 1.06, (32, 32))
    cell = (np.floor(spot[:, :2] / 420.0).astype(int) + 16).clip(0, 31)
    seam = (np.abs((spot[:, :2] / 420.0) % 1.0 - 0.5) > 0.475).any(axis=1)
    floor = np.array([150.0, 140.0, 126.0]) * (tiles[cell[:, 0], cell[:, 1]] * np.where(seam, 0.8, 1.0))[:, None]
    paint = rng.uniform(-1, 1, (24, 3)) * 26 + np.array([128.0, 130.0, 136.0])
    stain = cv2.resize(rng.uniform(-1, 1, (10, 40)), (512, 128), interpolation=cv2.INTER_CUBIC)
    row = (spot[:, 2] / ROOM_HEIGHT_MM * 127).clip(0, 127).astype(int)
    wall = paint[(azimuth * 24).astype(int).clip(0, 23)] + 16 * stain[row, (azimuth * 511).astype(int)][:, None]
    wall = np.where((spot[:, 2] < 120)[:, None], 84.0, wall)
    for _ in range(14):  # posters, some in the colours of the limbs
        at, low, size = rng.uniform(0, 0.97), rng.uniform(500, 1900), rng.uniform(0.5, 1.4)
        colour = rng.uniform(60, 190, 3)
        poster = (azimuth > at) & (azimuth < at + 0.022 * size) & (spot[:, 2] > low) & (spot[:, 2] < low + 620 * size)
        wall = np.where(poster[:, None], colour, wall)
    return np.where(is_floor[:, None], floor, wall), np.where(is_floor[:, None], spot[:, :2], 1e6)


def shadow_map(points_world: FloatArray, capsules: Sequence[Capsule]) -> Float32Array:
    """(cells, cells) how much lamp light reaches the floor: the capsules thrown along the light onto z = 0, blurred."""
    thrown = points_world[:, :2] - points_world[:, 2:] * LIGHT[:2] / LIGHT[2]
    cell = np.rint((thrown / SHADOW_CELL_MM + SHADOW_CELLS / 2) * 16).astype(int)
    light = np.ones((SHADOW_CELLS, SHADOW_CELLS), dtype=np.float32)
    for capsule in capsules:
        thickness = max(1, round(2 * capsule.radius_mm / SHADOW_CELL_MM))
        a, b = cell[capsule.start].tolist(), cell[capsule.end].tolist()
        cv2.line(light, a, b, 1.0 - SHADOW_DEPTH, thickness, cv2.LINE_8, 4)
    return np.asarray(cv2.GaussianBlur(light, (0, 0), 1.6), dtype=np.float32)


def draw(scene: Scene, points_world: FloatArray, points_px: FloatArray, capsules: Sequence[Capsule]) -> Float32Array:
    """Picture of the capsules in the room, (h, w, 3) RGB 0…255, without noise.

    points_world  (P, 3) mm; points_px  (P, 2) the same points in this camera's distorted pixels
    """
    camera = scene.camera
    shadow = shadow_map(points_world, capsules)
    cell_x, cell_y = cv2.split(scene.floor_cell)
    light = cv2.remap(shadow, cell_x, cell_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=1.0)
    canvas = np.asarray(scene.backdrop * light[..., None], dtype=np.float32)
    points = (points_world @ camera.R_cam_world.T + camera.t_cam_world).astype(np.float32)
    lamp = (camera.R_cam_world @ LIGHT).astype(np.float32)
    depth = np.full(scene.rays.shape[:2], np.inf, dtype=np.float32)
    for capsule in capsules:
        window = _window(capsule, points, points_px, camera)
        if window is None:
            continue
        start, end = points[capsule.start], points[capsule.end]
        distance, along = capsule_distance(start, end, capsule.radius_mm, scene.rays[window])
        nearer = distance < depth[window]
        t, s, ray = distance[nearer], along[nearer], scene.rays[window][nearer]
        normal = (t[:, None] * ray - start - s[:, None] * (end - start)) / np.float32(capsule.radius_mm)
        shade = AMBIENT + LAMP * np.maximum(normal @ lamp, 0) - HEADLIGHT * np.einsum("ij,ij->i", normal, ray)
        if capsule.stripes:
            shade *= np.where(np.sin(2 * np.pi * capsule.stripes * s) > 0.35, np.float32(0.72), np.float32(1.0))
        canvas[window][nearer] = np.asarray(capsule.rgb, dtype=np.float32) * shade[:, None]
        depth[window][nearer] = t
    return canvas


def _window(capsule: Capsule, points_cam: Float32Array, points_px: FloatArray, camera: Camera) -> tuple[slice, slice] | None:
    """Rows and columns of the picture that can show the capsule; None when it lies outside."""
    ends = [capsule.start, capsule.end]
    margin = 1.3 * capsule.radius_mm * camera.K[0, 0] / float(points_cam[ends, 2].min()) + 2
    low = np.floor(points_px[ends].min(axis=0) - margin).astype(int).clip(0)
    high = np.ceil(points_px[ends].max(axis=0) + margin).astype(int)
    width, height = camera.size_px
    columns, rows = slice(int(low[0]), min(int(high[0]) + 1, width)), slice(int(low[1]), min(int(high[1]) + 1, height))
    return (rows, columns) if columns.start < columns.stop and rows.start < rows.stop else None


def expose(picture: Float32Array, rng: np.random.Generator, noise: float) -> ByteArray:
    """Lens blur and sensor noise of ``noise`` grey levels: (h, w, 3) RGB 0…255 → uint8."""
    soft = cv2.GaussianBlur(picture, (3, 3), 0.55)
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(np.rint(soft + noise * grain), 0, 255).astype(np.uint8)
