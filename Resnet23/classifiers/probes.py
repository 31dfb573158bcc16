"""What each layer of a frozen encoder knows: a linear classifier, a "probe", on the features of every layer.

How often a probe is right says how far the classes are linearly separable there, so that the rows show where a network
does its work (Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from tqdm import tqdm

from Resnet23.classifiers.encoders import Encoder, place_encoder
from Resnet23.dataset import FeatureDataset, normalize, to_unit_range
from Resnet23.errors import InputError

FINAL_FEATURES = "final features"  # what the encoder gives; no module is called so
LIMIT = 5000  # training images
LOOKED_AT = 4  # images that the layers are found with
STRENGTHS = (0.01, 0.1, 1.0)  # the C of scikit-learn: the higher, the weaker the L2 penalty
MAX_STEPS = 1000  # of L-BFGS; some 10 to 200 are enough as a rule


@dataclass(frozen=True)
class LayerProbe:
    """How well a linear classifier does on the features of one layer.

    `layer` is the path of its module in the network, or "final features" for what the encoder gives; `accuracy` is the
    share of right answers on the test images, from 0 to 1.
    """

    layer: str
    features: int
    accuracy: float


class Layer(NamedTuple):
    """A module, by its path in the network, and the shape of what it gives for an image.

    That is (C, H, W) for a map, (T, F) for a sequence and (F,) for the final features. A module that is used in several
    places may be several layers.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def features(self) -> int:
        """How many there are after averaging over space or over the sequence."""
        return self.shape[1] if len(self.shape) == 2 else self.shape[0]


def probe_layers(
    encoder: Encoder,
    train: FeatureDataset,
    val: FeatureDataset,
    test: FeatureDataset,
    device: torch.device | str,
    batch_size: int,
    limit: int = LIMIT,
) -> list[LayerProbe]:
    """A probe of each of the `find_layers`, in the order in which they compute.

    A probe is multinomial logistic regression on standardised features of training images. Its penalty is the one of
    `STRENGTHS` that does best on the validation images, the middle one where there are none. Of more than `limit`
    training images that many are used, at equal distances. Nothing is drawn at random: the same images give the same
    rows.

    Raises InputError when there is nothing to train or test on, the labels are not one class for each image, or
    features are not finite.
    """
    parts = (train, _spread(len(train), limit)), (val, np.arange(len(val))), (test, np.arange(len(test)))
    labels = [data.targets[positions] for data, positions in parts]
    _require_labels(labels[0], labels[2])
    encoder, device = place_encoder(encoder, device)
    layers = find_layers(encoder, _inputs(train, _spread(len(train), LOOKED_AT), device))
    features = [_encode(encoder, layers, *part, device, batch_size) for part in parts]
    probes = []
    for index, layer in enumerate(tqdm(layers, desc="probe", unit="layer", leave=False, disable=None)):
        of_layer = [part[index] for part in features]
        if not all(np.isfinite(rows).all() for rows in of_layer):
            raise InputError(f"the encoder {encoder.name}: the features of {layer.name} are not finite numbers")
        probes.append(LayerProbe(layer.name, layer.features, _accuracy(of_layer, labels)))
    return probes


def find_layers(encoder: Encoder, images: Tensor) -> list[Layer]:
    """The layers of an encoder that are worth a probe, in the order in which they compute; at the end what it gives.

    In a network of sequences (N, T, F) these are the members of its outermost list of modules, the transformer layers.
    In any other it is, for each shape of a square map (N, C, S, S), the last module that gives it: stem and stages.
    What is inside of a block is passed over, and so is a layer whose features the next layer repeats.
    """
    modules = dict(encoder.backbone.named_modules())
    outputs = _run(encoder, images, [name for name in modules if name])
    *inner, final = outputs
    outside = [layer for layer in inner if not _is_inside_block(layer, inner, modules)]
    chosen = _transformer_layers(outside, modules) or _last_of_each_shape(outside)
    repeated = {first for first, second in pairwise([*chosen, final]) if _are_equal(outputs[first], outputs[second])}
    return [layer for layer in [*chosen, final] if layer not in repeated]


@torch.no_grad()
def _run(encoder: Encoder, images: Tensor, names: Iterable[str]) -> dict[Layer, Tensor]:
    """Features (N, F) of what these modules give for images, in the order in which they compute, then the encoder's.

    Of a module that is used repeatedly with the same shape the last time counts.
    """
    found: dict[Layer, Tensor] = {}

    def keep(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        output = output[0] if isinstance(output, tuple | list) and output else output
        if isinstance(output, Tensor) and _is_of_images(output, len(images)):
            layer = Layer(name, tuple(output.shape[1:]))
            found.pop(layer, None)  # it comes at the end again
            found[layer] = output.mean(dim=(2, 3) if output.ndim == 4 else 1).float().cpu()

    with ExitStack() as hooks:
        for name in names:
            module = encoder.backbone.get_submodule(name)
            hooks.enter_context(module.register_forward_hook(partial(keep, name)))
        final = encoder(images).cpu()
    return found | {Layer(FINAL_FEATURES, tuple(final.shape[1:])): final}


def _is_of_images(output: Tensor, count: int) -> bool:
    """Whether it is a sequence or a square map for each image; in a map of another form the channels come last."""
    is_map = output.ndim == 4 and output.shape[2] == output.shape[3]
    return (is_map or output.ndim == 3) and output.shape[0] == count


def _is_inside_block(layer: Layer, layers: list[Layer], modules: dict[str, nn.Module]) -> bool:
    """Whether a block around it gives another shape, as a residual block does."""
    return any(
        layer.name.startswith(f"{other.name}.") and layer.shape != other.shape and _is_block(modules[other.name])
        for other in layers
    )


def _is_block(module: nn.Module) -> bool:
    """Whether it is neither a mere chain of modules nor the beginning of a network, which takes images."""
    first = next((weights for weights in module.parameters() if weights.ndim == 4), None)
    takes_images = first is not None and first.shape[1] == 3
    return not takes_images and not isinstance(module, nn.Sequential)


def _transformer_layers(layers: list[Layer], modules: dict[str, nn.Module]) -> list[Layer]:
    """The members of the outermost list of modules that give sequences, of the longest if there are several."""
    members = defaultdict(list)
    for layer in layers:
        parent = layer.name.rpartition(".")[0]
        if len(layer.shape) == 2 and isinstance(modules[parent], nn.ModuleList | nn.Sequential):
            members[parent].append(layer)
    lists = [parent for parent in members if len(members[parent]) > 1]
    if not lists:
        return []
    return members[min(lists, key=lambda parent: (parent.count("."), -len(members[parent])))]


def _last_of_each_shape(layers: list[Layer]) -> list[Layer]:
    """The last layer of each shape of a map, in the order of the layers."""
    last = {layer.shape: layer for layer in layers if len(layer.shape) == 3}
    return [layer for layer in layers if last.get(layer.shape) == layer]


def _are_equal(features: Tensor, others: Tensor) -> bool:
    """Whether they are the same but for rounding."""
    return features.shape == others.shape and torch.allclose(features, others, rtol=1e-4, atol=1e-6)


def _encode(
    encoder: Encoder,
    layers: list[Layer],
    data: FeatureDataset,
    positions: np.ndarray,
    device: torch.device,
    batch_size: int,
) -> list[np.ndarray]:
    """Features (N, F) float32 of all layers for the images at `positions`, in one pass of the images."""
    features = [np.empty((len(positions), layer.features), np.float32) for layer in layers]
    names = {layer.name for layer in layers[:-1]}
    starts = range(0, len(positions), batch_size)
    for start in tqdm(starts, desc="encode", unit="batch", leave=False, disable=None):
        batch = slice(start, start + batch_size)
        outputs = _run(encoder, _inputs(data, positions[batch], device), names)
        for rows, layer in zip(features, layers, strict=True):
            rows[batch] = outputs[layer].numpy()
    return features


def _inputs(data: FeatureDataset, positions: np.ndarray, device: torch.device) -> Tensor:
    """Normalised images (B, 3, H, W) at these positions."""
    images, _ = data.raw_batch(positions)
    return normalize(to_unit_range(images.to(device)), data.mean, data.std)


def _spread(count: int, limit: int) -> np.ndarray:
    """Positions of at most `limit` of `count` images, at equal distances, so that all classes are among them."""
    return np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64)


def _accuracy(features: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """The share of right answers on test images of a classifier on features (N, F) of training images."""
    scaler = StandardScaler().fit(features[0])
    train, val, test = (scaler.transform(rows) if len(rows) else rows for rows in features)
    strengths = STRENGTHS if len(val) else STRENGTHS[1:2]
    classifier = LogisticRegression(max_iter=MAX_STEPS, warm_start=True)  # each fit starts from the one before
    scores = []
    for strength in strengths:
        classifier.set_params(C=strength).fit(train, labels[0])
        on_val = classifier.score(val, labels[1]) if len(val) else 0.0
        scores.append((on_val, classifier.score(test, labels[2])))
    return max(scores, key=lambda score: score[0])[1]


def _require_labels(train: np.ndarray, test: np.ndarray) -> None:
    """Raise InputError where a classifier cannot be fitted or tested."""
    if train.ndim != 1:
        raise InputError(f"probes need one class for each image, found labels of shape {train.shape}")
    if len(np.unique(train)) < 2 or not len(test):
        raise InputError(
            "probes need training images of at least two classes, and test images; "
            f"found training images: {len(train):,}, classes: {len(np.unique(train))}, test images: {len(test):,}"
        )
