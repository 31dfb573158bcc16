"""docs/keras.md: its tables are those of the code; neither TensorFlow nor Keras is needed."""

import re

import pytest

from Resnet23.keras_variant.architectures import ARCHITECTURES
from Resnet23.keras_variant.exporting.formats import FORMATS


@pytest.fixture
def guide(repository) -> str:
    return (repository / "docs" / "keras.md").read_text(encoding="utf-8")


def test_the_guide_lists_the_networks(guide):
    section = guide.split("## Networks")[1].split("\n### ")[0]
    listed = re.findall(r"^\| `(\w+)` \| [\d.]+ \| (\d+) \| ([\d.]+|-) \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    assert listed == [
        (name, str(row.image_size), str(row.accuracy or "-"), row.preparation, row.best_for)
        for name, row in ARCHITECTURES.items()
    ]


def test_the_guide_lists_the_formats(guide):
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| `([a-z0-9._]+)` \|", guide, re.MULTILINE)
    assert listed == [(name, row.file) for name, row in FORMATS.items()]
