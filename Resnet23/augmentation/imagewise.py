"""What every change of a batch of images needs: numbers brought to their images, and some images changed, not all.

Numbers are drawn on the CPU and go to the images' device without waiting for it, so that a GPU is never kept idle.
"""

from collections.abc import Callable

from torch import Tensor


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """One value for each image, (N,), as (N, 1, 1, 1) on the images' device; numbers get the images' type as well."""
    dtype = images.dtype if values.is_floating_point() else values.dtype
    return values.to(images.device, dtype, non_blocking=True).view(-1, 1, 1, 1)


def change_some(images: Tensor, chosen: Tensor, change: Callable[..., Tensor], *amounts: Tensor) -> Tensor:
    """A copy of `images` (N, 3, H, W) in which those `chosen`, (N,) bool on the CPU, are `change(images, *amounts)`.

    The change sees the chosen images alone, with their rows of `amounts` (N, ...): it costs as much as there are.
    """
    changed = images.clone()
    change_some_(changed, chosen, change, *amounts)
    return changed


def change_some_(images: Tensor, chosen: Tensor, change: Callable[..., Tensor], *amounts: Tensor) -> None:
    """The same in place."""
    rows = chosen.nonzero().squeeze(1)
    if len(rows):
        there = rows.to(images.device, non_blocking=True)
        images[there] = change(images[there], *(amount[rows] for amount in amounts))
