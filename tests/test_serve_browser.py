"""The page that classifies images, in a real Chromium, used as a person would."""

import csv
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, open_page
from page_checks import find_faults
from served_page import served_page

from Resnet23.images import encode_png

pytestmark = pytest.mark.slow

# The parts of the page that are Gradio's have empty ids, which the check of ids counts.
CHECKS = ("overflow", "contrast", "images", "controls", "headings")
COPY = """bytes => navigator.clipboard.write(
    [new ClipboardItem({"image/png": new Blob([new Uint8Array(bytes)], {type: "image/png"})})]
)"""
SECONDS = 120_000  # milliseconds, for an answer on a busy machine


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with chdir(tmp_path_factory.mktemp("served")), served_page() as (found, _):
        yield found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three images, the last of noise, and a text file with the name of an image."""
    folder, generator = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number, spread in enumerate((20, 20, 256)):
        pixels = generator.integers(0, spread, (40, 30, 3), np.int64) + generator.integers(0, 257 - spread, 3)
        (folder / f"photo {number}.png").write_bytes(encode_png(pixels.clip(0, 255).astype(np.uint8)))
    (folder / "x.png").write_text("no image", encoding="utf-8")
    return [str(path) for path in sorted(folder.iterdir())]


def upload(page, files: str | list[str]) -> None:
    """Choose files in the tab that is open."""
    page.locator("[role=tabpanel]:visible input[type=file]").first.set_input_files(files)


def check_page(page, address: str) -> None:
    """What must hold whatever is on it: readable, within the window, without errors, nothing from elsewhere."""
    assert find_faults(page, *CHECKS) == []
    assert page.problems == []
    assert [url for url in page.requests if not url.startswith((address, f"blob:{address}"))] == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light"), (1200, "dark"), (390, "light")])
def test_a_photo_is_answered_and_a_text_is_not(width, scheme, browser, address, photos, tmp_path):
    with open_page(browser, width, scheme) as page:
        page.set_default_timeout(SECONDS)
        page.goto(address)
        page.wait_for_selector("text=the answer appears here")
        check_page(page, address)
        upload(page, photos[0])
        page.wait_for_selector(".r23-answer h2")
        assert page.locator(".r23-bars li").count() == 4
        page.wait_for_selector(".r23-evidence img")
        check_page(page, address)
        assert page.screenshot(path=tmp_path / "page.png", full_page=True)
        page.get_by_label("Remove Image").click()
        page.wait_for_selector("text=the answer appears here")
        assert page.locator(".r23-evidence").count() == 0
        upload(page, photos[-1])
        page.wait_for_selector("text=x.png: not an image; expected one of JPEG, PNG, WEBP, BMP, TIFF")


@pytest.mark.parametrize("width", [390, 1200])
def test_many_files_give_a_table_and_a_file(width, browser, address, photos, tmp_path):
    with open_page(browser, width, accept_downloads=True) as page:
        page.set_default_timeout(SECONDS)
        page.goto(address)
        page.get_by_role("tab", name="Many files").click()
        upload(page, photos)
        page.wait_for_selector("text=4 files, 1 could not be read")
        check_page(page, address)
        cells = [row.locator("td").all_inner_texts() for row in page.locator(".r23-scroll tbody tr").all()]
        with page.expect_download() as download:
            page.get_by_text("Download as CSV").click()
        path = tmp_path / "predictions.csv"
        download.value.save_as(path)
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["file"] for row in rows] == [cell[0] for cell in cells] == [Path(photo).name for photo in photos]
        assert rows[-1]["error"] == cells[-1][-1] != ""
        assert download.value.suggested_filename == "predictions.csv"


def test_a_picture_from_the_clipboard(browser, address, photos):
    with open_page(browser, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.set_default_timeout(SECONDS)
        page.goto(address)
        page.wait_for_selector("text=the answer appears here")
        page.evaluate(COPY, list(Path(photos[0]).read_bytes()))
        page.get_by_label("Paste from clipboard").click()
        page.wait_for_selector(".r23-answer h2")
        page.wait_for_selector(".r23-evidence img")
