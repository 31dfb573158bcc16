"""The figure: what is drawn where, on which scale."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from Resnet23.figures.explanations import OPACITY, Explanation, Panel, explanations_finding, plot_explanations
from Resnet23.figures.theme import draw_picture

STRONG = np.array([[0.0, 4.0], [2.0, 0.0]])
IMAGE = np.full((3, 3, 3), 100, np.uint8)


def explanation(
    *maps: np.ndarray, title: str = "a $x$ and a name that is much too long for the width of its place"
) -> Explanation:
    panels = [Panel(f"for class number {number}: 50.0%", evidence) for number, evidence in enumerate(maps)]
    return Explanation(title, "00001.png", IMAGE, panels)


def overlays(figure: Figure) -> list[np.ndarray]:
    """The strengths of the colours over each grey image."""
    drawn = [axes.images for axes in figure.subfigs[0].subfigs[0].axes]
    return [np.asarray(images[1].get_array()) for images in drawn if len(images) > 1]


def test_the_maps_of_an_image_share_one_scale():
    figure = plot_explanations("finding", [explanation(STRONG, STRONG / 4)])
    strong, weak = overlays(figure)
    assert strong.max() == 1
    assert np.allclose(weak, strong / 4)
    image = figure.subfigs[0].subfigs[0].axes[1].images[1]
    assert np.allclose(image.get_alpha(), OPACITY * strong), "without evidence nothing covers the image"
    assert image.get_extent() == [-0.5, 2.5, 2.5, -0.5], "a map of another size covers the whole image"


def test_no_evidence_at_all_leaves_the_image():
    (nothing,) = overlays(plot_explanations("finding", [explanation(np.zeros((2, 2)))]))
    assert not nothing.any()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_images_is_drawn_in_both_themes(count, recwarn):
    shown = [explanation(STRONG, STRONG)] * count
    picture = draw_picture("explanations", lambda theme: plot_explanations("Finding", shown, theme), 50)
    assert picture.title == "Finding"
    assert picture.light.startswith(b"\x89PNG")
    assert picture.light != picture.dark
    assert not recwarn.list


def test_the_title_says_which_answers_are_shown():
    right = np.array([True, False, False, True])
    assert explanations_finding(right, 1).endswith("the 1 most confident of 2 mistakes on 4 test images")
    assert explanations_finding(right, 2).endswith("all 2 mistakes on 4 test images")
    assert explanations_finding(np.array([True]), 1) == (
        "None of 1 test image is wrong; what the network looked at in its 1 least certain answer"
    )
