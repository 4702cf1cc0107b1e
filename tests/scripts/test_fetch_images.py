"""scripts/fetch-images without a network: the fallback, the damaged files, captions, the choice of
drawings."""

import importlib.util
import json
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
loader = SourceFileLoader("fetch_images", str(SCRIPTS / "fetch-images"))
fetch = importlib.util.module_from_spec(importlib.util.spec_from_loader("fetch_images", loader))
loader.exec_module(fetch)

from sample_images import captions, clipart, damaged, debian  # noqa: E402

SVG = """<?xml version="1.0"?>{doctype}
<svg xmlns="http://www.w3.org/2000/svg"><title>not this one</title><metadata>
<rdf:RDF xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><cc:Work rdf:about=""><dc:title>{title}</dc:title>
<dc:description>a cat on a wall</dc:description><dc:subject><rdf:Bag><rdf:li>hash</rdf:li><rdf:li></rdf:li>
<rdf:li>big_cat</rdf:li><rdf:li>Pet</rdf:li><rdf:li>pet</rdf:li></rdf:Bag></dc:subject>
<dc:publisher><cc:Agent rdf:about="http://www.openclipart.org/"><dc:title>Library</dc:title></cc:Agent></dc:publisher>
<dc:creator><cc:Agent><dc:title>Ann Artist a@b.org</dc:title></cc:Agent></dc:creator>
<cc:license rdf:resource="http://web.resource.org/cc/{licence}"/></cc:Work></rdf:RDF></metadata><g/></svg>"""


def svg(title="black_cat", licence="PublicDomain", doctype=""):
    return SVG.format(title=title, licence=licence, doctype=doctype)


def run(*arguments):
    return fetch.main([str(argument) for argument in arguments])


def test_offline_fallback_makes_a_captioned_folder_once(tmp_path, capsys):
    pytest.importorskip("skimage")
    dest = tmp_path / "images"
    arguments = (dest, "--count", 40, "--text", 3, "--offline", "--cache", tmp_path / "cache")
    assert run(*arguments) == 0
    assert "sample photos" in capsys.readouterr().err
    images = [path for path in dest.rglob("*") if path.suffix in (".jpg", ".png", ".gif")]
    assert len(list((dest / "damaged").iterdir())) == 2 * 14
    assert all(path.with_suffix(".txt").read_text(encoding="utf-8").strip() for path in images)
    assert sum(path.parent.name == "photos" for path in images) >= 16
    stamp = {path: path.stat().st_mtime_ns for path in images}
    assert run(*arguments) == 0
    assert "already there" in capsys.readouterr().err
    assert stamp == {path: path.stat().st_mtime_ns for path in images}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_leftover_of_a_killed_run_is_replaced(tmp_path):
    pytest.importorskip("skimage")
    (tmp_path / ".images.partial").mkdir()
    (tmp_path / ".images.partial" / "half").write_text("x")
    assert (
        run(tmp_path / "images", "--count", 3, "--text", 0, "--offline", "--cache", tmp_path / "cache") == 0
    )
    assert not (tmp_path / "images" / "half").exists()


def test_a_users_folder_is_refused_untouched(tmp_path, capsys):
    (tmp_path / "mine.jpg").write_text("x")
    assert run(tmp_path, "--offline", "--cache", tmp_path.parent / "cache") == 2
    error = capsys.readouterr().err
    assert "did not make" in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.jpg"]


def test_without_apt_it_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(debian.Unavailable, match="no apt-get"):
        debian.unpacked(tmp_path / "cache", "openclipart-png")


def test_damaged_files_are_damaged_as_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    names = damaged.write(tmp_path / "d", [Image.fromarray(noise)])
    assert len({Path(name).stem for name in names}) == len(names) == 14
    for name in ("truncated.jpg", "cut-off.png"):
        with pytest.raises(OSError), Image.open(tmp_path / "d" / name) as image:
            image.load()
    for name in ("empty.jpg", "page.jpg"):
        with pytest.raises(OSError):
            Image.open(tmp_path / "d" / name)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "d" / "bomb.png")
    with Image.open(tmp_path / "d" / "animated.gif") as image:
        assert image.n_frames == 3
    with Image.open(tmp_path / "d" / "exif-rotated.jpg") as image:
        assert image.getexif()[damaged.ORIENTATION] == 6
    with Image.open(tmp_path / "d" / "cmyk.jpg") as image:
        assert image.mode == "CMYK"
    with Image.open(tmp_path / "d" / "sixteen-bit.png") as image:
        assert image.mode.startswith("I;16")


def test_captions_come_from_the_metadata(tmp_path):
    path = tmp_path / "cat_01.svg"
    path.write_text(svg())
    about = captions.read_metadata(path)
    assert (
        about.public_domain
        and about.author == "Ann Artist"
        and about.publisher == "http://www.openclipart.org/"
    )
    name = Path("animals/cat_01.png")
    assert captions.caption(name, about) == "Black cat. A cat on a wall. Keywords: big cat, pet."
    shared = captions.caption(name, about, frozenset({"black cat"}))
    assert shared.startswith("Cat. A cat on a wall.")
    assert captions.caption(Path("flowchart/fc1.png"), captions.Metadata()) == "Flowchart."


def test_entities_are_refused_and_damage_does_not_raise(tmp_path):
    path = tmp_path / "a.svg"
    path.write_text(svg(title="&x;", doctype='<!DOCTYPE svg [<!ENTITY x "boom"><!ENTITY y "&x;&x;&x;">]>'))
    assert captions.read_metadata(path).title == ""
    path.write_text(svg()[:700])
    assert captions.read_metadata(path).title == "black cat"
    path.write_bytes(b"\xff\xfe\x00")
    assert captions.read_metadata(path) == captions.Metadata()


@pytest.fixture
def package(tmp_path):
    """A small openclipart: two folders of large and small drawings, one of them twice, one not public
    domain."""
    pngs, svgs = tmp_path / "png", tmp_path / "svg"
    for folder, number, side in [(f, n, s) for f in ("cats", "dogs") for n in range(8) for s in (100, 400)]:
        name = Path(folder) / f"{folder}_{side}_{number}"
        (pngs / name).parent.mkdir(parents=True, exist_ok=True)
        (svgs / name).parent.mkdir(parents=True, exist_ok=True)
        colour = (number * 9, side // 2, 50 if folder == "cats" else 99)
        Image.new("RGB", (side, side), (0, 0, 0) if number < 2 else colour).save(f"{pngs / name}.png")
        Path(f"{svgs / name}.svg").write_text(svg(licence="GPL" if number == 7 else "PublicDomain"))
    Image.new("1", (4100, 4100)).save(pngs / "huge.png")
    (svgs / "huge.svg").write_text(svg(title="huge"))
    return pngs, svgs


def test_the_choice_is_diverse_deterministic_and_free_of_repeats(package, tmp_path):
    chosen = clipart.choose(*package, count=12, seed=0)
    assert chosen == clipart.choose(*package, count=12, seed=0) != clipart.choose(*package, count=12, seed=1)
    assert len(chosen) == 12 and chosen[-1].name.name == "huge.png"
    assert sum(drawing.area < clipart.SMALLEST_AREA for drawing in chosen) == 3
    assert len({drawing.path.read_bytes() for drawing in chosen}) == 12
    assert all(drawing.about.public_domain and not drawing.name.stem.endswith("_7") for drawing in chosen)
    folders = [drawing.name.parent.name for drawing in chosen]
    assert abs(folders.count("cats") - folders.count("dogs")) <= 2

    counts = clipart.write(chosen, tmp_path / "out", seed=0)
    assert counts == {"drawings": 12, "exact": 1, "rescaled": 1}
    copy = next((tmp_path / "out" / "copies").glob("copy-*.png"))
    assert copy.read_bytes() in {drawing.path.read_bytes() for drawing in chosen}
    facts = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("*.json")]
    assert len(facts) == 6 and facts[0]["licence"] == "Public Domain"
