"""Lists of URLs: every line becomes an image, with its bytes or with the reason why there are none."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

import catalog
from catalog.bytes import locate, place
from catalog.errors import BadInput, LensError
from lensdata.ingest import ingest
from lensdata.sources import Columns, Survey, open
from lensdata.sources.lists import downloads, img2dataset
from lensdata.sources.lists.address import is_url
from lensdata.sources.tables.columns import is_list
from lensdata.sources.tables.open import row_file
from tests.conftest import ROOT
from tests.helpers import png
from tests.lensdata.sources.lists.web import Web, serve

FAKE = f"{sys.executable} {ROOT / 'tests' / 'fakes' / 'img2dataset.py'}"
COLUMNS = "image_id, located(uri) AS uri, status, status_reason, alt_text, url, sha256"


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as found:
        yield found


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> catalog.Catalog:
    monkeypatch.setenv(img2dataset.VARIABLE, FAKE)
    monkeypatch.setitem(img2dataset.TUNABLE, "timeout", "4")  # a busy machine answers late, too
    return catalog.open(tmp_path / "catalog")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks, batches and groups so small that a short list has several."""
    monkeypatch.setattr(img2dataset, "SHARD", 2)
    monkeypatch.setitem(img2dataset.FIXED, "number_sample_per_shard", "2")
    monkeypatch.setattr(downloads, "CHUNK", 3)
    monkeypatch.setattr(downloads, "BATCH", 6)


def rows(opened: catalog.Catalog) -> list[dict]:
    return opened.sql(f"SELECT {COLUMNS}, byte_offset, byte_length FROM images ORDER BY image_id").to_dicts()


def write(path: Path, urls: list[str]) -> Path:
    path.write_text("".join(f"{url}\n" for url in urls))
    return path


def check_mixed(opened: catalog.Catalog, web: Web, folder: Path) -> None:
    """A list of everything that can happen to a URL, through whatever downloads."""
    data = png(1)
    web.pages |= {
        "a.png": data, "page.jpg": b"<html>no</html>", "cut.png": data[:20], "slow.png": 30.0, "empty.png": b"",
        "moved.png": web.url("a.png"), "file.png": "file:///etc/hostname", "same.png": data,
    }  # fmt: skip
    names = [
        "gone.png",
        "a.png",
        "page.jpg",
        "slow.png",
        "cut.png",
        "empty.png",
        "moved.png",
        "file.png",
        "same.png",
    ]
    urls = [web.url(name) for name in names]
    listed = ["not a url", *urls, web.url("a.png"), "file:///etc/hostname", "http://[broken/x.png"]
    assert ingest(opened, [write(folder / "list.txt", listed)], workers=1).added == 12
    found = rows(opened)
    assert [row["image_id"] for row in found] == list(range(1, 13))
    assert [row["url"] for row in found] == list(dict.fromkeys(listed))
    by_url = {row["url"].rpartition("/")[2]: row for row in found}
    for name in ("a.png", "moved.png", "same.png"):
        row = by_url[name]
        assert row["status"] == "ok"
        assert locate.read(row["uri"], row["byte_offset"], row["byte_length"]) == data  # the original bytes
        assert Path(row["uri"]).is_relative_to(opened.root / "downloads")
    for name, status, reason in (
        ("gone.png", "missing", "HTTP Error 404"),
        ("slow.png", "missing", "timed out"),
        ("page.jpg", "unsupported", "15 bytes came, which are not kept"),
        ("empty.png", "truncated", "0 bytes came"),
        ("not a url", "missing", "not an http or https URL"),
        ("hostname", "missing", "not an http or https URL"),
        ("file.png", "missing", "HTTP Error 302"),
        ("x.png", "missing", ""),
    ):
        assert by_url[name]["status"] == status
        assert by_url[name]["uri"] == by_url[name]["url"]
        assert reason in by_url[name]["status_reason"]
    assert by_url["cut.png"]["status"] in ("truncated", "corrupt")
    counts = opened.sql("SELECT status, count(*) n FROM images GROUP BY status")
    assert counts["n"].sum() == 12
    kept = b"".join(path.read_bytes() for path in (opened.root / "downloads").rglob("*.tar"))
    assert b"<html>" not in kept


def test_what_can_happen_to_a_url(opened: catalog.Catalog, web: Web, tmp_path: Path) -> None:
    check_mixed(opened, web, tmp_path)
    asked = dict(web.asked)
    assert asked["a.png"] == 2  # itself and the redirect, not the duplicate
    version = opened.version
    assert ingest(opened, [tmp_path / "list.txt"], workers=1).unchanged == 12
    assert (dict(web.asked), opened.version) == (asked, version)


def test_retry_keeps_the_id(opened: catalog.Catalog, web: Web, tmp_path: Path, small: None) -> None:
    urls = [web.url(f"{n}.png") for n in range(8)]
    path = write(tmp_path / "list.txt", [*urls, "no url"])
    web.pages |= {f"{n}.png": png(n) for n in (0, 3, 5)} | {"4.png": b"soon"}
    assert ingest(opened, [path], workers=1).added == 9
    before = rows(opened)
    assert [row["status"] for row in before].count("ok") == 3
    web.pages |= {"1.png": png(1), "4.png": png(4), "2.png": 500}
    done = ingest(opened, [path], workers=1, retry=True)
    assert (done.added, done.updated, done.unchanged) == (0, 2, 7)
    after = rows(opened)
    assert [row["image_id"] for row in after] == [row["image_id"] for row in before]
    assert [row["url"] for row in after] == [row["url"] for row in before]
    assert [row["status"] for row in after] == [
        "ok",
        "ok",
        "missing",
        "ok",
        "ok",
        "ok",
        "missing",
        "missing",
        "missing",
    ]
    for row, n in ((after[1], 1), (after[4], 4)):
        assert locate.read(row["uri"], row["byte_offset"], row["byte_length"]) == png(n)
    assert "500" in after[2]["status_reason"]
    assert web.asked["0.png"] == 1
    assert web.asked["6.png"] == 2
    assert ingest(opened, [path], workers=1).unchanged == 9
    web.pages["2.png"] = png(2)
    assert ingest(opened, [path], workers=1, retry=True).updated == 1
    assert rows(opened)[2]["status"] == "ok"


def test_new_lines_only_add(opened: catalog.Catalog, web: Web, tmp_path: Path, small: None) -> None:
    web.pages |= {f"{n}.png": png(n) for n in range(9)}
    path = write(tmp_path / "list.txt", [web.url(f"{n}.png") for n in range(4)])
    ingest(opened, [path], workers=1)
    before = rows(opened)
    write(path, [web.url("8.png"), *(web.url(f"{n}.png") for n in range(7))])
    done = ingest(opened, [path], workers=1)
    assert (done.added, done.updated, done.unchanged) == (4, 0, 4)
    assert rows(opened)[:4] == before
    assert [row["url"] for row in rows(opened)[4:]] == [web.url(f"{n}.png") for n in (8, 4, 5, 6)]
    assert set(web.asked.values()) == {1}
    # What is taken from a list stays in the catalog.
    write(path, [web.url("8.png")])
    assert ingest(opened, [path], workers=1).unchanged == 8


def test_columns(opened: catalog.Catalog, web: Web, tmp_path: Path) -> None:
    web.pages |= {f"{n}.png": png(n) for n in range(9)}
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("id", "URL", "Caption"),
                (1, web.url("0.png"), "with, comma\nand line"),
                (2, ""),
                (3, web.url("1.png")),
            ]
        )
    (tmp_path / "b.tsv").write_text(f"link\twords\n{web.url('2.png')}\ta\0b\n")
    frame = pl.DataFrame(
        {"URL": [web.url("3.png"), None], "TEXT": ["three", "none"], "license": ["CC0", None]}
    )
    frame.write_parquet(tmp_path / "c.parquet")
    frame.with_columns(image=pl.lit(png(8))).write_parquet(tmp_path / "d.parquet")
    assert ingest(opened, [tmp_path / "a.csv", tmp_path / "c.parquet"], workers=1).added == 3
    assert [row["alt_text"] for row in rows(opened)] == ["with, comma\nand line", None, "three"]
    assert opened.sql("SELECT licence FROM images WHERE image_id = 3").item() == "CC0"
    assert (
        ingest(opened, [tmp_path / "b.tsv"], columns=Columns(url="link", text="words"), workers=1).added == 1
    )
    assert opened.sql("SELECT alt_text, alt_error FROM images WHERE image_id = 4").row(0) == (
        "ab",
        "NUL characters removed",
    )
    assert (
        ingest(opened, [tmp_path / "d.parquet"], workers=1).added == 2
    )  # it has images; its url is their origin
    assert ingest(opened, [tmp_path / "d.parquet"], columns=Columns(url="URL"), workers=1).added == 1
    for name, columns, message in (
        (
            "a.csv",
            Columns(url="nope"),
            "no column 'nope'; it has id, URL, Caption: name one with --url-column",
        ),
        ("a.csv", Columns(text="nope"), "name one with --text-column"),
        (
            "b.tsv",
            Columns(),
            "no column of paths of images, .* a column of URLs to download with --url-column",
        ),
        ("c.parquet", Columns(image="jpg"), "no column 'jpg'"),
        ("c.parquet", Columns(url="URL", text="license"), None),
    ):
        if message:
            with pytest.raises(BadInput, match=message):
                ingest(opened, [tmp_path / name], columns=columns)
    path = tmp_path / "d.parquet"
    assert not is_list(row_file(path, place.facts(path)), Columns())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.txt", b"", "holds no URL"),
        ("e.txt", b"\n \n", "holds no URL"),
        ("e.txt", b"dear sir\nftp://x/y\n", "holds no URL"),
        ("e.txt", b"h\0t\0t\0p", "not a text"),
        ("e.txt.gz", b"\x1f\x8b" + bytes(99), "compressed with gzip"),
        ("e.csv", b"", "no column of paths of images, .* a column of URLs to download with --url-column"),
        ("e.csv", b"url\n", "holds no URL"),
        ("e.csv", b'url,text\nhttp://a/b,"open\nhttp://a/c,d\n', r"e\.csv, line 3: .*quoted text is doubled"),
    ],
)
def test_lists_that_are_none(
    opened: catalog.Catalog, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        ingest(opened, [tmp_path / name])
    assert opened.version == 0


def test_what_may_be_fetched() -> None:
    for good in ("http://a/b.png", "HTTPS://a", "https://user@host:1/x?y#z"):
        assert is_url(good)
    for bad in ("", "a.png", "/etc/passwd", "file:///etc/passwd", "ftp://a/b", "http://", "http:///x", "s3://a/b",
                "http://a/" + "x" * 9000):  # fmt: skip
        assert not is_url(bad)


def test_a_junk_list_takes_nothing_from_known_images(
    opened: catalog.Catalog, web: Web, tmp_path: Path
) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(1))
    ingest(opened, [folder], workers=1)
    web.pages["b.png"] = png(2)
    done = ingest(opened, [write(tmp_path / "l.txt", [str(folder / "a.png"), web.url("b.png")])], workers=1)
    assert (done.added, done.updated, done.unchanged) == (1, 0, 1)
    assert [row["status"] for row in rows(opened)] == ["ok", "ok"]


def test_a_killed_download_goes_on(
    opened: catalog.Catalog, web: Web, tmp_path: Path, small: None, monkeypatch
) -> None:
    web.pages |= {f"{n}.png": png(n) for n in range(10) if n != 5}
    path = write(tmp_path / "list.txt", [web.url(f"{n}.png") for n in range(10)])
    monkeypatch.setenv("FAKE_DIE_AFTER", "2")
    with pytest.raises(LensError, match=r"exit code 9\) before 1 of 3 groups .* run the same command again"):
        ingest(opened, [path], workers=1)
    monkeypatch.delenv("FAKE_DIE_AFTER")
    assert ingest(opened, [path], workers=1).added == 10
    assert [row["url"] for row in rows(opened)] == [web.url(f"{n}.png") for n in range(10)]
    assert {name: n for name, n in web.asked.items() if n > 1} == {
        "4.png": 2,
        "5.png": 2,
    }  # the group it died in
    twin = catalog.open(tmp_path / "twin")
    ingest(twin, [path], workers=1)
    assert [row["sha256"] for row in rows(twin)] == [row["sha256"] for row in rows(opened)]
    assert [row["byte_offset"] for row in rows(twin)] == [row["byte_offset"] for row in rows(opened)]


def test_killed_while_filing(
    opened: catalog.Catalog, web: Web, tmp_path: Path, small: None, monkeypatch
) -> None:
    web.pages |= {f"{n}.png": png(n) for n in range(5)}
    path = write(tmp_path / "list.txt", [web.url(f"{n}.png") for n in range(6)])
    real = downloads._write
    for kills in (0, 1, 1):  # at the plan, at the first chunk, at the second
        left = [kills]

        def write_once(*args, left=left) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            real(*args)

        monkeypatch.setattr(downloads, "_write", write_once)
        with pytest.raises(KeyboardInterrupt):
            ingest(opened, [path], workers=1)
    monkeypatch.setattr(downloads, "_write", real)
    assert ingest(opened, [path], workers=1).added == 6
    assert [row["status"] for row in rows(opened)] == ["ok"] * 5 + ["missing"]
    assert set(web.asked.values()) == {1}


def test_a_damaged_group_is_fetched_again(
    opened: catalog.Catalog, web: Web, tmp_path: Path, small: None
) -> None:
    web.pages |= {f"{n}.png": png(n) for n in range(4)}
    path = write(tmp_path / "list.txt", [web.url(f"{n}.png") for n in range(4)])
    ingest_raw = img2dataset.download
    cut = []

    def and_cut(urls: list[str], raw: Path) -> None:
        ingest_raw(urls, raw)
        if not cut:
            cut.append(os.truncate(raw / "00001.tar", 1024))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(img2dataset, "download", and_cut)
        assert ingest(opened, [path], workers=1).added == 4
    assert [row["status"] for row in rows(opened)] == ["ok"] * 4
    assert web.asked["0.png"] == 1
    assert web.asked["3.png"] == 2


def test_a_tool_that_hangs_is_given_up(
    opened: catalog.Catalog, web: Web, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv(img2dataset.VARIABLE, f"{sys.executable} -c 'import time; time.sleep(60)'")
    monkeypatch.setattr(img2dataset, "STALL_SECONDS", 0.3)
    path = write(tmp_path / "list.txt", [web.url("a.png")])
    assert ingest(opened, [path], workers=1).added == 1
    assert "did nothing for" in rows(opened)[0]["status_reason"]
    monkeypatch.setenv(img2dataset.VARIABLE, FAKE)
    monkeypatch.setattr(img2dataset, "STALL_SECONDS", 60)
    web.pages["a.png"] = png(1)
    assert ingest(opened, [path], workers=1, retry=True).updated == 1


def test_no_tool_is_one_line(opened: catalog.Catalog, web: Web, tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path / "list.txt", [web.url("a.png")])
    monkeypatch.delenv(img2dataset.VARIABLE)
    monkeypatch.setattr(img2dataset, "_uv", lambda: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInput, match=r"lens-t2i\[http\]"):
        ingest(opened, [path], workers=1)
    monkeypatch.setenv(img2dataset.VARIABLE, "/nowhere/img2dataset")
    with pytest.raises(LensError, match=r"exit code 127.*cannot be run"):
        ingest(opened, [path], workers=1)


def test_the_tool_dies_with_the_job(command, web: Web, tmp_path: Path) -> None:
    script = tmp_path / "tool.py"
    script.write_text(
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\ntime.sleep(600)\n"
    )
    path = write(tmp_path / "list.txt", [web.url("a.png")])
    environment = {**os.environ, "LENS_CATALOG": str(tmp_path / "c"), "PYTHONPATH": str(ROOT),
                   img2dataset.VARIABLE: f"{sys.executable} {script}"}  # fmt: skip
    job = subprocess.Popen([sys.executable, "-m", "lensdata", "ingest", str(path)], env=environment,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 60
    while (
        not ((tmp_path / "pids").exists() and (tmp_path / "pids").read_text()) and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_tar_that_was_deleted(opened: catalog.Catalog, web: Web, tmp_path: Path) -> None:
    """The listing says so and gives the rest."""
    web.pages |= {"a.png": png(1)}
    path = write(tmp_path / "list.txt", [web.url("a.png"), web.url("b.png")])
    ingest(opened, [path], workers=1)
    next((opened.root / "downloads").rglob("*.tar")).unlink()
    survey = Survey()
    found = list(open(path).list(survey, opened.root))
    assert [item.uri for item in found] == [web.url("b.png")]
    assert any("hold no more" in line or "holds no more" in line for line in survey.lines())


@pytest.mark.slow
def test_the_real_img2dataset(opened: catalog.Catalog, web: Web, tmp_path: Path, monkeypatch) -> None:
    """Installed by uv, apart from this environment; the fake's parity with it is checked row by row."""
    monkeypatch.delenv(img2dataset.VARIABLE)
    line = img2dataset.command()
    probe = subprocess.run(
        [*line, "--help"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    offline = ("Failed to fetch", "network was disabled")
    if probe.returncode and any(mark in probe.stderr for mark in offline):
        pytest.skip(f"img2dataset cannot be installed here: {probe.stderr.strip().splitlines()[-1:]}")
    check_mixed(opened, web, tmp_path)
    real = [{k: v for k, v in row.items() if k != "uri"} for row in rows(opened)]
    monkeypatch.setenv(img2dataset.VARIABLE, FAKE)
    twin = catalog.open(tmp_path / "twin")
    ingest(twin, [tmp_path / "list.txt"], workers=1)
    assert [{k: v for k, v in row.items() if k != "uri"} for row in rows(twin)] == real
    # It resumes: what is known is not asked for again, what failed is with --retry.
    monkeypatch.delenv(img2dataset.VARIABLE)
    web.asked.clear()
    web.pages |= {"gone.png": png(7)}
    assert ingest(opened, [tmp_path / "list.txt"], workers=1).unchanged == 12
    assert not web.asked
    assert ingest(opened, [tmp_path / "list.txt"], workers=1, retry=True).updated >= 1
    assert rows(opened)[1]["status"] == "ok"
    assert shutil.which("uv") or img2dataset._uv()


def test_lines_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes("\ufeffhttp://a/ü.png\r\n\r\n  http://b \nlast".encode())
    assert [url for url, _ in open(tmp_path / "l.txt").lines()] == [
        "http://a/ü.png",
        "http://b",
        "last",
    ]


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user's command says of speed stands, and uv finds its index where pip does."""
    script = tmp_path / "tool.py"
    script.write_text(
        "import os, sys; print(*sys.argv[1:], os.environ['UV_DEFAULT_INDEX'], sep='\\n', flush=True)"
    )
    monkeypatch.setenv(
        img2dataset.VARIABLE, f"{sys.executable} {script} --timeout=30 --thread_count 8 --retries=2"
    )
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/pips")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    with pytest.raises(LensError, match="before 1 of 1 groups"):
        img2dataset.download(["http://127.0.0.1:9/a.png"], tmp_path / "raw")
    said = (tmp_path / "raw" / "log.txt").read_text().splitlines()
    assert [part for part in said if part.startswith("--timeout")] == ["--timeout=30"]
    assert [part for part in said if part.startswith("--thread_count")] == ["--thread_count"]
    assert "--disable_all_reencoding=True" in said
    assert said[-1] == "http://127.0.0.1:9/pips"


def test_a_login_in_a_url_is_neither_used_nor_kept(opened: catalog.Catalog, web: Web, tmp_path: Path) -> None:
    web.pages |= {"a.png": png(1), "b.png": png(2)}
    login = web.url("b.png").replace("://", "://somebody:hunter2@")
    assert ingest(opened, [write(tmp_path / "l.txt", [web.url("a.png"), login])], workers=1).added == 2
    _, refused = rows(opened)
    assert (refused["status"], refused["status_reason"]) == (
        "missing",
        "not an http or https URL without a login",
    )
    assert refused["url"] == refused["uri"] == web.url("b.png").replace("://", "://***@")
    assert "b.png" not in web.asked
    for path in opened.root.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()


def test_nothing_of_the_work_stays(opened: catalog.Catalog, web: Web, tmp_path: Path) -> None:
    web.pages["a.png"] = png(1)
    path = write(tmp_path / "l.txt", [web.url("a.png"), web.url("gone.png")])
    for retry in (False, True, False):
        ingest(opened, [path], workers=1, retry=retry)
        kept = {path.name for path in (opened.root / "downloads").rglob("*") if path.is_file()}
        assert kept == {"000000.tar", "000000.parquet", "source.json"}


def test_a_command_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(img2dataset.VARIABLE, "img2dataset 'open")
    with pytest.raises(BadInput, match=f"{img2dataset.VARIABLE} is no command line: No closing quotation"):
        img2dataset.command()


def test_brief_and_dense_columns(opened: catalog.Catalog, web: Web, tmp_path: Path) -> None:
    web.pages |= {f"{n}.png": png(n) for n in range(3)}
    listed = [
        ("URL", "Brief_Caption", "long"),
        (web.url("0.png"), "b0", "d0"),
        (web.url("404.png"), "b1", "d1"),
    ]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows(listed)
    frame = pl.DataFrame({"url": [web.url("2.png")], "dense": ["d2"], "short": ["b2"], "brief": [7]})
    frame.write_parquet(tmp_path / "b.parquet")
    texts = "SELECT brief_text, dense_text FROM images ORDER BY image_id"
    ingest(opened, [tmp_path / "a.csv"], workers=1, columns=Columns(dense="long"))
    ingest(opened, [tmp_path / "b.parquet"], workers=1, columns=Columns(brief="short"))
    assert opened.sql(texts).rows() == [("b0", "d0"), ("b1", "d1"), ("b2", "d2")]
    with pytest.raises(BadInput, match="'brief' holds int64, not text"):
        ingest(opened, [tmp_path / "b.parquet"], columns=Columns(brief="brief"))
    # What failed is downloaded again with the texts of its line, also where an earlier Lens kept fewer columns.
    for path in (opened.root / "downloads").glob("a-*/*.parquet"):
        older = pq.read_table(path)
        pq.write_table(older.drop_columns(["dense_text"]), path)
    web.pages["404.png"] = png(1)
    assert (
        ingest(opened, [tmp_path / "a.csv"], workers=1, columns=Columns(dense="long"), retry=True).updated
        == 1
    )
    assert opened.sql(texts).rows() == [("b0", "d0"), ("b1", None), ("b2", "d2")]
