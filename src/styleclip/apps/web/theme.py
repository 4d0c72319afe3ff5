"""How the page looks, and what gradio is told so that nothing leaves this machine.

Colours and fonts that gradio knows are here, the rest is static/page.css.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes import colors, sizes

STATIC = Path(__file__).parent / "static"


def static(name: str) -> str:
    """A file of the page."""
    return (STATIC / name).read_text(encoding="utf-8")


def theme() -> gr.themes.Base:
    """Fonts of the machine, one accent, soft edges."""
    sans = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans",
            "sans-serif")  # fmt: skip
    return gr.themes.Base(
        primary_hue=colors.teal, neutral_hue=colors.stone, radius_size=sizes.radius_lg,
        font=sans, font_mono=("ui-monospace", "DejaVu Sans Mono", "monospace"),
    ).set(
        body_background_fill="*neutral_50", body_background_fill_dark="*neutral_950",
        block_border_width="1px", block_shadow="none",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white", button_primary_text_color_dark="white",
        slider_color="*primary_700", slider_color_dark="*primary_400",
        color_accent="*primary_700", color_accent_soft="*primary_50",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px", button_large_text_weight="500", button_small_text_weight="500",
        block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_400",
        block_title_text_color="*neutral_800", block_title_text_color_dark="*neutral_100",
        block_title_text_weight="550",
        checkbox_label_background_fill="white", checkbox_label_background_fill_dark="*neutral_800",
        checkbox_label_border_color="*neutral_300", checkbox_label_border_width="1px",
        checkbox_label_border_color_dark="*neutral_600", checkbox_label_border_width_dark="1px",
        checkbox_border_color="*neutral_500", checkbox_border_color_dark="*neutral_400",
    )  # fmt: skip


def launch_options() -> dict[str, Any]:
    """What ``launch`` is told about looks and about what may leave the server: nothing."""
    return {
        "theme": theme(), "css": static("page.css"), "js": static("page.js"),
        "footer_links": ["api"], "run_history": False, "enable_monitoring": False,
        "ssr_mode": False, "pwa": False, "allowed_paths": [], "show_error": True, "share": False,
        "quiet": True, "inbrowser": False,
    }  # fmt: skip
