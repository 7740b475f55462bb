"""How clear the matching of a frame is: the evidence that the next best matching loses against it.

Matchings that differ from it by one instance are compared: the instance goes to another subject, changes places with the one that
the camera shows of that subject, or stays alone.  What is lost is divided by the number of pairs of instances that this
concerns, so that it is at most two, and one where no pair of the other matching has anything for it.
"""

from __future__ import annotations

import numpy as np

from label_config.values import BoolArray, FloatArray, IntArray
from ml_backend.geometry.association import pair_evidence
from ml_backend.geometry.cameras import Rig


def matching_ambiguity(rig: Rig, xy_px: FloatArray) -> FloatArray:
    """(n, S) 1 − what the next best matching loses; 0 = nothing comes near, 1 = another is as good, above = another is better.

    xy_px  (n, S, V, K, 2) distorted pixels of S subjects as they are matched; NaN = no point, all NaN = the camera shows none

    NaN for a subject that fewer than two cameras show, and in frames with fewer than two subjects: there is nobody to be
    mistaken for.  Raises BadInputError for shapes that do not fit the rig.
    """
    xy_px = rig.check_points(xy_px)
    placed: BoolArray = np.asarray(np.isfinite(xy_px).all(axis=-1))
    undistorted = np.where(placed[..., None], rig.undistort(xy_px), np.nan)
    shown: BoolArray = np.asarray(placed.any(axis=-1))
    found = np.full(shown.shape[:2], np.nan)
    for i in np.flatnonzero(shown.any(axis=2).sum(axis=1) > 1).tolist():
        subject, view = np.nonzero(shown[i])
        evidence = pair_evidence(rig, xy_px[i, subject, view], undistorted[i, subject, view], view)
        lost = least_loss(evidence, view, subject)
        for s in np.flatnonzero(shown[i].sum(axis=1) > 1).tolist():
            found[i, s] = 1 - min(float(lost[subject == s].min()), 1.0)
    return found


def least_loss(evidence: FloatArray, view: IntArray, subject: IntArray) -> FloatArray:
    """(N,) the least that a change of each instance loses, evidence per pair that it concerns; infinite without any.

    evidence  (N, N) of :func:`pair_evidence`;  view, subject  (N,) of the instances, each pair of them at most once
    """
    lost = np.full(len(view), np.inf)
    for i in range(len(view)):
        own = (subject == subject[i]) & (np.arange(len(view)) != i)
        here, partners = float(evidence[i, own].sum()), int(own.sum())
        if partners:
            lost[i] = here / partners
        for other in np.unique(subject[subject != subject[i]]).tolist():
            members = subject == other
            rival = members & (view == view[i])
            members &= ~rival
            pairs = partners + int(members.sum())
            if not pairs:
                continue
            change = here - float(evidence[i, members].sum())
            change += float(evidence[rival][:, members].sum()) - float(evidence[rival][:, own].sum())
            lost[i] = min(lost[i], change / pairs)
    return lost
