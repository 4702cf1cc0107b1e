"""What `--models` says: `light`, `paper`, or a TOML or JSON file that names a model for each metric.

Nothing is looked up or loaded here. docs/paper-models.md has an example of the file.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.bytes import locate
from catalog.errors import BadInput, one_line

LIGHT, PAPER = "light", "paper"
MOST_BATCH = 128  # the images of a part: more never come together
DTYPES = ("auto", "float32", "bfloat16", "float16")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMON = ("device", "dtype", "batch")


@dataclass(frozen=True)
class Choice:
    """One metric's model: `light`, a hub id with a revision, or a folder (an absolute path, revision "").

    `head` is the aesthetic predictor's own small file, by path or URL. `batch` images go through at once.
    """

    model: str
    revision: str = ""
    head: str = ""
    device: str = "auto"
    dtype: str = "auto"
    batch: int = 32

    @property
    def folder(self) -> Path | None:
        """The local folder, if it is one."""
        return Path(self.model) if Path(self.model).is_absolute() else None


# Commits as other public projects pin them; where none was to be found, `main`, and the scorer's revision records
# the commit that it stood for.
PAPER_MODELS = {
    "nsfw": Choice("Freepik/nsfw_image_detector", "15b85477e4fd2000db76ae9aae0f89a72f95e2e3"),
    "aesthetic": Choice(
        "google/siglip-so400m-patch14-384",
        "9fdffc58afc957d1a03a25b10dba0329ab15c2a3",
        "https://github.com/discus0434/aesthetic-predictor-v2-5/raw/"
        "3125a9e1f275092432ffc336f2908eda812c373c/models/aesthetic_predictor_v2_5.pth",
    ),
    "watermark": Choice("prithivMLmods/Watermark-Detection-SigLIP2", "main"),
    "embedding": Choice("timm/vit_large_patch14_clip_224.openai", "18d0535469bb561bf468d76c1d73aa35156c922b"),
}
METRICS = tuple(PAPER_MODELS)


def choices(models: str) -> dict[str, Choice]:
    """The choice for every metric. Raises BadInput for what is neither a tier nor a readable file of choices."""
    if models in (LIGHT, PAPER):
        return {metric: _tier(models, metric) for metric in METRICS}
    path = Path(models)
    if not path.is_file():
        raise BadInput(f"--models is light, paper, or a TOML or JSON file; {models!r} is none of them")
    table = _parse(path)
    _known(path, "", table, (*METRICS, *_COMMON, "tier"))
    tier = table.pop("tier", LIGHT)
    if tier not in (LIGHT, PAPER):
        raise BadInput(f"{path}: tier is light or paper, not {tier!r}")
    common = {name: table[name] for name in _COMMON if name in table}
    _check(path, "", common)
    return {metric: _choice(path, metric, table.get(metric, tier), common) for metric in METRICS}


def _choice(path: Path, metric: str, given: Any, common: dict[str, Any]) -> Choice:
    options: Any = {"model": given} if isinstance(given, str) else given
    where = f"[{metric}] "
    if not isinstance(options, dict):
        raise BadInput(f"{path}: {metric} is a model's name or a table, not {given!r}")
    _known(
        path, where, options, ("model", "revision", *_COMMON, *(["head"] if metric == "aesthetic" else []))
    )
    _check(path, where, options)
    model = options.get("model", PAPER)
    if model == LIGHT:
        extra = sorted(options.keys() - {"model"})
        if extra:
            raise BadInput(f"{path}: {where}{extra[0]} means nothing to the light model")
        return _tier(LIGHT, metric)
    options = {**common, **options}
    if (shown := locate.without_login(options.get("head", ""))) != options.get("head", ""):
        raise BadInput(
            f"{path}: {where}head is a URL with a login ({shown}); fetch the file and name its path"
        )
    if options.get("head") and not options["head"].startswith(("https://", "http://")):
        options["head"] = str(_path(path, options["head"]))
    if model == PAPER:
        return replace(PAPER_MODELS[metric], **{k: v for k, v in options.items() if k != "model"})
    if model.startswith((".", "/", "~")):
        if "revision" in options:
            raise BadInput(f"{path}: {where}revision belongs to a hub id; {model} is a folder")
        options["model"] = str(_path(path, model))
    elif _HUB_ID.fullmatch(model):
        options.setdefault("revision", "main")
    else:
        raise BadInput(
            f"{path}: {where}model is light, paper, a hub id (OWNER/NAME) or a folder that begins "
            f"with /, ./, ../ or ~, not {model!r}"
        )
    options.setdefault("head", PAPER_MODELS[metric].head)
    return Choice(**options)


def _tier(tier: str, metric: str) -> Choice:
    return Choice(LIGHT) if tier == LIGHT else PAPER_MODELS[metric]


def _path(file: Path, text: str) -> Path:
    """A path in the file is relative to the file."""
    try:
        return (file.absolute().parent / Path(text).expanduser()).resolve()
    except (ValueError, RuntimeError):  # a NUL; no such user's home
        raise BadInput(f"{file}: {text!r} is no path") from None


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:  # what either parser raises is a ValueError
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise BadInput(f"{path} cannot be read as {kind}: {one_line(error)}") from None
    if not isinstance(table, dict):
        raise BadInput(f"{path}: expected a table of metrics")
    return table


def _known(path: Path, where: str, table: Iterable[str], names: tuple[str, ...]) -> None:
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1, 0)[0]
            raise BadInput(f"{path}: {where}there is no key {key!r}; did you mean {near!r}?")


def _check(path: Path, where: str, options: dict[str, Any]) -> None:
    for name in ("model", "revision", "head", "device", "dtype"):
        if name in options and not (isinstance(options[name], str) and options[name]):
            raise BadInput(f"{path}: {where}{name} is a text, not {options[name]!r}")
    if not _DEVICE.fullmatch(options.get("device", "auto")):
        raise BadInput(f"{path}: {where}device is auto, cpu, cuda or cuda:N, not {options['device']!r}")
    if options.get("dtype", "auto") not in DTYPES:
        raise BadInput(f"{path}: {where}dtype is {', '.join(DTYPES)}, not {options['dtype']!r}")
    batch = options.get("batch", 1)
    if type(batch) is not int or not 1 <= batch <= MOST_BATCH:
        raise BadInput(f"{path}: {where}batch is a number from 1 to {MOST_BATCH}, not {batch!r}")
