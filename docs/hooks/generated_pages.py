"""Adds the pages to the site that follow from other files of the repository, so that they cannot fall behind."""

from pathlib import Path
from typing import Any

import parameter_pages
import recipe_pages
from mkdocs.structure.files import File, Files

# Shown as they are.
COPIED = {"readme.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the reference pages and the texts at the top of the repository."""
    repository = Path(config.config_file_path).parent
    pages = {page: (repository / name).read_text(encoding="utf-8") for page, name in COPIED.items()}
    pages |= parameter_pages.make_pages(repository)
    pages |= recipe_pages.make_pages(repository)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files
