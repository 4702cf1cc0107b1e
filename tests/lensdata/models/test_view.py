"""What the models see: each library's own pixels, and how little the shared reduction before changes them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import skimage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalog import pixels
from lensdata import score
from lensdata.models.view import LONGEST, SHORT_SIDE, View

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
EVA = View(448, 448, True, "bicubic", MEAN, STD)
SIGLIP = View(384, 384, True, "bicubic", (0.5,) * 3, (0.5,) * 3)
CLIP = View(224, 224, False, "bicubic", MEAN, STD)


def photo(scale: float) -> np.ndarray:
    """A photograph with fine structure, enlarged so that the reductions have something to do."""
    with Image.open(f"{skimage.__path__[0]}/data/astronaut.png") as image:
        size = (round(image.width * scale), round(image.height * scale))
        return np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))


def torchvision(view: View, rgb: np.ndarray) -> np.ndarray:
    from torchvision import transforms as T

    modes = {"bilinear": T.InterpolationMode.BILINEAR, "bicubic": T.InterpolationMode.BICUBIC}
    size = (view.resize, view.resize) if view.squash else view.resize
    steps: Any = T.Compose([T.Resize(size, modes[view.resampling]), T.CenterCrop(view.crop)])
    return np.asarray(steps(Image.fromarray(rgb)))


@settings(deadline=None)  # the first call imports torchvision
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(8, 60), st.integers(0, 20), st.booleans(),
    st.sampled_from(["bilinear", "bicubic"]),
)  # fmt: skip
def test_pixels_are_torchvisions(
    height: int, width: int, crop: int, more: int, squash: bool, how: str
) -> None:
    if max(height, width) > LONGEST * min(height, width):
        height = width
    rgb = np.random.default_rng(height * 97 + width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    view = View(crop + more, crop, squash, how, MEAN, STD)
    np.testing.assert_array_equal(view(rgb), torchvision(view, rgb))


def test_a_line_does_not_fill_the_memory() -> None:
    for shape in ((1, 60000, 3), (60000, 2, 3)):
        assert CLIP(np.full(shape, 7, np.uint8)).shape == (224, 224, 3)


def test_the_batch_is_normalised_as_torchvision_does() -> None:
    import torch
    from torchvision import transforms as T

    rgb = photo(0.5)
    expected = T.Normalize(MEAN, STD)(T.ToTensor()(Image.fromarray(EVA(rgb))))
    found = EVA.batch([rgb, rgb], torch.device("cpu"), torch.float32)
    assert found.shape == (2, 3, 448, 448)
    torch.testing.assert_close(found[1], expected)


@pytest.mark.parametrize("view", [EVA, SIGLIP, CLIP], ids=["eva", "siglip", "clip"])
@pytest.mark.parametrize("form", ["png", "jpeg"])
@pytest.mark.parametrize("scale", [1.6, 2.9, 4.0])
def test_the_reduction_before_changes_little(view: View, form: str, scale: float) -> None:
    """From the file by our way (scaled decode, area to 512, the view) against the view of the full decode, in
    levels of 255: less than what re-saving the input as a JPEG of quality 90 does.
    """
    full, buffer = photo(scale), io.BytesIO()
    Image.fromarray(full).save(buffer, form, **({"quality": 95} if form == "jpeg" else {}))
    whole = pixels.decode(buffer.getvalue()).rgb
    ours = pixels.decode(buffer.getvalue(), side=max(384, view.needs)).rgb
    assert whole is not None and ours is not None
    assert min(ours.shape[:2]) >= SHORT_SIDE
    expected = view(whole).astype(float)
    difference = view(score._reduced(ours, SHORT_SIDE)) - expected
    again = io.BytesIO()
    Image.fromarray(view(whole)).save(again, "jpeg", quality=90)
    resaved = np.asarray(Image.open(again)) - expected
    print(
        f"{view.resize} {form} {scale}: mean |d| {np.abs(difference).mean():.2f}, re-saved {np.abs(resaved).mean():.2f}"
    )
    assert np.abs(difference).mean() < np.abs(resaved).mean()
    assert abs(difference.mean()) < 0.1
