"""The documentation site: it builds without a warning, asks no other host, and shows all pages, presets, parameters."""

import functools
import http.server
import importlib.util
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from bs4 import BeautifulSoup, Tag
from small_project import REPOSITORY

from Resnet23.config import flatten, read_yaml

PARAMETER_FILES = {"reference/params.md": "params.yaml", "reference/keras-params.md": "pipelines/keras/params.yaml"}
PRESETS = sorted(file.stem for file in (REPOSITORY / "presets").glob("*.yaml"))
STUDIES = sorted(file.stem for file in (REPOSITORY / "studies").glob("*.yaml"))
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
NOT_LOADED = {"canonical", "next", "prev"}  # links that a browser does not follow by itself
# What the theme's scripts name in comments, or ask only on pages with a diagram or of a repository at GitHub or GitLab.
IN_THE_THEME = r"unpkg\.com/mermaid|api\.github\.com|gitlab\.com|clipboardjs\.com|resize-observer"


# ----------------------------------------------------------------------------------------------------------------------
# What the hooks write, without building the site.


@functools.cache
def hook(name: str) -> ModuleType:
    """A module beside the pages, which is no part of any package."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / f"docs/hooks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> Mapping[str, str]:
    return hook("parameter_pages").make_pages(REPOSITORY)


def leaves(values: Mapping) -> list[str]:
    """The dotted names of all values of a parameter file, those of the entries of a list below the list's name."""
    names = []
    for name, value in flatten(values).items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            names += [f"{name}.{key}" for key in flatten(value[0])]
        else:
            names.append(name)
    return names


@pytest.mark.parametrize("page", PARAMETER_FILES)
def test_the_reference_names_every_key_with_its_comment(page, reference):
    file = REPOSITORY / PARAMETER_FILES[page]
    names = leaves(read_yaml(file))
    assert len(names) > 20
    assert [name for name in names if f"{{ #{name} }}" not in reference[page]] == []
    beside = re.findall(r"^ *(?:- )?\w+:(?! *#).*?# (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert [text for text in beside if text[1:] not in reference[page]] == []


def test_the_reference_says_type_range_and_both_defaults(reference):
    text = reference["reference/params.md"]
    terms = dict(re.findall(r"\{ #(\S+) \}\n:   (.*?)(?=\n\[|\n## |\Z)", text, re.DOTALL))
    assert "whole number (8 to 1024) · default `32`" in terms["data.image_size"]
    assert "default `0.01` · in a preset that leaves it out `0.001`" in terms["train.learning_rate"]
    assert "number or null (above 0) · default `null`" in terms["train.phases.learning_rate"]
    assert "`none`, `random` or `alternating`" in terms["train.augment.flip"]
    assert "they ship with scikit-learn" in terms["data.dataset"], "a comment above the key belongs to it"
    assert "What the pipeline does" not in terms["seed"], "the comment at the head of the file does not"


def test_presets_and_studies_are_listed_with_cost_and_result():
    pages = hook("recipe_pages").make_pages(REPOSITORY)
    for name in PRESETS:
        text = pages["reference/presets.md"].partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert all(f"\n{fact}\n:   " in text for fact in ("Command", "Cost", "Expected")), name
        assert f'"presets/{name}.yaml"' in text
    for name in STUDIES:
        text = pages["reference/studies.md"].partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert "| `smoke` |" in text, name
        assert "Expected\n:   " in text, name


@pytest.mark.parametrize(
    ("origin", "page", "link", "expected"),
    [
        ("docs/tour.md", "tour.md", "[all](../params.yaml)", "[all](reference/params.md)"),
        ("docs/tour.md", "tour.md", "[it](../README.md#results)", "[it](readme.md#results)"),
        ("docs/tour.md", "tour.md", "[it](../Makefile)", "`it`"),
        ("docs/tour.md", "tour.md", "[`fit.py`](../Resnet23/modeling/fit.py)", "`fit.py`"),
        ("docs/tour.md", "tour.md", "[one](../presets/quick.yaml)", "[one](reference/presets.md#quick)"),
        ("docs/api/index.md", "api/index.md", "[t](../tour.md)", "[t](../tour.md)"),
        ("README.md", "readme.md", "[h](docs/heads.md#in-python)", "[h](heads.md#in-python)"),
        ("README.md", "readme.md", "![p](docs/images/x.png)", "![p](docs/images/x.png)"),
        ("README.md", "readme.md", "[l](LICENSE)", "`l`"),
        ("docs/tour.md", "tour.md", "[g](reference/params.md)", "[g](reference/params.md)"),
    ],
)
def test_links_out_of_the_pages_lead_somewhere(origin, page, link, expected):
    links = hook("repository_links")
    match = links.LINK.search(link)
    assert links.rewrite(match, origin, page, REPOSITORY) == expected


def test_every_page_is_in_the_navigation_and_in_the_list_for_github():
    pages = {path.relative_to(REPOSITORY / "docs").as_posix() for path in (REPOSITORY / "docs").rglob("*.md")}
    pages -= {"README.md"}
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    assert [page for page in sorted(pages) if f": {page}\n" not in navigation + "\n"] == []
    listed = (REPOSITORY / "docs/README.md").read_text(encoding="utf-8")
    assert [page for page in sorted(pages) if f"]({page})" not in listed] == []


# ----------------------------------------------------------------------------------------------------------------------
# The site itself.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning fails the build."""
    pytest.importorskip("material", reason="mkdocs-material comes with the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


def elements(site: Path, *names: str) -> Iterator[tuple[Path, Tag]]:
    """All elements of these names, with the page that they are on."""
    for page in site.rglob("*.html"):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        yield from ((page, element) for element in soup.find_all(names))


@pytest.mark.slow
def test_the_site_asks_no_other_host(site):
    for page, element in elements(site, *LOADED):
        address = element.get(LOADED[element.name]) or ""
        if not NOT_LOADED & set(element.get("rel") or ()):
            assert not re.match(r"(https?:)?//", address), f"{page}: {address}"
    for file in site.rglob("*.css"):
        loaded = re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)", file.read_text(encoding="utf-8"))
        assert not loaded, file
    for file in site.rglob("bundle*.js"):  # the theme's own; those beside it belong to the search
        addresses = re.findall(r"https?://[\w./@-]+\w", file.read_text(encoding="utf-8"))
        assert not [address for address in addresses if not re.search(IN_THE_THEME, address)], file
    pages = "".join(page.read_text(encoding="utf-8") for page in site.rglob("*.html"))
    assert not re.search(r'class="mermaid"|data-md-component="source"|fonts\.g|twemoji\.', pages)


@pytest.mark.slow
def test_every_link_inside_the_site_has_its_target(site):
    ids: dict[Path, set[str]] = {}
    for page, element in elements(site, "a", "img"):
        address = element.get("href") or element.get("src") or ""
        path, _, anchor = address.partition("#")
        if re.match(r"[a-z]+:", address) or page.name == "404.html":
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{page.name}: {address}"
        if anchor and target.suffix == ".html":
            if target not in ids:
                soup = BeautifulSoup(target.read_text(encoding="utf-8"), "html.parser")
                ids[target] = {each["id"] for each in soup.find_all(id=True)}
            assert anchor in ids[target], f"{page.name}: {address}"


@pytest.mark.slow
def test_the_pages_hold_what_was_generated(site):
    api = (site / "api/modeling.html").read_text(encoding="utf-8")
    assert all(f'id="Resnet23.modeling.{name}"' in api for name in ("zoo.create_model", "fit.fit", "model23.ResNet"))
    assert 'id="train.augment.cutout"' in (site / "reference/params.html").read_text(encoding="utf-8")
    assert (site / "reports/studies/learning-rate/small/response.png").is_file()
    assert not list(site.rglob("*.py"))


@pytest.mark.slow
def test_a_browser_finds_things_and_asks_nobody_else(site):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    sync_api = pytest.importorskip("playwright.sync_api")
    if chromium is None:
        pytest.skip("no Chromium here")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    asked: list[str] = []
    with sync_api.sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index.html", "studies.html", "api/modeling.html", "reference/params.html"):
            page.goto(address + name, wait_until="networkidle")
        page.locator("input.md-search__input").press_sequentially("label smoothing")
        page.locator(".md-search-result__item").first.wait_for(state="attached", timeout=60_000)
    server.shutdown()
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
