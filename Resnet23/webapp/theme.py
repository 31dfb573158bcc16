"""How the page looks: Gradio's plain theme in the colours of the report page, with the fonts of the system."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio

STYLE = Path(__file__).parent / "templates" / "page.css"
# Named one by one, because Gradio puts each name into quotes; the style sheet adds system-ui.
FONTS = ("Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "Liberation Sans", "Arial", "sans-serif")
MONOSPACE = ("SF Mono", "Consolas", "Liberation Mono", "monospace")


def page_theme() -> "gradio.themes.Base":
    """The theme; it loads no font from anywhere."""
    import gradio

    theme = gradio.themes.Base(primary_hue="blue", neutral_hue="gray", font=FONTS, font_mono=MONOSPACE)
    return theme.set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#16191d",
        body_text_color="#1b1f24",
        body_text_color_dark="#e8eaed",
        body_text_color_subdued="#5b6470",
        body_text_color_subdued_dark="#9aa4b2",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1f242a",
        background_fill_primary_dark="#1f242a",
        background_fill_secondary="#f6f7f9",
        background_fill_secondary_dark="#16191d",
        border_color_primary="#dfe3e8",
        border_color_primary_dark="#333a43",
        color_accent="var(--r23-accent)",
        table_even_background_fill="#f6f7f9",
        table_even_background_fill_dark="#16191d",
        table_odd_background_fill_dark="#1f242a",
        button_secondary_background_fill="#f6f7f9",
        button_secondary_background_fill_dark="#2c323a",
        button_secondary_border_color="#dfe3e8",
        button_secondary_border_color_dark="#4a5360",
        link_text_color="#0072b2",
        link_text_color_dark="#56b4e9",
    )
