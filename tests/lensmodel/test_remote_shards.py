"""Training from tars on an object store: memory:// and an S3 server on loopback (moto)."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from catalog import manifest as manifests
from catalog.bytes import locate
from catalog.console import run_command
from catalog.errors import BadInput, LensError
from lensmodel.cli import cli
from tests.lensmodel.test_loader import parts, take


class Moody(MemoryFileSystem):
    """A store that fails when `mood` says so of a path and the offset asked for."""

    protocol = "moody"
    store: dict = {}  # noqa: RUF012 (as fsspec's own)
    pseudo_dirs = [""]  # noqa: RUF012
    mood = staticmethod(lambda path, start: None)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("moody://"))

    def cat_file(self, path, start=None, end=None, **kwargs):
        if error := self.mood(path, start):
            raise error
        return super().cat_file(path, start=start, end=end, **kwargs)


fsspec.register_implementation("moody", Moody, clobber=True)


@pytest.fixture(scope="session")
def tars(tiny, tmp_path_factory) -> Path:
    """A folder of tars, a bucket each, with their manifest: the samples of `tiny`."""
    folder, rows, shards = tmp_path_factory.mktemp("tars"), [], []
    for bucket in dict.fromkeys(tiny.samples["bucket"]):
        name = f"{bucket}.tar"
        with tarfile.open(folder / name, "w", format=tarfile.USTAR_FORMAT) as tar:
            for row in tiny.samples.filter(pl.col("bucket") == bucket).iter_rows(named=True):
                start, key = tar.offset, f"{row['image_id']:012d}"
                meta = json.dumps(manifests.sample_meta(row)).encode()
                members = {"png": Path(row["uri"]).read_bytes(), "txt": row["caption"].encode(), "json": meta}
                for extension, data in members.items():
                    member = tarfile.TarInfo(f"{key}.{extension}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                place = {"shard": name, "ext": "png", "offset": start, "length": tar.offset - start}
                rows.append({**row, **place})
        size = (folder / name).stat().st_size
        shards.append({"name": name, "bucket": bucket, "bytes": size})
    samples = pl.DataFrame(rows, schema_overrides={"brief": pl.String})
    info = {**tiny.info, "virtual": False, "shards": shards, "samples": len(rows)}
    manifests.write(folder, {k: v for k, v in info.items() if k != "samples_sha256"}, samples)
    return folder


def put(url: str, folder: Path) -> str:
    filesystem, path = locate.filesystem(url)
    for file in sorted(folder.iterdir()):
        filesystem.pipe(f"{path}/{file.name}", file.read_bytes())
    return url


@pytest.fixture
def moody(tars, monkeypatch):
    monkeypatch.setattr(locate, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(Moody, "store", {})
    monkeypatch.setattr(Moody, "pseudo_dirs", [""])
    return put("moody://bucket/shards", tars)


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(server, tars, monkeypatch):
    """The tars in a bucket; endpoint and keys come from the environment, as everybody's do."""
    for name, value in (
        ("AWS_ENDPOINT_URL", server), ("AWS_ACCESS_KEY_ID", "a-key-id"), ("AWS_SECRET_ACCESS_KEY", "a-secret-key"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(locate, "_filesystems", {})
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()  # another module's server, which the environment named, may be gone
    locate.filesystem("s3://tars")[0].mkdir("tars")
    return put("s3://tars/shards", tars)


def batches_of(manifest, out, n=16, **options):
    out.mkdir(exist_ok=True)
    return take(*parts(manifest, out), n, **options)


def test_a_store_gives_the_batches_that_a_disk_gives(tars, moody, tmp_path):
    here = batches_of(manifests.load(tars), tmp_path / "here")
    there = batches_of(manifests.load(moody), tmp_path / "there", workers=3)
    for one, two in zip(here, there, strict=True):
        assert one.rows == two.rows and one.captions == two.captions and (one.pixels == two.pixels).all()
    assert not list((tmp_path / "there").iterdir())


def test_errors_that_pass_are_asked_about_again(tars, moody, tmp_path, monkeypatch):
    asked: dict[tuple, int] = {}

    def twice(path, start):
        asked[path, start] = asked.get((path, start), 0) + 1
        return OSError("the store is busy") if asked[path, start] < 3 else None

    monkeypatch.setattr(Moody, "mood", staticmethod(twice))
    there = batches_of(manifests.load(moody), tmp_path / "there")
    assert [b.rows for b in there] == [b.rows for b in batches_of(manifests.load(tars), tmp_path / "here")]
    assert min(asked.values()) == 3
    assert not list((tmp_path / "there").iterdir())


def test_an_object_that_stays_away_is_a_bad_sample_and_an_outage_ends_the_run(moody, tmp_path, monkeypatch):
    manifest = manifests.load(moody)
    plan, _, _ = parts(manifest, tmp_path)
    lost = int(plan.batch(0).rows[0])
    entry = manifest.samples.row(lost, named=True)
    asked = []

    def one_is_gone(path, start):
        if path.endswith(entry["shard"]) and start == entry["offset"]:
            asked.append(start)
            return OSError("the store is busy")
        return None

    monkeypatch.setattr(Moody, "mood", staticmethod(one_is_gone))
    members = plan.members[entry["bucket"]].tolist()
    after = members[(members.index(lost) + 1) % len(members)]
    found = batches_of(manifest, tmp_path / "one", 2 * plan.batches_per_epoch)
    assert found[0].rows[0] == after and not any(lost in batch.rows for batch in found)
    (line,) = (tmp_path / "one" / "bad_samples.jsonl").read_text().splitlines()
    assert json.loads(line)["image_id"] == entry["image_id"] and "the store is busy" in line
    assert len(asked) == 3

    monkeypatch.setattr(Moody, "mood", staticmethod(lambda path, start: OSError("the store is down")))
    with pytest.raises(LensError, match=r"4 images one after another could not be fetched .*--resume"):
        batches_of(manifest, tmp_path / "all", 1, workers=1)
    assert not list((tmp_path / "all").iterdir()), "an outage makes no image a bad one"


def test_pictures_in_memory_do_not_hide_an_outage(moody, tmp_path, monkeypatch):
    manifest = manifests.load(moody)
    plan, pictures, _ = parts(manifest, tmp_path, cache_mb=64)
    others = plan.members["512x512"]
    out = np.empty(pictures.shape(1, "512x512")[1:], dtype=np.float32)

    def picture(row):
        return pictures.picture(int(row), others, lambda image_id: (0.5, 0.5), out)

    assert [picture(row) for row in others[1:]] == others[1:].tolist()
    monkeypatch.setattr(Moody, "mood", staticmethod(lambda path, start: OSError("the store is down")))
    assert picture(others[2]) == others[2]
    with pytest.raises(LensError, match="could not be fetched"):
        picture(others[0])
    assert not pictures.bad.reasons
    monkeypatch.setattr(Moody, "mood", staticmethod(lambda path, start: None))
    assert picture(others[0]) == others[0]


def test_an_outage_is_counted_over_all_threads(moody, tmp_path, monkeypatch):
    manifest, asked = manifests.load(moody), []
    manifest.samples  # noqa: B018

    def down(path, start):
        asked.append(start)
        return OSError("the store is down")

    monkeypatch.setattr(Moody, "mood", staticmethod(down))
    plan, pictures, _ = parts(manifest, tmp_path)
    others = plan.members["512x512"]
    for row in others[:3].tolist():  # as three other threads would meet them
        with pytest.raises(manifests.SampleError):
            pictures.covered(row)
    before = len(asked)
    out = np.empty(pictures.shape(1, "512x512")[1:], dtype=np.float32)
    with pytest.raises(LensError, match="4 images one after another"):
        pictures.picture(int(others[3]), others, lambda image_id: (0.5, 0.5), out)
    assert len(asked) == before + 3, "one image more, not four: a silent store takes minutes to fail each"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.rm("/bucket/shards/512x512.tar"), "512x512.tar is missing"),
        (lambda f: f.pipe("/bucket/shards/512x512.tar", b"x"), "has 1 bytes instead of"),
        (lambda f: f.pipe("/bucket/shards/manifest.json", b"{"), "manifest.json is not JSON"),
        (lambda f: f.rm("/bucket/shards/manifest.json"), "holds no manifest.json that can be read"),
        (lambda f: f.rm("/bucket/shards/samples.parquet"), "lacks its list of samples"),
        (lambda f: f.pipe("/bucket/shards/samples.parquet", b"x"), "cannot be read"),
    ],
)
def test_shards_that_are_not_whole(moody, damage, message):
    filesystem, _ = locate.filesystem(moody)
    damage(filesystem)
    with pytest.raises(BadInput, match=message) as caught:
        manifests.load(moody).samples  # noqa: B018
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("moody://bucket/none", "holds no manifest.json"),
        ("nosuch://bucket/x", "nothing here reads nosuch://"),
        ("abfs://container/x", "needs another package"),
        ("s3://KEY:hunter2@bucket/x", "with a password"),
        ("https://hunter2@127.0.0.1:1/x", "https://127.0.0.1:1/x comes with a user or a query"),
        ("https://127.0.0.1:1/x?sig=hunter2", "https://127.0.0.1:1/x comes with a user or a query"),
        ("zip://a::moody://bucket/x.zip", "chained"),
    ],
)
def test_a_place_that_cannot_be_read_is_one_line(moody, tmp_path, capsys, url, message):
    code = run_command(cli, "lensmodel", ["train", "--shards", url, "--out", str(tmp_path / "run")])
    told = capsys.readouterr().err.splitlines()
    assert code == 2 and len(told) == 1 and message in told[0] and "hunter2" not in told[0]
    assert not (tmp_path / "run").exists()


def test_a_run_on_s3(s3, tars, tiny_overrides, tmp_path, capsys):
    def train(shards, out, *more):
        words = [
            "train",
            "--shards",
            str(shards),
            "--preset",
            "mini",
            "--out",
            str(out),
            "--json",
            "max_steps=2",
        ]
        assert (
            run_command(cli, "lensmodel", [*words, *(o for o in tiny_overrides if "max_steps" not in o)]) == 0
        )
        return json.loads(capsys.readouterr().out)

    there, here = train(s3, tmp_path / "there"), train(tars, tmp_path / "here")
    assert there["held_out_last"] == here["held_out_last"] and there["bad_samples"] == 0
    assert run_command(cli, "lensmodel", ["lineage", str(tmp_path / "there"), "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out))
    assert (
        run_command(cli, "lensmodel", ["train", "--shards", "s3://none/x", "--out", str(tmp_path / "n")]) == 2
    )
    assert "s3://none/x holds no manifest.json" in capsys.readouterr().err


def test_the_sha256_is_checked_of_what_a_store_gives(moody, tars):
    filesystem, path = locate.filesystem(moody)
    tar = bytearray((tars / "512x512.tar").read_bytes())
    tar[600] ^= 255
    filesystem.pipe(f"{path}/512x512.tar", bytes(tar))
    manifest = manifests.load(moody)
    row = int(np.flatnonzero((manifest.samples["bucket"] == "512x512").to_numpy())[0])
    with pytest.raises(manifests.SampleError, match="does not hold the bytes"):
        manifest.read(row)
    assert hashlib.sha256(manifest.read(row + 1).image).hexdigest() == manifest.samples["sha256"][row + 1]


@pytest.mark.parametrize(
    "name", ["../512x512.tar", "/etc/hostname", "s3://other/x.tar", "..", "", None, "stranger.tar"]
)
@pytest.mark.parametrize("where", ["folder", "url"])
def test_a_sample_lies_in_no_file_that_the_manifest_does_not_name(tars, moody, tmp_path, name, where):
    kept = manifests.load(tars)
    rows = kept.samples.with_columns(shard=pl.lit(name, dtype=pl.String))
    manifests.write(tmp_path / "x", {**kept.info, "shards": kept.info["shards"]}, rows)
    for tar in tars.glob("*.tar"):
        (tmp_path / "x" / tar.name).write_bytes(tar.read_bytes())
    place = put("moody://bucket/x", tmp_path / "x") if where == "url" else tmp_path / "x"
    with pytest.raises(BadInput, match=r"which manifest\.json does not name"):
        manifests.load(place).samples  # noqa: B018
