"""What a browser or a client sends: files in a temporary folder, handed on as they are, for our own code to decode."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from Resnet23.webapp.answers import Upload

if TYPE_CHECKING:
    from gradio.components import Component

MOST_FILES = 1000  # at once

Sent = dict[str, Any]  # what Gradio calls file data: a path in the temporary folder, a name, and more


def read_upload(sent: Sent, folder: Path) -> Upload:
    """The file that was sent, which is in `folder`.

    Raises Gradio's error for anything else: a file that lies on this machine anyway, or pixels in a data: URL.
    """
    path = sent.get("path") if isinstance(sent, dict) else None
    if not path or not Path(path).resolve().is_relative_to(folder.resolve()):
        raise refusal("found no upload; expected an image file that is sent along")
    name = Path(sent.get("orig_name") or path).name
    return Upload(Path(path), name.encode("utf-8", "backslashreplace").decode())


def read_uploads(sent: list[Sent], folder: Path) -> list[Upload]:
    """The files that were sent, all of them in `folder`. Raises Gradio's error for none or too many."""
    if not isinstance(sent, list) or not 0 < len(sent) <= MOST_FILES:
        found = f"{len(sent):,} files" if isinstance(sent, list) else "no list of files"
        raise refusal(f"found {found}; expected 1 to {MOST_FILES:,} at once")
    return [read_upload(each, folder) for each in sent]


def accept_only_uploads(component: "Component") -> None:
    """Make a component refuse the addresses of images, which Gradio would fetch from wherever they are."""
    keep = component.async_move_resource_to_block_cache

    async def move(place: str | Path | None) -> str | None:
        if str(place).lower().startswith(("http:", "https:")):
            raise refusal("found an address; expected an image file that is sent along")
        return await keep(place)

    component.async_move_resource_to_block_cache = move


def refusal(line: str) -> Exception:
    """An error that Gradio shows on the page, or tells a client, without a traceback."""
    import gradio

    return gradio.Error(line, print_exception=False)
