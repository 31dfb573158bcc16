"""ResNet-10 to ResNet-34 for small images: the networks of Resnet23.modeling.model23, layer by layer.

A layer's name is that of the PyTorch module that it is equal to, so that weights find their place.
"""

from typing import TYPE_CHECKING

from Resnet23.keras_variant.library import import_keras
from Resnet23.keras_variant.parts import Options, classifier, image_input, normalization

if TYPE_CHECKING:
    import keras

# As in model23, which needs PyTorch.
BLOCKS_PER_STAGE: dict[str, tuple[int, int, int, int]] = {
    "resnet10": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet23": (3, 3, 3, 2),
    "resnet34": (3, 4, 6, 3),
}
EPSILON = 1e-5  # PyTorch's for BatchNorm; Keras has 1e-3
MOMENTUM = 0.9  # what PyTorch calls 0.1: the share of the old statistics rather than of the new
INNER_DROPOUT = 0.5  # of the final one: 0.1 inside the blocks with 0.2 before the classifier, as in the PyTorch recipe


def build_resnet(name: str, options: Options) -> "keras.Model":
    """The network of a row of BLOCKS_PER_STAGE: images (N, S, S, 3) from 0 to 255 -> logits (N, num_classes).

    Its stages have 1, 2, 4 and 8 times `width` channels. Inside its blocks whole channels are zeroed while training,
    half as often as features are before the classifier.
    """
    keras = import_keras()
    images = image_input(options)
    x = _convolve(normalization(options)(images), options.width, "conv1", "bn1")
    x = keras.layers.Activation("relu", name="relu")(x)
    for stage, blocks in enumerate(BLOCKS_PER_STAGE[name]):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            dropout = INNER_DROPOUT * options.dropout
            x = _block(x, options.width * 2**stage, stride, dropout, f"stages.{stage}.{block}")
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    for layer in classifier(options):
        x = layer(x)
    return keras.Model(images, x, name=name)


def _block(x: "keras.KerasTensor", channels: int, stride: int, dropout: float, name: str) -> "keras.KerasTensor":
    """Two 3x3 convolutions beside a shortcut: (N, H, W, C) -> (N, H / stride, W / stride, channels)."""
    layers = import_keras().layers
    shortcut = x
    if stride != 1 or x.shape[-1] != channels:
        shortcut = _convolve(x, channels, f"{name}.shortcut.0", f"{name}.shortcut.1", size=1, stride=stride)
    x = _convolve(x, channels, f"{name}.conv1", f"{name}.bn1", stride=stride)
    x = layers.Activation("relu", name=f"{name}.relu1")(x)
    x = layers.SpatialDropout2D(dropout, name=f"{name}.dropout")(x)
    x = _convolve(x, channels, f"{name}.conv2", f"{name}.bn2")
    x = layers.Add(name=f"{name}.add")([x, shortcut])
    return layers.Activation("relu", name=f"{name}.relu2")(x)


def _convolve(
    x: "keras.KerasTensor", channels: int, name: str, norm_name: str, size: int = 3, stride: int = 1
) -> "keras.KerasTensor":
    """A convolution without bias, padded as PyTorch does, and BatchNorm."""
    keras = import_keras()
    if is_padded := size > 1 and stride > 1:
        # At a stride of 2 padding="same" would add a row and a column at the end only, where PyTorch has all sides.
        x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}.padding")(x)
    convolution = keras.layers.Conv2D(
        channels,
        size,
        stride,
        padding="valid" if is_padded else "same",
        use_bias=False,
        # An initializer for each layer: used twice, it would give equal weights.
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=name,
    )
    return keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=norm_name)(convolution(x))
