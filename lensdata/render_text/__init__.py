"""Synthetic text images: text on sampled backgrounds, the exact text as caption (paper, "Pre-training
Data")."""

from lensdata.render_text.render import Summary, render

__all__ = ["Summary", "render"]
