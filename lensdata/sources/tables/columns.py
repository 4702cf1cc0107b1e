"""Which column of a file of rows has what: what the user named, else names that tables commonly have, in any case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from catalog.errors import BadInput
from lensdata.sources.source import DEFAULTS, Columns
from lensdata.sources.tables.rowfile import ANY, IMAGE, OF_IMAGES, OF_TEXT, TEXT, Batch, RowFile
from lensdata.sources.texts import values

BATCH_ROWS = 64
PATHS = ("file_name", "filename", "filepath", "file_path", "path", "image_path", "image_file", "image_filename",
         "file", "img_path", "image_name")  # fmt: skip
IMAGES = ("image", "jpg", "png", "webp", "jpeg", "image_bytes")
TEXTLESS = "tables without a column that is surely of texts (name it with --text-column)"
Named = dict[str, str]  # `image`, `url`, `licence` and the names of texts -> the file's column of it


def is_list(file: RowFile, columns: Columns) -> bool:
    """Whether a file's rows are URLs to download: if a url column is named, or if nobody named an image column, it has
    none called `image`, and it has one called `url` (in whatever case)."""
    if columns.url is not None or columns.image != DEFAULTS.image:
        return columns.url is not None
    return (
        columns.image not in _lower(file.kinds)
        and _guess(file, values.ORIGIN["url"], (TEXT, ANY)) is not None
    )


def columns_of(file: RowFile, columns: Columns) -> Named:
    """Which of its columns has the image and its texts. Raises BadInput for one that is missing or of another type, and
    if none can be guessed."""
    return {"image": image_column(file, columns)} | texts_in(file, columns)


def image_column(file: RowFile, columns: Columns) -> str:
    """The column of images or of their paths. Raises BadInput."""
    if columns.image != DEFAULTS.image:
        return _named(file, columns.image, "--image-column", OF_IMAGES, "image bytes, paths or {bytes, path}")
    structs = [name for name, kind in file.kinds.items() if kind == IMAGE]
    guesses = (IMAGES, OF_IMAGES), (structs[:1] if len(structs) == 1 else [], (IMAGE,)), (PATHS, (TEXT, ANY))
    if found := next((name for wanted, kinds in guesses if (name := _guess(file, wanted, kinds))), None):
        return found
    same = _guess(file, (DEFAULTS.image,), None)
    if same is None and file.of_lines:
        raise BadInput(
            f"{file.shown} has no column `url`; it has {_listed(file)}: name one with --url-column, or one of paths of "
            "images with --image-column"
        )
    return _named(
        file, same or columns.image, "--image-column", OF_IMAGES, "image bytes, paths or {bytes, path}"
    )


def paths_and_texts(file: RowFile, columns: Columns) -> Named | None:
    """The column of paths, as `image`, and those of texts, of a table beside images; None without paths. What the user
    named counts where the table has it: it may be meant for another source."""
    text, brief, dense = (
        name if name in file.kinds else None for name in (columns.text, columns.brief, columns.dense)
    )
    mine = replace(columns, url=None, text=text, brief=brief, dense=dense)
    named = columns.image if file.kinds.get(columns.image) in (TEXT, ANY) else None
    path = named or _guess(file, (*PATHS, DEFAULTS.image), (TEXT, ANY))
    return {"image": path} | texts_in(file, mine) if path else None


def url_column(file: RowFile, columns: Columns) -> str:
    """The column of URLs of a list. Raises BadInput."""
    if columns.url is not None:
        return _named(file, columns.url, "--url-column", (TEXT, ANY), "text")
    found = _guess(file, values.ORIGIN["url"], (TEXT, ANY))
    if found is None:
        raise BadInput(
            f"{file.shown} has no column `url`; it has {_listed(file)}: name one with --url-column"
        )
    return found


def texts_in(file: RowFile, columns: Columns) -> Named:
    """The columns of the texts, url and licence. Raises BadInput for one that was named and is missing or no text."""
    named = {}
    for key, guesses in (values.NAMES | values.ORIGIN).items():
        # one that holds lists, or no text, which each row will say, only where there is none of plain text
        kinds = ((TEXT, ANY), OF_TEXT, None) if key in values.NAMES else ((TEXT, ANY),)
        if found := next((name for kind in kinds if (name := _guess(file, guesses, kind))), None):
            named[key] = found
    for key, name, option in columns.texts:
        named[key] = _named(file, name, option, OF_TEXT, "text")
    return named


def without_texts(file: RowFile, named: Named) -> str | None:
    """What to tell of a file of whose columns none is known to be of texts, though some may be."""
    if named.keys() & values.NAMES.keys():
        return None
    others = [name for name, kind in file.kinds.items() if kind in OF_TEXT and name not in named.values()]
    return f"{file.shown}, which has {_listed(file)}" if others else None


def rows(file: RowFile, named: Named) -> Iterator[list[dict[str, Any]]]:
    """Batches of rows: the cell of `image`, and the texts, url, licence and alt_error."""
    for batch in read(file, named, BATCH_ROWS):
        yield [dict(zip(batch, cells, strict=True)) for cells in zip(*batch.values(), strict=True)]


def read(file: RowFile, named: Named, count: int) -> Iterator[Batch]:
    """Batches of at most `count` rows, as columns: the cells of `image`, and the texts, url, licence and alt_error."""
    for batch in file.batches(sorted(set(named.values())), count):
        yield columns_read({key: batch[name] for key, name in named.items()}, named, file.western)


def columns_read(cells: Batch, named: Named, western: bool | None = None) -> Batch:
    """The cells of some rows, by what they are, as `read` gives them; `named` are their columns."""
    count = len(next(iter(cells.values())))
    found: Batch = {"image": cells.get("image", [None] * count)}
    told: dict[int, list[str]] = {}
    for key in (*values.NAMES, *values.ORIGIN):
        if key not in cells:
            found[key] = [None] * count
            continue
        texts = [values.as_text(cell, western) for cell in cells[key]]
        found[key] = [text for text, _ in texts]
        if key in values.NAMES:
            for n, (text, why) in enumerate(texts):
                if why:
                    told.setdefault(n, []).append(why if text else f"{named[key]}: {why}")
    return found | {"alt_error": [values.told_once(told[n]) if n in told else None for n in range(count)]}


def _guess(file: RowFile, wanted: Sequence[str], kinds: tuple[str, ...] | None) -> str | None:
    """The first of `wanted` that the file has, of one of the kinds."""
    return values.guess([name for name, kind in file.kinds.items() if kinds is None or kind in kinds], wanted)


def _named(file: RowFile, name: str, option: str, kinds: tuple[str, ...], what: str) -> str:
    if name not in file.kinds:
        raise BadInput(f"{file.shown} has no column {name!r}; it has {_listed(file)}: name one with {option}")
    if file.kinds[name] not in kinds:
        raise BadInput(f"{file.shown}: the column {name!r} holds {file.kinds[name]}, not {what}")
    return name


def _listed(file: RowFile) -> str:
    twice = [f"{name} (more than once)" for name in file.repeated]
    return ", ".join([*file.kinds, *twice])


def _lower(names: dict[str, str]) -> set[str]:
    return {name.lower() for name in names}
