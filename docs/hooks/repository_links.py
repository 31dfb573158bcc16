"""Makes links that work on GitHub work in the site too.

A page of docs/ may link to any file of the repository. In the site such a link leads to the page that shows the file,
if there is one; a picture comes along; of any other file the name is shown as code.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# What the site shows of the repository outside docs/: the file or folder, and the page.
PAGES = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "params.yaml": "reference/params.md",
    "pipelines/keras/params.yaml": "reference/keras-params.md",
    "presets": "reference/presets.md",
    "studies": "reference/studies.md",
    "docs": "index.md",
    "docs/README.md": "index.md",
}
# Pages that the site makes from files of the repository, whose links are seen from that file's folder.
ORIGINS = {"readme.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
PICTURES = (".png", ".jpg", ".svg")
CODE_BLOCK = re.compile(r"^( *)(```|~~~).*?^\1\2[ ]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Rewrite the links of a page outside its code blocks."""
    origin = ORIGINS.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    repository = Path(config.config_file_path).parent

    def rewritten(match: re.Match[str]) -> str:
        return rewrite(match, origin, page.file.src_uri, repository)

    pieces, end = [], 0
    for block in CODE_BLOCK.finditer(markdown):
        pieces += [LINK.sub(rewritten, markdown[end : block.start()]), block.group()]
        end = block.end()
    return "".join([*pieces, LINK.sub(rewritten, markdown[end:])])


def rewrite(link: re.Match[str], origin: str, page: str, repository: Path) -> str:
    """One link of the file `origin` as it has to be written on the page of the site."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link["target"]))
    if not (repository / target).exists():
        return link.group()  # a page that a hook makes, or a mistake: both are MkDocs's to judge
    shown = page_of(target)
    if shown is None:
        return as_code(link["text"])
    return f"{link['picture']}[{link['text']}]({relative(shown, page)}{link['anchor'] or ''})"


def page_of(target: str) -> str | None:
    """The page or picture of the site that shows a file of the repository; None where there is none."""
    if target in PAGES:
        return PAGES[target]
    folder, _, _ = target.partition("/")
    if folder == "docs":
        return target.removeprefix("docs/")
    if target.endswith(PICTURES):
        return target
    return f"{PAGES[folder]}#{Path(target).stem}" if folder in PAGES and target.endswith(".yaml") else None


def as_code(text: str) -> str:
    """The text of a link without a link, as code where it is not code already."""
    return text if "`" in text else f"`{text}`"


def relative(target: str, page: str) -> str:
    """The address of a page as another one has to write it."""
    return posixpath.relpath(target, posixpath.dirname(page) or ".")


def on_files(files: Files, config: Any) -> Files:
    """Bring the pictures along that pages show from outside docs/, such as the figures of the studies."""
    repository = Path(config.config_file_path).parent
    for file in list(files.documentation_pages()):
        origin = ORIGINS.get(file.src_uri, f"docs/{file.src_uri}")
        for link in LINK.finditer(file.content_string):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link["target"]))
            is_outside = not target.startswith(("docs/", "../"))
            if is_outside and target.endswith(PICTURES) and files.get_file_from_path(target) is None:
                files.append(File.generated(config, target, abs_src_path=str(repository / target)))
    return files
