"""A small fully connected autoencoder in NumPy, trained by Adam; the same labels and seed always give the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from label_config.values import BoolArray, FloatArray

#: Widths between the input and the code of the published network.
HIDDEN = (24, 12, 7, 4)
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class AutoEncoder:
    """Linear layers with ReLU between them, none on the code in the middle.

    weights  [(inputs, outputs)] and biases [(outputs,)] for each layer
    sigmoid  squash the output into (0, 1), as published: negative features cannot be reproduced then
    """

    weights: tuple[FloatArray, ...]
    biases: tuple[FloatArray, ...]
    sigmoid: bool = False

    @classmethod
    def random(cls, n_features: int, sigmoid: bool, seed: int) -> AutoEncoder:
        """Weights uniform in ±1/√inputs, the usual start of a linear layer."""
        rng = np.random.default_rng(seed)
        widths = (n_features, *HIDDEN, *HIDDEN[-2::-1], n_features)
        pairs = list(pairwise(widths))
        weights = tuple(rng.uniform(-1, 1, pair) / np.sqrt(pair[0]) for pair in pairs)
        biases = tuple(rng.uniform(-1, 1, pair[1]) / np.sqrt(pair[0]) for pair in pairs)
        return cls(weights, biases, sigmoid)

    def to_state(self) -> dict[str, FloatArray]:
        """Plain arrays; inverse of :meth:`from_state`."""
        named = {f"weight{i}": w for i, w in enumerate(self.weights)}
        return named | {f"bias{i}": b for i, b in enumerate(self.biases)}

    @classmethod
    def from_state(cls, state: Mapping[str, FloatArray], sigmoid: bool) -> AutoEncoder:
        """Inverse of :meth:`to_state`."""
        layers = range(2 * len(HIDDEN))
        return cls(tuple(state[f"weight{i}"] for i in layers), tuple(state[f"bias{i}"] for i in layers), sigmoid)

    def reconstruct(self, features: FloatArray) -> FloatArray:
        """(n, D) finite → (n, D)."""
        return self._forward(features)[-1]

    def _forward(self, features: FloatArray) -> list[FloatArray]:
        """Input and output of every layer."""
        values = [features]
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            linear = values[-1] @ weight + bias
            if i == last:
                values.append(1 / (1 + np.exp(-linear)) if self.sigmoid else linear)
            else:
                values.append(linear if i == len(HIDDEN) - 1 else np.maximum(linear, 0.0))
        return values

    def gradients(self, features: FloatArray, valid: BoolArray) -> list[FloatArray]:
        """Gradient of the mean squared error over the valid features: for weights, then biases, in order of the layers.

        features  (n, D) finite, filled in where ``valid`` (n, D) is False
        """
        values = self._forward(features)
        output = values[-1]
        slope = 2 * np.where(valid, output - features, 0.0) / max(int(valid.sum()), 1)
        if self.sigmoid:
            slope = slope * output * (1 - output)
        by_weight, by_bias = [], []
        for i in reversed(range(len(self.weights))):
            by_weight.append(values[i].T @ slope)
            by_bias.append(slope.sum(axis=0))
            slope = slope @ self.weights[i].T
            if i > 0 and i != len(HIDDEN):  # the code has no ReLU
                slope = slope * (values[i] > 0)
        return by_weight[::-1] + by_bias[::-1]


def train(
    features: FloatArray,
    valid: BoolArray,
    *,
    sigmoid: bool,
    seed: int,
    epochs: int,
    batch: int,
    learning_rate: float,
    begin_from: AutoEncoder | None = None,
) -> AutoEncoder:
    """Fit an autoencoder to features (n, D), finite everywhere and filled in where ``valid`` (n, D) is False.

    begin_from  goes on from this one, which stays as it is; None = random weights
    """
    network = AutoEncoder.random(features.shape[1], sigmoid, seed) if begin_from is None else begin_from
    parameters = [p.copy() for p in (*network.weights, *network.biases)]
    layers = len(network.weights)
    network = AutoEncoder(tuple(parameters[:layers]), tuple(parameters[layers:]), sigmoid)
    first, second = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
    rng = np.random.default_rng(seed)
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(features))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            step += 1
            rate = learning_rate * np.sqrt(1 - _BETA2**step) / (1 - _BETA1**step)
            for parameter, m, v, gradient in zip(
                parameters, first, second, network.gradients(features[rows], valid[rows]), strict=True
            ):
                m *= _BETA1
                m += (1 - _BETA1) * gradient
                v *= _BETA2
                v += (1 - _BETA2) * gradient**2
                parameter -= rate * m / (np.sqrt(v) + _EPSILON)  # in place: the network holds these very arrays
    return network
