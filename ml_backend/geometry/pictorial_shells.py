"""Convolution of voxel grids with spherical shells: the message of a limb in a 3-D pictorial structure (docs/methods.md §4.2).

The pairwise term ``1[| ‖s_i − s_j‖ − L | ≤ ε]`` depends on the difference of two voxels alone, so summing it against a
field is a convolution with a shell of radius L and half-width ε.  Three things make it cheap and keep it exact:

* a shell reaches R = ⌊L + ε⌋ voxels, so padding the grid to G + R instead of 2 G already keeps wrap-around out;
* the shell is symmetric, so its spectrum is real and is stored as such;
* axes are transformed one after the other, and lines that are zero (before) or not wanted (after) are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from label_config.values import BadInputError, FloatArray

#: Ratio of the smallest to the largest value of a band that is transformed at once; well above what a float32 transform rounds.
BAND = 2.0**-16
#: Half-width in voxels below which a shell may miss every voxel, whatever its radius.
MIN_TOLERANCE_VOX = 0.5


def shell(length_vox: float, tolerance_vox: float, reach: int) -> FloatArray:
    """(2 reach + 1)³ indicator of ``|distance from the middle − length| ≤ tolerance``, float64."""
    squared = np.arange(-reach, reach + 1) ** 2
    distance = np.sqrt(squared[:, None, None] + squared[None, :, None] + squared[None, None, :])
    return np.asarray(np.abs(distance - length_vox) <= tolerance_vox, dtype=np.float64)


class ShellConvolution:
    """Convolution with one fixed shell on a G³ grid, its spectrum computed once.

    length_vox, tolerance_vox  radius and half-width in voxels
    grid                       G
    dtype                      float32 or float64, of the fields and of the arithmetic

    Raises BadInputError when no two voxels of the grid are that far apart.
    """

    def __init__(self, length_vox: float, tolerance_vox: float, grid: int, dtype: npt.DTypeLike = np.float32) -> None:
        if tolerance_vox < MIN_TOLERANCE_VOX:
            raise BadInputError(f"limb tolerance: expected at least {MIN_TOLERANCE_VOX} voxel, got {tolerance_vox:.3g}")
        reach = min(int(np.floor(length_vox + tolerance_vox)), grid - 1)
        kernel = shell(length_vox, tolerance_vox, reach)
        if not kernel.any():
            raise BadInputError(f"limb length {length_vox:.1f} voxels does not fit into a grid of {grid}³; use a larger box")
        self.grid = grid
        self.padded = int(fft.next_fast_len(grid + reach, real=True))
        self._spectrum = self._real_spectrum(kernel, reach).astype(dtype)

    def _real_spectrum(self, kernel: FloatArray, reach: int) -> FloatArray:
        centred = np.zeros((self.padded,) * 3)
        width = 2 * reach + 1
        centred[:width, :width, :width] = kernel
        return np.asarray(fft.rfftn(np.roll(centred, (-reach,) * 3, axis=(0, 1, 2))).real)

    def exact(self, field: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The same sums, exactly 0 where no voxel of the shell is positive, and with small relative error everywhere else.

        A transform rounds relative to the largest value of its field, so bands of similar values are transformed one by one, and
        each is cut to the voxels that one of its own reaches.
        """
        total = np.zeros_like(field)
        upper = float(field.max())
        while upper > 0:
            lower = upper * BAND
            band = (field <= upper) & (field > lower)
            values = self(np.divide(field, upper, out=np.zeros_like(field), where=band))
            reached = self(band.astype(field.dtype)) > 0.5
            total += np.where(reached, np.maximum(values, BAND) * field.dtype.type(upper), 0)
            below = field[field <= lower]
            upper = float(below.max()) if below.size else 0.0
        return total

    def __call__(self, field: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(G, G, G) field → (G, G, G) sums over the shell around every voxel; may be negative by rounding."""
        size, grid = self.padded, self.grid
        work = fft.rfft(field, size, axis=2)
        work = fft.fft(work, size, axis=1, overwrite_x=True)
        work = fft.fft(work, size, axis=0, overwrite_x=True)
        work *= self._spectrum
        work = fft.ifft(work, axis=0, overwrite_x=True)[:grid]
        work = fft.ifft(work, axis=1, overwrite_x=True)[:, :grid]
        return np.asarray(fft.irfft(work, size, axis=2)[:, :, :grid])
