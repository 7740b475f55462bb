"""Cameras and rigs: pinhole with Brown–Conrady distortion, and fisheye.  (Interface first; see tests for the conventions.)"""
