"""Hugging Face datasets, streamed from local repositories; no hub is asked."""

from __future__ import annotations

import json
import socket
from collections import Counter
from pathlib import Path

import datasets
import pytest

import catalog
from catalog.bytes import locate
from catalog.errors import BadInput, LensError
from lensdata.ingest import ingest
from lensdata.sources import Columns, kept, open_all
from lensdata.sources.hub.stream import Spec, parse
from tests.helpers import fill, make_tar, png
from tests.lensdata.sources.hub.server import serve

FOUND = "SELECT image_id, status, alt_text, located(uri) AS uri, byte_offset, byte_length FROM images ORDER BY image_id"


@pytest.fixture
def opened(tmp_path: Path) -> catalog.Catalog:
    return catalog.open(tmp_path / "catalog")


def repository(folder: Path, splits: dict[str, int], **columns: list) -> str:
    """A dataset folder as the hub has them: Parquet files, two for each split, with a decoded Image column."""
    folder.mkdir(parents=True)
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    number = 0
    for split, rows in splits.items():
        for shard in range(2):
            images = [
                {"image": {"bytes": png(number + n), "path": f"{n}.png"}, "text": f"text {number + n}"}
                for n in range(rows // 2)
            ]
            number += rows // 2
            made = datasets.Dataset.from_list(images, features=features)
            made.to_parquet(str(folder / f"{split}-{shard:05d}-of-00002.parquet"), batch_size=2)
    return f"hf://{folder}"


def test_what_a_spec_says(tmp_path: Path) -> None:
    assert parse("hf://org/name") == Spec("org/name")
    assert parse("hf://name@v1:big#train") == Spec("name", "v1", "big", "train")
    assert parse("hf://org/name#train") == Spec("org/name", split="train")
    assert parse("hf:///a/b/c/d:big").config == "big"
    odd = tmp_path / "a@b#c"
    odd.mkdir()
    assert parse(f"hf://{odd}") == Spec(str(odd))
    assert parse(str(Spec("o/n", "r", "c", "s"))) == Spec("o/n", "r", "c", "s")
    for bad in ("hf://", "hf://a/b/c", "hf://@x"):
        with pytest.raises(BadInput, match="names no dataset"):
            parse(bad)


def test_the_original_bytes_in_order(opened: catalog.Catalog, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(kept, "TAR_BYTES", 12_000)
    url = repository(tmp_path / "d", {"train": 8, "test": 4})
    assert ingest(opened, [url], workers=1).added == 12
    found = opened.sql(FOUND).rows()
    assert [row[:3] for row in found] == [(n + 1, "ok", f"text {n}") for n in range(12)]
    for n, (*_, uri, offset, length) in enumerate(found):
        assert Path(uri).is_relative_to(opened.root / "imported")
        assert locate.read(uri, offset, length) == png(n)
    assert len({row[3] for row in found}) > 2
    version = opened.version
    assert ingest(opened, [url], workers=1).unchanged == 12
    assert opened.version == version
    assert ingest(opened, [f"{url}#test"], workers=1).added == 4


def test_a_killed_stream_goes_on(opened: catalog.Catalog, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(kept, "TAR_BYTES", 6_000)
    url = repository(tmp_path / "d", {"train": 10, "test": 2})
    real, added = kept.add, []

    def add_and_die(*args) -> None:
        if len(added) == 8:
            raise KeyboardInterrupt
        added.append(args[1]["row"])
        real(*args)

    monkeypatch.setattr(kept, "add", add_and_die)
    with pytest.raises(KeyboardInterrupt):
        ingest(opened, [url], workers=1)
    whole = len(list((opened.root / "imported").rglob("[0-9]*.json")))
    assert whole >= 1
    again = []
    monkeypatch.setattr(kept, "add", lambda *args: (again.append(args[1]["row"]), real(*args)))
    ingest(opened, [url], workers=1)
    assert again[0] > 0  # not from the beginning
    assert again[-1] == 11
    twin = catalog.open(tmp_path / "twin")
    ingest(twin, [url], workers=1)
    columns = "SELECT image_id, sha256, alt_text, byte_offset FROM images ORDER BY image_id"
    assert opened.sql(columns).rows() == twin.sql(columns).rows()
    assert len(twin.sql(columns)) == 12


def test_a_dataset_that_changes(opened: catalog.Catalog, tmp_path: Path) -> None:
    url = repository(tmp_path / "d", {"train": 6})
    ingest(opened, [url], workers=1)
    next((tmp_path / "d").glob("train-00001*")).unlink()
    first = next((tmp_path / "d").glob("train-00000*"))
    first.rename(first.with_name("train-00000-of-00001.parquet"))
    done = ingest(opened, [url], workers=1)
    assert (done.added, done.gone) == (0, 3)
    assert (
        opened.sql("SELECT status FROM images ORDER BY image_id")["status"].to_list()
        == ["ok"] * 3 + ["missing"] * 3
    )


def test_other_builders(opened: catalog.Catalog, tmp_path: Path) -> None:
    folder = fill(tmp_path / "images" / "train", 2, ((40, 30),))
    (folder / "metadata.csv").write_text("file_name,text\npicture-0000.png,zero\npicture-0001.jpg,one\n")
    for text in folder.glob("*.txt"):
        text.unlink()
    assert ingest(opened, [f"hf://{tmp_path / 'images'}"], workers=1).added == 2
    assert [row[1:3] for row in opened.sql(FOUND).rows()] == [("ok", "zero"), ("ok", "one")]
    (tmp_path / "tars").mkdir()
    make_tar(
        tmp_path / "tars" / "train-0.tar",
        [("a.png", png(1)), ("a.txt", b"a"), ("b.png", png(2)), ("b.txt", b"b")],
    )
    columns = Columns("png", "txt")
    assert ingest(opened, [f"hf://{tmp_path / 'tars'}"], workers=1, columns=columns).added == 2
    assert opened.sql(FOUND).rows()[-1][1:3] == ("ok", "b")


def test_rows_that_fail(opened: catalog.Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(png(1))
    paths = (None, str(folder / "no.png"), str(tmp_path / "secret.png"), "http://localhost/x.png")
    rows = [json.dumps({"image": {"path": path}, "text": "t"}) + "\n" for path in paths]
    (folder / "train.jsonl").write_text("".join(rows))
    assert ingest(opened, [f"hf://{folder}"], workers=1).added == 4
    found = opened.sql("SELECT status, status_reason, uri FROM images ORDER BY image_id").rows()
    assert [row[0] for row in found] == ["missing"] * 4
    assert found[0][1] == "the row holds no image"
    assert "FileNotFoundError" in found[1][1]
    assert found[1][2].endswith("/train/1")
    assert all("no path in the dataset" in row[1] for row in found[2:])


def test_what_cannot_be_loaded_is_one_line(opened: catalog.Catalog, tmp_path: Path, monkeypatch) -> None:
    url = repository(tmp_path / "d", {"train": 2})
    (tmp_path / "empty").mkdir()
    for source, columns, message in (
        ("hf://org/none-such", Columns(), "cannot be loaded"),  # HF_HUB_OFFLINE: nothing is asked
        (f"hf://{tmp_path / 'nowhere'}", Columns(), "there is no folder"),
        (f"hf://{tmp_path / 'empty'}", Columns(), "cannot be loaded"),
        (f"{url}#val", Columns(), "no split 'val'; it has train"),
        (url, Columns("jpg"), "no column 'jpg' in train; it has image, text: name one with --image-column"),
        (url, Columns(text="alt"), "name one with --text-column"),
    ):
        with pytest.raises(BadInput, match=message) as caught:
            ingest(opened, [source], columns=columns)
        assert "\n" not in str(caught.value)
    damaged = next((tmp_path / "d").glob("*-00001-*"))
    damaged.write_bytes(damaged.read_bytes()[:400])
    with pytest.raises((LensError, BadInput)) as caught:
        ingest(opened, [url], workers=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("listens", [True, False])
def test_a_hub_that_does_not_answer_is_one_line(monkeypatch, listens: bool) -> None:
    """One that takes the request and is silent, and one that is not there at all."""
    from huggingface_hub import constants

    monkeypatch.setattr("lensdata.sources.hub.version.PATIENCE", 1.0 if listens else 60.0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        if not listens:
            server.close()
        with pytest.raises(BadInput, match="cannot be loaded: ") as caught:
            open_all(["hf://org/name"])
    assert "\n" not in str(caught.value)
    assert ("did not answer within 1 s" in str(caught.value)) == listens


def test_brief_and_dense_columns(opened: catalog.Catalog, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    rows = [{"image": {"bytes": png(n), "path": None}, "brief": f"b{n}", "long": f"d{n}"} for n in range(2)]
    features = datasets.Features(
        {"image": datasets.Image(), "brief": datasets.Value("string"), "long": datasets.Value("string")}
    )
    datasets.Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "d" / "train.parquet"))
    url = f"hf://{tmp_path / 'd'}"
    texts = "SELECT alt_text, brief_text, dense_text FROM images ORDER BY image_id"
    ingest(opened, [url], workers=1)
    assert opened.sql(texts).rows() == [(None, "b0", None), (None, "b1", None)]
    with pytest.raises(BadInput, match=r"no column 'dense' .*name one with --dense-column"):
        ingest(opened, [url], columns=Columns(dense="dense"))
    named = catalog.open(tmp_path / "named")
    ingest(named, [url], workers=1, columns=Columns(dense="long"))
    assert named.sql(texts).rows() == [(None, "b0", "d0"), (None, "b1", "d1")]


def test_a_hub_is_asked_once_and_its_commit_pinned(command, tmp_path: Path) -> None:
    """`datasets` and huggingface_hub talk to a server on loopback as they do to the hub."""
    repository(tmp_path / "d", {"train": 4, "test": 2})
    with serve(tmp_path / "d") as hub:
        env = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}

        def ingest() -> str:
            hub.log.clear()
            done = command("lensdata", "ingest", "hf://org/name", "--workers", 1, env=env)
            assert done.returncode == 0, done.stderr
            counts = Counter(hub.log)
            assert counts["GET /api/datasets/org/name"] == 1  # which commit
            assert (
                counts[f"GET /api/datasets/org/name/tree/{hub.commit}"] == 1
            )  # what it has: `datasets` loads once
            return done.stdout

        assert "6 images added, 0 updated, 0 unchanged" in ingest()
        data = Counter(line.rpartition("/")[2] for line in hub.log if line.endswith(".parquet"))
        first = "train-00000-of-00002.parquet"  # of which `datasets` itself takes the columns, too
        assert data == {first: 2} | {path.name: 1 for path in hub.files() if path.name != first}
        assert "0 images added, 0 updated, 6 unchanged" in ingest()
        assert sum(line.endswith(".parquet") for line in hub.log) <= 1
        hub.commit = "b" * 40
        assert "0 images added, 0 updated, 6 unchanged" in ingest()  # copied anew, and the same
        assert sum(line.endswith(".parquet") for line in hub.log) == 5
        wrong = command("lensdata", "ingest", "hf://org/name", "--image-column", "jpg", env=env)
        assert wrong.returncode == 2
        assert "has no column 'jpg' in train; it has image, text" in wrong.stderr


def test_columns_that_the_first_row_tells(opened: catalog.Catalog, tmp_path: Path, monkeypatch) -> None:
    """JSON declares none: what was read to learn them is not read again, and a killed stream goes on."""
    monkeypatch.setattr(kept, "TAR_BYTES", 1)
    folder = fill(tmp_path / "d", 5, ((40, 30),))
    for text in folder.glob("*.txt"):
        text.unlink()
    images = sorted(folder.iterdir())
    rows = [json.dumps({"image": {"path": str(path)}, "text": path.stem}) + "\n" for path in images]
    (folder / "train.jsonl").write_text("".join(rows))
    real = kept.add
    monkeypatch.setattr(
        kept, "add", lambda tar, row, source: real(tar, row, source) if row["row"] < 3 else 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        ingest(opened, [f"hf://{folder}"], workers=1)
    monkeypatch.setattr(kept, "add", real)
    assert ingest(opened, [f"hf://{folder}"], workers=1).added == 5
    assert [row[1:3] for row in opened.sql(FOUND).rows()] == [("ok", path.stem) for path in images]


def test_columns_of_other_names_and_types(opened: catalog.Catalog, tmp_path: Path, capsys) -> None:
    """The one column of images, `TEXT`, and lists of captions; a column that may be of texts is told."""
    kinds = {"Photo": datasets.Image(), "TEXT": datasets.List(datasets.Value("string"))}
    row = {"Photo": {"bytes": png(1), "path": "a.png"}, "TEXT": ["one", "two"]}
    (tmp_path / "a").mkdir()
    made = datasets.Dataset.from_list([row], features=datasets.Features(kinds))
    made.to_parquet(str(tmp_path / "a" / "train.parquet"))
    ingest(opened, [f"hf://{tmp_path / 'a'}"], workers=1)
    assert opened.sql("SELECT status, alt_text, alt_error FROM images").row(0) == (
        "ok", "one", "only the first of several texts is used",
    )  # fmt: skip
    assert "surely of texts" not in capsys.readouterr().err
    (tmp_path / "b").mkdir()
    made.rename_column("TEXT", "words").to_parquet(str(tmp_path / "b" / "train.parquet"))
    ingest(opened, [f"hf://{tmp_path / 'b'}"], workers=1)
    assert "surely of texts (name it with --text-column): 1 (such as hf://" in capsys.readouterr().err
