"""Any backbone of the ``transformers`` library under the simple baseline's decoder: ResNet, ViT, ConvNeXt, DINOv2, …"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from label_config.values.errors import ModelError
from ml_backend.pose.networks.network import PoseNetwork, PoseOutput, global_average
from ml_backend.pose.networks.pose_resnet import final_convolution, simple_decoder


class BackboneNetwork(PoseNetwork):
    """Deepest feature map of a backbone, as many deconvolutions as lead to about a quarter of the input, one 1×1 convolution."""

    def __init__(
        self,
        n_keypoints: int,
        kind: str = "resnet",
        pretrained: str | None = None,
        config: Mapping[str, Any] | None = None,
        decoder: int = 256,
    ) -> None:
        """``kind`` is a model type of the library ("resnet", "vit", "convnextv2", "dinov2", …), ``config`` its arguments.

        ``pretrained`` is a hub name or a local folder whose weights are taken; it then decides the kind.
        Raises BadInputError for an unknown kind, unusable arguments or weights that cannot be had.
        """
        super().__init__()
        self.backbone = load_backbone(kind, pretrained, dict(config or {}))
        self.multiple = self.backbone.reduction
        self.feature_dim = self.backbone.channels
        n_deconvolutions = max(round(math.log2(self.multiple / 4)), 0)
        self.stride = self.multiple / 2**n_deconvolutions
        self.deconv_layers = simple_decoder(self.feature_dim, decoder, n_deconvolutions)
        self.final_layer = final_convolution(decoder if n_deconvolutions else self.feature_dim, n_keypoints)

    def forward(self, crops: Tensor) -> PoseOutput:
        """(n, 3, h, w) → heatmaps (n, K, h/stride, w/stride) and features (n, D)."""
        deepest = self.backbone(crops)
        decoded = self.deconv_layers(deepest)
        return PoseOutput(self.final_layer(decoded), global_average(deepest), (decoded,))


class DeepestMap(nn.Module):
    """A model of the library reduced to its deepest feature map (n, channels, h/reduction, w/reduction)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        settings = model.config
        hierarchical = hasattr(settings, "depths")
        self.reduction = _hierarchical_reduction(settings) if hierarchical else int(settings.patch_size)
        self.channels = int(settings.hidden_sizes[-1] if hierarchical else settings.hidden_size)
        # Plain transformers know one picture size; their position codes are interpolated to any other.
        takes_size = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        self._options = {"interpolate_pos_encoding": True} if takes_size else {}

    def forward(self, crops: Tensor) -> Tensor:
        """See the class."""
        output = self.model(crops, **self._options)
        if hasattr(output, "feature_maps"):
            maps: Tensor = output.feature_maps[-1]
            return maps
        h, w = crops.shape[2] // self.reduction, crops.shape[3] // self.reduction
        patches: Tensor = output.last_hidden_state[:, -h * w :]  # class and register tokens come first
        return patches.transpose(1, 2).reshape(len(crops), self.channels, h, w)


def load_backbone(kind: str, pretrained: str | None, config: dict[str, Any]) -> DeepestMap:
    """The backbone of a model type with fresh weights, or the ``pretrained`` one."""
    from transformers import MODEL_FOR_BACKBONE_MAPPING, AutoBackbone, AutoConfig, AutoModel

    model_class: Any
    try:
        settings = from_hub(AutoConfig, pretrained) if pretrained else AutoConfig.for_model(kind, **config)
        has_stages = hasattr(settings, "stage_names")
        if has_stages:
            settings.out_features = [settings.stage_names[-1]]
        model_class = AutoBackbone if has_stages else AutoModel
        if pretrained:
            # AutoBackbone asks the hub about every name, also for a folder or a name that is in the cache.
            concrete = MODEL_FOR_BACKBONE_MAPPING[type(settings)] if has_stages else AutoModel
            return DeepestMap(from_hub(concrete, pretrained, config=settings))
        # The pooling layer of plain transformers would never receive a gradient.
        return DeepestMap(model_class.from_config(settings, **({} if has_stages else {"add_pooling_layer": False})))
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise ModelError(
            f"network backbone: {pretrained or kind!r} with {config} is no backbone of the transformers library ({error}); "
            "expected for example 'resnet', 'vit', 'convnextv2' or 'dinov2'"
        ) from error


def from_hub(model_class: Any, name: str, **options: Any) -> Any:
    """``model_class.from_pretrained`` restricted to safetensors.  Raises BadInputError with the way out when it fails."""
    from transformers import AutoConfig

    try:
        if model_class is not AutoConfig:
            options["use_safetensors"] = True  # a pickled file is never opened
        return model_class.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"weights {name!r} cannot be had: {first}. Connect this machine to the internet once, or copy a downloaded folder "
            "(config.json and model.safetensors) here and give its path, or set HF_HOME to a cache that holds them, "
            "or start from random weights by leaving the name out"
        ) from error


def _hierarchical_reduction(settings: Any) -> int:
    """Input pixels per pixel of the deepest map of a network with stages."""
    if settings.model_type == "resnet":
        first = 8 if settings.downsample_in_first_stage else 4
    else:
        first = int(settings.patch_size)
    return int(first * 2 ** (len(settings.depths) - 1))
