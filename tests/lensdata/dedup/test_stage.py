"""The dedup command's stage: never stale, no image left out, damaged vectors computed again."""

from __future__ import annotations

import io
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

import catalog
from lensdata import filters
from lensdata.dedup import compare, dedup, gather, state
from lensdata.dedup.pictures import Pictures
from lensdata.ingest import ingest
from lensdata.score import score
from lensdata.vectors import save_vectors, thumbnail
from tests.conftest import ROOT
from tests.helpers import picture


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures; copies of the first by bytes, of the second by pixels, of the third by recompression; scored."""
    folder = tmp_path_factory.mktemp("dedup")
    images = folder / "images"
    images.mkdir()
    for n in range(3):
        picture(n).save(images / f"a{n}.png")
    shutil.copy(images / "a0.png", images / "bytes.png")
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "the same pixels, other bytes")
    picture(1).save(images / "pixels.png", pnginfo=note)
    picture(2).save(images / "recompressed.jpg", quality=80)
    opened = catalog.open(folder / "catalog")
    ingest(opened, [images], workers=1)
    score(opened, workers=1)
    return folder


@pytest.fixture
def scored(made: Path, tmp_path: Path) -> catalog.Catalog:
    """A copy of the catalog, over the shared pictures."""
    shutil.copytree(made / "catalog", tmp_path / "catalog")
    return catalog.open(tmp_path / "catalog")


def clusters(opened: catalog.Catalog) -> dict[str, tuple]:
    """name -> (its keeper's name, reason, members)."""
    names = {i: Path(uri).stem for i, uri in opened.sql("SELECT image_id, uri FROM images").rows()}
    rows = opened.sql("SELECT image_id, keeper_id, reason, members FROM clusters").rows()
    return {names[i]: (names[keeper], reason, members) for i, keeper, reason, members in rows}


def test_each_drop_says_why(scored: catalog.Catalog) -> None:
    found = dedup(scored, workers=1)
    assert found is not None
    result = clusters(scored)
    assert result["bytes"] == ("a0", "bytes", 2)
    assert result["pixels"] == ("a1", "pixels", 2)
    third = {"a2", "recompressed"}
    keeper = result["a2"][0]
    assert keeper in third
    assert result[keeper] == (keeper, None, 2)
    assert result[(third - {keeper}).pop()] == (keeper, "embedding", 2)
    assert (found.images, found.bytes, found.pixels, found.near, found.kept) == (6, 1, 1, 1, 3)
    assert not list((scored.root / "embeddings").rglob("*.tmp"))
    similarity = dict(scored.sql("SELECT reason, min(similarity) FROM clusters GROUP BY reason").rows())
    assert similarity["bytes"] == similarity["pixels"] == similarity[None] == 1
    assert 0.985 < similarity["embedding"] < 1


RANK = (
    "UPDATE measured SET {aesthetic} = 9 WHERE image_id = (SELECT max(image_id) FROM images)"  # another order
)
CHANGES = [
    RANK,
    "UPDATE images SET status = 'corrupt' WHERE image_id = 1",
    "DELETE FROM clusters WHERE image_id = 2",  # as an ingest does that finds other bytes
]


def change_by(opened: catalog.Catalog, statement: str) -> None:
    """Run a statement behind the catalog's back; `{aesthetic}` is the column of the scorer in use."""
    scorer = opened.sql("SELECT scorer_id FROM scorers WHERE metric = 'aesthetic' AND in_use").item()
    with opened._writing() as connection:
        connection.execute(statement.replace("{aesthetic}", f"value_{scorer}"))


def test_what_decides_it_is_what_starts_it_again(scored: catalog.Catalog) -> None:
    assert dedup(scored, workers=1) is not None
    assert dedup(scored, workers=1) is None
    assert dedup(scored, threshold=0.9, workers=1) is not None
    assert dedup(scored, threshold=0.9, workers=1) is None
    for change in CHANGES:
        change_by(scored, change)
        assert dedup(scored, threshold=0.9, workers=1) is not None, change
        assert dedup(scored, threshold=0.9, workers=1) is None, change


def test_an_image_without_a_vector_is_its_own_keeper(scored: catalog.Catalog) -> None:
    with scored._writing() as connection:
        connection.execute("UPDATE embeddings SET row = -1, error = 'not finite' WHERE image_id = 2")
    found = dedup(scored, workers=1)
    assert found is not None and found.images == 6
    assert scored.sql("SELECT keeper_id, reason FROM clusters WHERE image_id = 2").row(0) == (2, None)
    assert scored.sql("SELECT unmeasured FROM funnel WHERE rule = 'dedup'").item() == 0
    assert dedup(scored, workers=1) is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


def fewer_rows(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def zeros(path: Path) -> None:
    matrix = np.load(path)
    matrix[-1] = 0
    np.save(path, matrix)


def pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("harm", [cut, empty, remove, fewer_rows, zeros, pickled])
@pytest.mark.parametrize("suffix", [".npy", ".thumb.npy"])
def test_damage_is_seen(tmp_path: Path, harm, suffix: str) -> None:
    rows = [(np.full(4, n + 1), np.full((32, 32, 3), n, np.uint8)) for n in range(5)]
    for part in ("a", "b", "c"):
        save_vectors(tmp_path, part, rows)
    wanted = pl.DataFrame({"part": list("aaabbc"), "row": [0, 4, 2, 3, 4, 4]})
    last = wanted.group_by("part", maintain_order=True).agg(last_row=pl.col("row").max())
    assert gather.damaged(tmp_path, last) == fetched(tmp_path, wanted) == {}
    harm(tmp_path / f"b{suffix}")
    by_size = gather.damaged(tmp_path, last)
    found = fetched(tmp_path, wanted) | by_size
    if harm is zeros and suffix == ".thumb.npy":
        assert not found  # a black picture
    else:
        assert list(found) == ["b"]
        assert "b." in found["b"]
    assert by_size == ({} if harm is zeros else found)


def fetched(folder: Path, wanted: pl.DataFrame) -> dict[str, str]:
    """What fetching rows finds damaged."""
    try:
        with gather.Gathered(gather.Places(folder, wanted)) as gathered:
            gathered.fetch(np.arange(len(wanted)))
    except gather.DamagedParts as error:
        return error.parts
    return {}


def test_rows_that_a_takedown_blanked_are_no_damage(tmp_path: Path) -> None:
    blank = (np.zeros(4), np.zeros((32, 32, 3), np.uint8))
    save_vectors(tmp_path, "a", [(np.ones(4), blank[1]), blank])
    assert fetched(tmp_path, pl.DataFrame({"part": ["a"], "row": [0]})) == {}
    assert fetched(tmp_path, pl.DataFrame({"part": ["a", "a"], "row": [0, 1]}))


def test_vectors_of_another_width_are_damage(tmp_path: Path) -> None:
    for part, width in (("a", 4), ("b", 3), ("c", 4)):
        save_vectors(tmp_path, part, [(np.ones(width), np.zeros((32, 32, 3), np.uint8))])
    wanted = pl.DataFrame({"part": ["a", "b", "c"], "last_row": [0, 0, 0]})
    assert list(gather.damaged(tmp_path, wanted)) == ["b"]


def test_damaged_vectors_are_computed_again(scored: catalog.Catalog, capsys) -> None:
    assert dedup(scored, workers=1) is not None
    before = clusters(scored)
    [part] = [path for path in (scored.root / "embeddings").rglob("score-*.npy") if "thumb" not in path.name]
    cut(part)
    assert dedup(scored, workers=1) is not None
    assert f"{part.name} cannot be read" in capsys.readouterr().err
    assert clusters(scored) == before
    assert scored.sql("SELECT count(*), count(DISTINCT image_id) FROM embeddings").row(0) == (6, 6)
    assert dedup(scored, workers=1) is None


def not_finite(path: Path) -> None:
    matrix = np.load(path)
    matrix[:] = np.nan
    np.save(path, matrix)


def test_a_part_of_nothing_but_nan_is_computed_again(scored: catalog.Catalog, capsys) -> None:
    assert dedup(scored, workers=1) is not None
    before = clusters(scored)
    folder = next(path for path in (scored.root / "embeddings").iterdir())
    (folder / state.FILE).unlink()  # a search that goes on would not read it again
    [part] = [path for path in folder.glob("score-*.npy") if "thumb" not in path.name]
    not_finite(part)
    assert dedup(scored, threshold=0.984, workers=1) is not None
    assert f"row 0 of {part.name} is zero or not finite (1 damaged)" in capsys.readouterr().err
    assert clusters(scored) == before


def table(opened: catalog.Catalog) -> pl.DataFrame:
    return opened.sql("SELECT * FROM clusters ORDER BY image_id")


def anew(opened: catalog.Catalog) -> pl.DataFrame:
    """The clusters if nothing is known of the last search."""
    for path in (opened.root / "embeddings").rglob(state.FILE):
        path.unlink()
    with opened._writing() as connection:
        connection.execute("DELETE FROM clusters")
    dedup(opened, workers=1)
    return table(opened)


STEPS = [
    *CHANGES[:2],
    "UPDATE images SET status = 'ok' WHERE image_id = 1",
    "UPDATE images SET width = 2 * width WHERE image_id = (SELECT max(image_id) FROM images)",
    "UPDATE embeddings SET row = -1 WHERE image_id = 3",
    "UPDATE measured SET phash = ~phash WHERE image_id = 5",
    "DELETE FROM clusters WHERE image_id = 4",
]


def test_going_on_is_as_good_as_starting_anew(scored: catalog.Catalog, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(compare, "MOST_ADDED", 10)
    assert dedup(scored, workers=1) is not None
    for n, step in enumerate(STEPS):
        change_by(scored, step)
        assert dedup(scored, workers=1) is not None, step
        shutil.copytree(scored.root, tmp_path / f"copy-{n}")
        assert table(scored).equals(anew(catalog.open(tmp_path / f"copy-{n}"))), step


def test_clusters_that_stay_are_not_written_again(scored: catalog.Catalog) -> None:
    assert dedup(scored, workers=1) is not None
    with scored._writing() as connection:
        connection.execute("UPDATE clusters SET cluster_id = -1")  # a mark that nobody reads here
        connection.execute("UPDATE images SET status = 'corrupt' WHERE image_id = 1")
    dedup(scored, workers=1)
    names = {i: Path(uri).stem for i, uri in scored.sql("SELECT image_id, uri FROM images").rows()}
    written = scored.sql("SELECT image_id FROM clusters WHERE cluster_id >= 0")["image_id"].to_list()
    assert [names[i] for i in written] == [name for name in ("a0", "bytes") if name != names[1]]


KILLED = """
import os, signal, sys
import catalog
from catalog import Catalog
from lensdata.dedup import compare, dedup, sharded
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
where = sys.argv[2]
if where == "while searching":
    sharded.search_cells = die
elif where == "before the state":
    compare.state.save = die
else:
    Catalog.commit_part = die
dedup(catalog.open(sys.argv[1]), workers=1)
"""


@pytest.mark.parametrize("where", ["while searching", "before the state", "before the commit"])
def test_a_killed_job_leaves_nothing_wrong(scored: catalog.Catalog, tmp_path: Path, where: str) -> None:
    """kill -9 in a search that goes on from an earlier one."""
    assert dedup(scored, workers=1) is not None
    before = table(scored)
    with scored._writing() as connection:
        connection.execute("UPDATE images SET status = 'corrupt' WHERE image_id = 1")
    change_by(scored, RANK)
    shutil.copytree(scored.root, tmp_path / "undisturbed")
    undisturbed = catalog.open(tmp_path / "undisturbed")
    dedup(undisturbed, workers=1)
    line = [sys.executable, "-c", KILLED, str(scored.root), where]
    assert subprocess.run(line, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert table(scored).equals(before)
    assert dedup(scored, workers=1) is not None
    assert table(scored).equals(table(undisturbed))
    assert not list(scored.root.rglob("*.tmp"))
    assert dedup(scored, workers=1) is None


def flat(
    colour: tuple[int, int, int], text: str = "", side: int = 512, quality: int | None = None
) -> np.ndarray:
    image = Image.new("RGB", (side, side), colour)
    if text:
        font = ImageFont.load_default(size=side // 4)
        ImageDraw.Draw(image).text((side // 2, side // 2), text, font=font, fill=(0, 0, 0), anchor="mm")
    if quality:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        image = Image.open(buffer)
    return np.asarray(image)


def photo(side: int, quality: int) -> np.ndarray:
    """A smooth picture with edges, resized and recompressed."""
    image = picture(7).resize((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize(
    "a, b, alike",
    [
        (flat((255, 0, 0)), flat((200, 20, 20)), False),
        (flat((255, 255, 255)), flat((235, 235, 235)), False),
        (flat((255, 0, 0)), flat((255, 0, 0), side=170, quality=30), True),
        (flat((255, 255, 255), "EXIT"), flat((255, 255, 255), "EDIT"), False),
        (flat((255, 255, 255), "EXIT"), flat((255, 255, 255), "STOP"), False),
        (flat((255, 255, 255), "EXIT"), flat((255, 255, 255), "EXIT", quality=40), True),
        (flat((255, 255, 255), "EXIT"), flat((255, 255, 255), "EXIT", side=256, quality=60), True),
        (photo(520, 95), photo(260, 60), True),
        (photo(520, 95), photo(173, 80), True),
        (photo(520, 95), photo(520, 30), True),
    ],
)
def test_the_second_look(a: np.ndarray, b: np.ndarray, alike: bool) -> None:
    thumbnails = np.stack([thumbnail(a), thumbnail(b)])
    sides = np.array([min(a.shape[:2]), min(b.shape[:2])])
    hashes = np.array([filters.cheap(a)["phash"], filters.cheap(b)["phash"]], dtype=np.uint64)
    pictures = Pictures(thumbnails, sides, hashes, np.ones(2, dtype=bool))
    assert pictures.agree(np.array([0]), np.array([1])).tolist() == [alike]
