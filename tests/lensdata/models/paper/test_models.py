"""The paper's models: tiny random checkpoints through our loader against each library's own forward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from catalog.errors import BadInput
from lensdata.models.choice import Choice
from lensdata.models.paper.models import PaperModel, resolve
from tests.helpers import picture
from tests.lensdata.models import tiny

SIZES = ((520, 520), (97, 64), (24, 22), (300, 41), (41, 300))
METRICS = ("nsfw", "aesthetic", "watermark", "embedding")
MAKE = {"nsfw": tiny.eva, "aesthetic": tiny.siglip, "watermark": tiny.watermark, "embedding": tiny.clip}
WEIGHTS = {**dict.fromkeys(METRICS, "model.safetensors"), "embedding": "open_clip_model.safetensors"}


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [np.asarray(picture(n, *size)) for n, size in enumerate(SIZES)]


def choice(metric: str, folder: Path, **options: Any) -> Choice:
    head = str(folder / "head.pth") if metric == "aesthetic" else ""
    return Choice(str(folder), head=head, **{"device": "cpu", "dtype": "float32", "batch": 2, **options})


def ours(metric: str, folder: Path, images: list[np.ndarray], **options: Any) -> np.ndarray:
    return PaperModel(resolve(metric, choice(metric, folder, **options))).run(images)


def theirs(metric: str, folder: Path, images: list[np.ndarray]) -> np.ndarray:
    """Scores through the libraries' own loaders, transforms and forward passes."""
    pictures = [Image.fromarray(rgb) for rgb in images]
    with torch.inference_mode():
        if metric == "nsfw":
            return _their_nsfw(folder, pictures)
        if metric == "embedding":
            import open_clip

            model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
            pixels = torch.stack([transform(p) for p in pictures])  # type: ignore[operator]
            return model.eval().encode_image(pixels, normalize=True).numpy()
        from transformers import SiglipForImageClassification, SiglipVisionModel
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        pixels = SiglipImageProcessorPil.from_pretrained(folder)(pictures, return_tensors="pt")[
            "pixel_values"
        ]
        if metric == "watermark":
            logits = SiglipForImageClassification.from_pretrained(folder)(pixel_values=pixels).logits
            return logits.softmax(1)[:, 1].numpy()
        pooled = SiglipVisionModel.from_pretrained(folder)(pixel_values=pixels).pooler_output
        head = torch.nn.Sequential(
            torch.nn.Linear(32, 1024), torch.nn.Dropout(0.5), torch.nn.Linear(1024, 128), torch.nn.Dropout(0.5),
            torch.nn.Linear(128, 64), torch.nn.Dropout(0.5), torch.nn.Linear(64, 16), torch.nn.Dropout(0.2),
            torch.nn.Linear(16, 1),
        ).eval()  # fmt: skip
        state = torch.load(folder / "head.pth", weights_only=True)
        head.load_state_dict({name.removeprefix("scoring_head."): value for name, value in state.items()})
        return head(pooled / pooled.norm(dim=-1, keepdim=True)).squeeze(1).numpy()


def _their_nsfw(folder: Path, pictures: list[Image.Image]) -> np.ndarray:
    from timm.data import create_transform, resolve_data_config
    from transformers import TimmWrapperForImageClassification

    model = TimmWrapperForImageClassification.from_pretrained(folder).eval()
    cfg = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    transform: Any = create_transform(**resolve_data_config(cfg))
    chances = model(torch.stack([transform(p) for p in pictures])).logits.softmax(1)
    return (chances[:, 2] + chances[:, 3]).numpy()


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_the_librarys_own(tmp_path: Path, metric: str, images: list[np.ndarray]) -> None:
    MAKE[metric](tmp_path)
    expected = theirs(metric, tmp_path, images)
    found = ours(metric, tmp_path, images)
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-5)
    assert np.ptp(found, axis=0).max() > 1e-3, "the pictures must not all score alike"


@pytest.mark.parametrize("metric", METRICS)
def test_bfloat16_is_near_float32_and_the_batch_changes_nothing(
    tmp_path: Path, metric: str, images: list[np.ndarray]
) -> None:
    MAKE[metric](tmp_path)
    exact = ours(metric, tmp_path, images)
    rough = ours(metric, tmp_path, images, dtype="bfloat16")
    assert rough.dtype == np.float32
    np.testing.assert_allclose(rough, exact, atol=0.03)
    assert not np.array_equal(rough, exact), "bfloat16 was asked for and must have been used"
    np.testing.assert_allclose(ours(metric, tmp_path, images, batch=128), exact, atol=1e-5)
    empty = ours(metric, tmp_path, [])
    assert empty.shape == (0, *exact.shape[1:])


def test_embeddings_have_unit_length(tmp_path: Path, images: list[np.ndarray]) -> None:
    tiny.clip(tmp_path)
    for dtype in ("float32", "bfloat16"):
        lengths = np.linalg.norm(ours("embedding", tmp_path, images, dtype=dtype), axis=1)
        np.testing.assert_allclose(lengths, 1, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "timm_model."])
def test_eva_with_or_without_the_wrappers_prefix(
    tmp_path: Path, prefix: str, images: list[np.ndarray]
) -> None:
    tiny.eva(tmp_path, prefix=prefix)
    np.testing.assert_allclose(ours("nsfw", tmp_path, images), theirs("nsfw", tmp_path, images), atol=2e-5)


def test_classes_are_found_by_name_in_any_order(tmp_path: Path, images: list[np.ndarray]) -> None:
    tiny.eva(tmp_path / "a")
    tiny.eva(tmp_path / "b", labels=["high", "neutral", "medium", "low"])
    tiny.watermark(tmp_path / "c")
    tiny.watermark(tmp_path / "d", labels=("watermark", "no_watermark"))
    plain, moved = (ours("nsfw", tmp_path / x, images) for x in "ab")
    assert np.abs(plain - moved).max() > 1e-3
    there, swapped = (ours("watermark", tmp_path / x, images) for x in "cd")
    np.testing.assert_allclose(there, 1 - swapped, atol=1e-5)


def test_unnamed_classes_are_taken_in_the_cards_order_and_that_is_said(
    tmp_path: Path, images: list[np.ndarray]
) -> None:
    tiny.eva(tmp_path / "a")
    tiny.eva(tmp_path / "b", labels=None, pretrained_cfg={"input_size": [3, tiny.SIDE, tiny.SIDE]})
    named, unnamed = (ours("nsfw", tmp_path / x, images) for x in "ab")
    np.testing.assert_array_equal(named, unnamed)
    found = [resolve("nsfw", choice("nsfw", tmp_path / x)).identity.preprocessing for x in "ab"]
    assert found[0] != found[1] and "neutral low medium high" in found[1]
    assert all("P(medium) + P(high)" in text for text in found)


def test_a_tower_alone_will_do_for_the_aesthetic_predictor(tmp_path: Path, images: list[np.ndarray]) -> None:
    tiny.siglip(tmp_path, whole=False)
    np.testing.assert_allclose(
        ours("aesthetic", tmp_path, images), theirs("aesthetic", tmp_path, images), atol=2e-5
    )


def _one(state: dict[str, Any]) -> str:
    """The name of a normalisation of the image tower."""
    image = [name for name in sorted(state) if "text" not in name]
    return next(name for name in image if name.endswith(("norm1.weight", "visual.ln_pre.weight")))


def _lose(state: dict[str, Any]) -> None:
    del state[_one(state)]


def _gain(state: dict[str, Any]) -> None:
    state[_one(state) + ".more"] = torch.zeros(1)


def _bend(state: dict[str, Any]) -> None:
    state[_one(state)] = torch.zeros(3)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("change", "words"),
    [(_lose, "is missing"), (_gain, "unexpected tensor"), (_bend, "has shape (3,), expected")],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, metric: str, change: Any, words: str, images: list[np.ndarray]
) -> None:
    MAKE[metric](tmp_path)
    tiny.edit(tmp_path / WEIGHTS[metric], change)
    with pytest.raises(BadInput) as caught:
        ours(metric, tmp_path, images)
    text = str(caught.value)
    assert words in text and WEIGHTS[metric] in text and "\n" not in text
    assert "norm1.weight" in text or "ln_pre.weight" in text


def test_many_faults_stay_one_line(tmp_path: Path, images: list[np.ndarray]) -> None:
    tiny.watermark(tmp_path)
    tiny.edit(tmp_path / "model.safetensors", lambda state: [state.pop(name) for name in list(state)[1:]])
    with pytest.raises(BadInput, match=r"tensors .*, .*, .* and \d+ more are missing"):
        ours("watermark", tmp_path, images)


def test_the_head_is_read_as_strictly(tmp_path: Path, images: list[np.ndarray]) -> None:
    tiny.siglip(tmp_path)
    state = torch.load(tmp_path / "head.pth", weights_only=True)
    for wrong, words in (
        (
            {k: v for k, v in state.items() if k != "scoring_head.4.bias"},
            r"tensor scoring_head\.4\.bias is missing",
        ),
        ({**state, "scoring_head.1.weight": torch.zeros(1)}, r"unexpected tensor scoring_head\.1\.weight"),
        (
            {**state, "scoring_head.0.weight": torch.zeros(1024, 16)},
            r"scoring_head\.0\.weight has shape \(1024, 16\)",
        ),
    ):
        torch.save(wrong, tmp_path / "head.pth")
        with pytest.raises(BadInput, match=words):
            ours("aesthetic", tmp_path, images)


def test_a_pickle_is_not_run(tmp_path: Path, images: list[np.ndarray]) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    tiny.siglip(tmp_path)
    torch.save({"scoring_head.0.weight": Trap()}, tmp_path / "head.pth")
    with pytest.raises(BadInput, match="cannot be read as a checkpoint") as caught:
        ours("aesthetic", tmp_path, images)
    assert "weights_only" not in str(caught.value), "torch's own text recommends to run it"
    assert not (tmp_path / "sprung").exists()
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(BadInput, match="cannot be read as a checkpoint"):
        ours("aesthetic", tmp_path, images)


def test_other_models_are_refused_by_what_they_are(tmp_path: Path) -> None:
    for metric, make in MAKE.items():
        make(tmp_path / metric)

    def refused(metric: str, folder: str, words: str) -> None:
        with pytest.raises(BadInput, match=words):
            resolve(metric, Choice(str(tmp_path / folder), head=str(tmp_path / "aesthetic" / "head.pth")))

    refused("nsfw", "watermark", "SiglipForImageClassification, not one of timm's EVA models")
    refused("watermark", "aesthetic", "SiglipModel, not SiglipForImageClassification")
    refused("aesthetic", "nsfw", "has no preprocessor_config.json")
    refused("embedding", "nsfw", "has no open_clip_config.json")
    refused("embedding", "nowhere", "there is no folder")
    (tmp_path / "nsfw" / "model.safetensors").unlink()
    refused("nsfw", "nsfw", r"has no weights: model\.safetensors or pytorch_model\.bin")
    (tmp_path / "aesthetic" / "head.pth").unlink()
    refused("aesthetic", "aesthetic", "there is no file .*head.pth")


@pytest.mark.parametrize(
    ("metric", "labels", "words"),
    [
        ("nsfw", ["neutral", "low", "medium", "extreme"], "neutral, low, medium, extreme, not neutral"),
        ("nsfw", ["safe", "unsafe"], "safe, unsafe, not neutral"),
        ("watermark", ("LABEL_0", "LABEL_1"), "no names, not Watermark and No Watermark"),
        ("watermark", ("Watermark", "No Watermark", "Logo"), "not Watermark and No Watermark"),
    ],
)
def test_wrong_labels_are_refused(tmp_path: Path, metric: str, labels: Any, words: str) -> None:
    MAKE[metric](tmp_path, labels=labels)
    with pytest.raises(BadInput, match=words):
        resolve(metric, choice(metric, tmp_path))


def test_a_configuration_cannot_load_something_else(tmp_path: Path) -> None:
    tiny.eva(tmp_path / "a", model_args={"checkpoint_path": "/elsewhere.pth"})
    with pytest.raises(BadInput, match="model_args may not set checkpoint_path"):
        resolve("nsfw", choice("nsfw", tmp_path / "a"))
    tiny.clip(tmp_path / "b", custom_text=True)
    with pytest.raises(BadInput, match=r"no plain CLIP vision transformer \(custom_text\)"):
        resolve("embedding", choice("embedding", tmp_path / "b"))
    tiny.eva(tmp_path / "c", model_args={"depth": "two"})
    with pytest.raises(BadInput, match="cannot be built"):
        PaperModel(resolve("nsfw", choice("nsfw", tmp_path / "c")))


def test_revisions_follow_weights_and_configuration(tmp_path: Path) -> None:
    tiny.clip(tmp_path / "a")
    tiny.clip(tmp_path / "b")
    first, same = (resolve("embedding", choice("embedding", tmp_path / x)).identity for x in "ab")
    assert first == same, "a copy elsewhere is the same model"
    tiny.edit(tmp_path / "b" / "open_clip_model.safetensors", lambda state: state["visual.proj"].add_(1))
    assert resolve("embedding", choice("embedding", tmp_path / "b")).identity.revision != first.revision
    tiny.clip(tmp_path / "c", mode="squash")
    squashed = resolve("embedding", choice("embedding", tmp_path / "c")).identity
    assert squashed.revision != first.revision
    assert "squash" in squashed.preprocessing and "short side 28" in first.preprocessing
    assert (first.tier, len(first.revision)) == ("custom", 12)


def test_the_head_is_part_of_the_revision(tmp_path: Path) -> None:
    tiny.siglip(tmp_path)
    before = resolve("aesthetic", choice("aesthetic", tmp_path)).identity
    state = torch.load(tmp_path / "head.pth", weights_only=True)
    state["scoring_head.8.bias"] += 1
    torch.save(state, tmp_path / "head.pth")
    after = resolve("aesthetic", choice("aesthetic", tmp_path)).identity
    assert before.revision != after.revision
    assert before.revision.split("-")[0] == after.revision.split("-")[0]


def test_one_picture_that_is_not_finite_spoils_no_other(tmp_path: Path, images: list[np.ndarray]) -> None:
    tiny.watermark(tmp_path)
    model = PaperModel(resolve("watermark", choice("watermark", tmp_path)))
    expected = model.run(images)
    network = model._network._model.forward

    def forward(pixel_values: torch.Tensor) -> Any:
        found = network(pixel_values=pixel_values)
        found.logits[-1] = float("nan")  # of the last of each batch
        return found

    model._network._model.forward = forward
    values = model.run(images)
    kept = np.isfinite(values)
    assert (~kept).sum() == -(-len(images) // model._batch) < len(images)
    np.testing.assert_array_equal(values[kept], expected[kept])


@pytest.mark.parametrize(
    ("metric", "file", "change", "words"),
    [
        ("nsfw", "config.json", {"model_args": [1]}, "config.json is not as such a model's"),
        ("nsfw", "config.json", {"label_names": None, "id2label": ["a"]}, "config.json is not as such a model's"),
        ("nsfw", "config.json", {"pretrained_cfg": {"std": [0, 0, 0]}}, "std"),
        ("nsfw", "config.json", {"pretrained_cfg": {"mean": ["a", "b", "c"]}}, "pretrained_cfg is incomplete"),
        ("nsfw", "config.json", {"pretrained_cfg": {"input_size": [3, 10**6, 10**6]}}, "an input of 1000000"),
        ("watermark", "config.json", {"architectures": 5}, "is not as such a model's"),
        ("watermark", "config.json", {"id2label": {"0": "Watermark", "1": "No Watermark", "2": "watermark"}},
         "not Watermark and No Watermark"),
        ("aesthetic", "preprocessor_config.json", {"rescale_factor": "x"}, "is not as such a model's"),
        ("aesthetic", "preprocessor_config.json", {"image_std": [0.5]}, "preprocessor_config.json"),
        ("embedding", "open_clip_config.json", {"preprocess_cfg": {"size": "28"}}, "preprocess_cfg is incomplete"),
        ("embedding", "open_clip_config.json", {"model_cfg": {"embed_dim": 1, "vision_cfg": None}}, "such a model's"),
    ],
)  # fmt: skip
def test_odd_configurations_are_one_line(
    tmp_path: Path, metric: str, file: str, change: dict[str, Any], words: str
) -> None:
    MAKE[metric](tmp_path)
    config = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(config | change))
    with pytest.raises(BadInput, match=words) as caught:
        resolve(metric, choice(metric, tmp_path))
    assert "\n" not in str(caught.value) and file in str(caught.value)


def test_what_is_not_finite_is_nan(tmp_path: Path, images: list[np.ndarray]) -> None:
    tiny.watermark(tmp_path)
    tiny.edit(tmp_path / "model.safetensors", lambda state: state["classifier.bias"].fill_(float("inf")))
    assert np.isnan(ours("watermark", tmp_path, images)).all()


def test_a_card_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    tiny.clip(tmp_path)
    for device in ("cuda", "cuda:1"):
        with pytest.raises(BadInput, match=f"device is {device}, but torch finds"):
            PaperModel(resolve("embedding", choice("embedding", tmp_path, device=device)))
