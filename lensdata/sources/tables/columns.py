"""Which column of a file of rows has what: what the user named, else names that tables commonly have, in any case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from catalog.bytes.place import suffix
from catalog.errors import BadInput
from lensdata.sources.item import IMAGE_SUFFIXES
from lensdata.sources.source import DEFAULTS, Columns
from lensdata.sources.survey import Survey
from lensdata.sources.tables.fault import FAULT, Fault
from lensdata.sources.tables.rowfile import ANY, IMAGE, OF_IMAGES, OF_TEXT, TEXT, Batch, RowFile
from lensdata.sources.texts import values

BATCH_ROWS = 64
PATHS = ("file_name", "filename", "filepath", "file_path", "path", "image_path", "image_file", "image_filename",
         "file", "img_path", "image_name")  # fmt: skip
IMAGES = ("image", "jpg", "png", "webp", "jpeg", "image_bytes")
TEXTLESS = "tables without a column that is surely of texts (name it with --text-column)"
DOUBLED = "tables with several columns of one name for the text (rename all but one)"
HEADERLESS = "the first line must name the columns, as `file_name,caption` does"
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
            f"{file.shown} has no column of paths of images, such as `file_name`; it has {listed(file)}: name one with "
            "--image-column, or a column of URLs to download with --url-column"
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
        raise BadInput(f"{file.shown} has no column `url`; it has {listed(file)}: name one with --url-column")
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


def tell_textless(file: RowFile, named: Named, survey: Survey) -> bool:
    """Note a file of which a text is lost because several columns have its name, or of whose columns none is known to
    be of texts, though some may be. Returns whether it is such a file."""
    for key, guesses in values.NAMES.items():
        if key not in named and (name := _doubled(file, guesses)):
            survey.refuse_table(DOUBLED, f"{file.shown}, which has {name!r} more than once")
            return True
    others = [name for name, kind in file.kinds.items() if kind in OF_TEXT and name not in named.values()]
    if named.keys() & values.NAMES.keys() or not others:
        return False
    survey.note(TEXTLESS, f"{file.shown}, which has {listed(file)}")
    return True


def _doubled(file: RowFile, wanted: Sequence[str]) -> str | None:
    """The first of `wanted` that several of the file's columns are called."""
    names = [name.lower() for name in (*file.kinds, *file.repeated, *file.repeated)]
    return next((want for want in wanted if names.count(want) > 1), None)


def listed(file: RowFile) -> str:
    """The file's columns, as a message may have them."""
    twice = [f"{name} (more than once)" for name in file.repeated]
    headerless = file.of_lines and any(suffix(name) in IMAGE_SUFFIXES for name in file.kinds)
    return (", ".join([*file.kinds, *twice]) or "none") + (f" ({HEADERLESS})" if headerless else "")


def rows(file: RowFile, named: Named) -> Iterator[list[dict[str, Any]]]:
    """Batches of rows: the cell of `image`, the texts, url, licence and alt_error, and as FAULT its Fault or None."""
    for batch in read(file, named, BATCH_ROWS):
        yield [dict(zip(batch, cells, strict=True)) for cells in zip(*batch.values(), strict=True)]


def read(file: RowFile, named: Named, count: int) -> Iterator[Batch]:
    """Batches of at most `count` rows, as columns: what `rows` has of each."""
    for batch in file.batches(sorted(set(named.values())), count):
        cells = {key: batch[name] for key, name in named.items()}
        yield columns_read(cells, named, file.western, batch.get(FAULT))


def columns_read(
    cells: Batch, named: Named, western: bool | None = None, faults: Sequence[Fault | None] | None = None
) -> Batch:
    """The cells of some rows, by what they are, as `read` gives them; `named` are their columns. A row with a fault has
    no texts."""
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
    for n, fault in enumerate(faults or ()):
        if fault is not None:
            told[n] = [f"{values.ROW}{fault}"]
            for key in (*values.NAMES, *values.ORIGIN):
                found[key][n] = None
    found[FAULT] = list(faults) if faults else [None] * count
    return found | {"alt_error": [values.told_once(told[n]) if n in told else None for n in range(count)]}


def _guess(file: RowFile, wanted: Sequence[str], kinds: tuple[str, ...] | None) -> str | None:
    """The first of `wanted` that the file has, of one of the kinds."""
    return values.guess([name for name, kind in file.kinds.items() if kinds is None or kind in kinds], wanted)


def _named(file: RowFile, name: str, option: str, kinds: tuple[str, ...], what: str) -> str:
    if name not in file.kinds:
        raise BadInput(f"{file.shown} has no column {name!r}; it has {listed(file)}: name one with {option}")
    if file.kinds[name] not in kinds:
        raise BadInput(f"{file.shown}: the column {name!r} holds {file.kinds[name]}, not {what}")
    return name


def _lower(names: dict[str, str]) -> set[str]:
    return {name.lower() for name in names}
