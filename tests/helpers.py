"""What tests share besides fixtures: pictures, folders of them, scores without models."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image


def picture(seed: int, width: int = 520, height: int = 520) -> Image.Image:
    """A picture of coloured rectangles and noise, different for every seed."""
    rng = np.random.default_rng(seed)
    canvas = np.empty((height, width, 3), dtype=np.uint8)
    canvas[:] = rng.integers(40, 216, 3)
    for _ in range(12):
        x, y = rng.integers(0, width), rng.integers(0, height)
        canvas[y : y + rng.integers(20, height), x : x + rng.integers(20, width)] = rng.integers(0, 256, 3)
    noise = rng.integers(-12, 13, canvas.shape)
    return Image.fromarray(np.clip(canvas + noise, 0, 255).astype(np.uint8))


def fill(
    folder: Path, count: int, sizes: tuple[tuple[int, int], ...] = ((520, 520), (480, 640), (300, 300))
) -> Path:
    """Write `count` captioned pictures in several sizes to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        path = folder / f"picture-{n:04d}.{'jpg' if n % 2 else 'png'}"
        picture(n, *sizes[n % len(sizes)]).save(path)
        path.with_suffix(".txt").write_text(f"picture number {n}")
    return folder


def png(seed: int) -> bytes:
    """A small picture as the bytes of a PNG, different for every seed."""
    buffer = io.BytesIO()
    picture(seed, 40, 30).save(buffer, "PNG")
    return buffer.getvalue()


def make_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """Write a tar of the given names and contents."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def set_scores(catalog, **values: float) -> None:
    """Give every image of a catalog the same scores, through the statements that scoring uses."""
    ids = catalog.sql("SELECT image_id FROM images")["image_id"].to_list()
    commit_scores(catalog, dict.fromkeys(ids, values))


def commit_scores(catalog, rows: dict[int, dict], scorer: str = "test", tier: str = "test") -> dict[str, int]:
    """Commit one part of scores: see `scores_part`. Returns metric -> scorer id."""
    from lensdata import score

    part, ids = scores_part(catalog, rows, f"score-test-{catalog.version}", scorer, tier)
    catalog.commit_part("score", part, score.STAGE.commit, {"scorers": list(ids.values())})
    return ids


def scores_part(
    catalog, rows: dict[int, dict], name: str, scorer: str = "test", tier: str = "test"
) -> tuple[Path, dict[str, int]]:
    """Write one part of scores, image id -> metric -> value (a text: why it failed) or further columns of a part, as
    measured by a scorer of that name; returns its path and metric -> scorer id."""
    from catalog import metrics
    from catalog.store import parts
    from lensdata import score, scorers
    from lensdata.models import ScorerId

    measured = [metric for metric in metrics.names() if any(metric in row for row in rows.values())]
    ids = scorers.register(
        catalog, {metric: ScorerId(metric, scorer, "1", "none", tier) for metric in measured}
    )
    made = []
    for image_id, values in rows.items():
        row: dict[str, object] = {"image_id": image_id, "status": "ok"}
        for column, value in values.items():
            kind = "error" if isinstance(value, str) else "value"
            row[f"{kind}_{ids[column]}" if column in ids else column] = value
        made.append(row)
    schema = score.part_schema({number: metric for metric, number in ids.items()})
    frame = pl.DataFrame(made, schema=schema, orient="row")
    return parts.write(catalog.root, "score", name, frame), ids


GOOD = {"nsfw": 0.1, "aesthetic": 5.0, "watermark": 0.1, "clarity": 500.0, "entropy": 6.0, "luminance": 0.5}
