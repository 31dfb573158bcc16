"""The model card, which is Markdown, as a part of the page."""

from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

SHIFT = 2  # of headings: the page's own title is h1, its sections are h2
LOWEST = 6
TABLE = '<div class="scroll" tabindex="0" role="region" aria-label="Table of the model card">'


class CardRenderer(RendererHTML):
    """HTML whose wide tables scroll, so that the page itself need not."""

    def table_open(self, tokens: Sequence[Token], index: int, *_: Any) -> str:
        """The box that scrolls, and the table."""
        return f"{TABLE}<table>\n"

    def table_close(self, tokens: Sequence[Token], index: int, *_: Any) -> str:
        """The end of both."""
        return "</table></div>\n"


def render_card(text: str | None) -> str | None:
    """The card as HTML that is safe to embed; None without a card.

    Whoever wrote it: tags in it are shown rather than obeyed, pictures, which would be loaded from elsewhere, become
    links, and no link runs a script.
    """
    if text is None:
        return None
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=CardRenderer).enable("table").disable("image")
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + SHIFT, LOWEST)}"
    return parser.renderer.render(tokens, parser.options, {})
