"""What must hold on any page that the project makes, asked of the page in a browser: pass a Playwright page."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHECKS = (Path(__file__).parent / "page_checks.js").read_text(encoding="utf-8")
CHECK_NAMES = ("overflow", "contrast", "images", "controls", "headings", "ids")


def find_faults(page: "Page", *names: str) -> list[str]:
    """What is wrong on the page by the named checks, or all of CHECK_NAMES; a sentence each, none when all is well.

    - overflow: the page scrolls sideways, or an element that nothing clips or scrolls reaches past the window.
    - contrast: visible text under 4.5:1 against what is behind it, or 3:1 when it is large (24 px, or 18.66 px bold).
    - images: an image without the attribute alt, or one that did not load.
    - controls: a button, link, field or region that can be focused and has no name.
    - headings: no h1 or several, or a level left out on the way down.
    - ids: an id used twice, or a link within the page that leads nowhere.
    """
    return page.evaluate(f"(names) => {{ {CHECKS}; return findFaults(names); }}", list(names or CHECK_NAMES))
