"""Cameras, rigs and what several views of one point say about it.  Pure functions on arrays.

cameras, lens          projection, undistortion, rays, crops and resizes
triangulation          linear and robust (consensus, refinement, normalised: its search, its iteration and its kernels)
consistency            scores and acceptance from triangulation residuals
epipolar, affine       residuals with or without calibration
diagnosis              which camera is wrong, which one started late
pictorial*             three-dimensional pictorial structures
calibration            calibration files
"""
