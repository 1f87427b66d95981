"""The dataset: a CSV as features and labels, and which of its rows are streamed, which are fitted on.

The file is read with the csv module, since pandas.read_csv repairs what it does not understand: it moves rows that are
longer than the header to the left, and fills up shorter ones. Here every row has a cell for every name in the header,
and a cell is a number, missing, or an error that names its place.
"""

from __future__ import annotations

from pipeline import files
from pipeline.messages import MAX_BODY
from pipeline.settings import Settings, UnusableError

import bz2
import codecs
import csv
import gzip
import hashlib
import lzma
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

if TYPE_CHECKING:  # they are imported where they are used, since that takes a second
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

HELD_OUT = 4  # rows 0, 4, 8, ... are streamed, the others are fitted on
NUMBER_LENGTH = 26  # bytes of a number in JSON at most, with the comma that follows it
SEPARATORS = ";\t|,"
QUOTED = re.compile(r'"[^"]*"')
csv.field_size_limit(2**24)  # characters in a cell, such as a letter; Python's own limit is 2**17
MISSING = ("", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?", ".")  # and the same in upper case
WORDS = {**dict.fromkeys(MISSING, float("nan")), "true": 1.0, "false": 0.0}
NO_NUMBER, UNCLEAR = float("inf"), float("-inf")  # the latter is a cell such as 1,234
DECIMAL_COMMA = str.maketrans(",.", ".,")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")  # 1,234 can be meant either way
OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is the beginning of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """Which dataset, and which of its columns."""

    dataset: Annotated[str, Meta(description="the path of a CSV with a header")] = ""  # empty: the diabetes data
    target: Annotated[str, Meta(description="the column of the labels")] = ""  # empty: the last one
    drop_columns: Annotated[
        str, Meta(description="columns that are not features, such as an identifier, separated by commas")
    ] = ""


class Dataset(NamedTuple):
    """n rows: the features, NaN where one is missing, and the labels in their own unit, never missing."""

    X: pd.DataFrame  # (n, d) float64
    y: pd.Series  # (n,) float64


class Columns(NamedTuple):
    """The roles of the columns, without those that are left out."""

    features: list[str]
    target: str


class BadTableError(Exception):
    """What is wrong with the file that DATASET names."""


def held_out(n: int) -> NDArray[np.bool_]:
    """Which of n rows are streamed, as a mask (n,); the others are fitted on."""
    import numpy as np

    return np.arange(n) % HELD_OUT == 0


def row_of(sample_id: float, n: int) -> int:
    """Which of n streamed rows belongs to an id, so that a row of the log leads back to the table.

    Streamed row i is data row HELD_OUT * i + 1 of the file. A hash, so that ids at any interval draw all rows alike.
    """
    return int.from_bytes(hashlib.blake2b(repr(float(sample_id)).encode(), digest_size=8).digest(), "big") % n


def load(settings: DataSettings) -> Dataset:
    """Read the dataset. Raises UnusableError where it cannot be streamed or fitted on."""
    with _as_unusable_error(settings):
        columns = read_columns(settings)
        frame = _read_frame(settings, columns) if settings.dataset else _bundled()
        X, y = frame[columns.features], frame[columns.target]
        if len(y) < 2:
            raise BadTableError(f"takes at least two rows below the header, not {len(y)}")
        missing = y.isna().to_numpy()
        if missing.any():
            raise BadTableError(
                f"the target {y.name!r} is missing in {missing.sum()} of {len(y)} rows, first in data row "
                f"{missing.argmax() + 1}; only features may be missing: remove these rows"
            )
        if X.shape[1] * NUMBER_LENGTH > MAX_BODY:
            size = max(len(msgspec.json.encode(row)) for row in X[held_out(len(X))].to_numpy().tolist())
            if size > MAX_BODY - 100:  # the id and the keys take up to 60
                raise BadTableError(
                    f"a row of its {X.shape[1]} features makes a message of {size} bytes, and a message has at most "
                    f"{MAX_BODY}: leave out columns"
                )
    return Dataset(X, y)


def read_columns(settings: DataSettings) -> Columns:
    """Read the header only. Raises UnusableError."""
    with _as_unusable_error(settings):
        return _choose(read_names(settings), settings)


def read_column(settings: DataSettings, name: str) -> pd.Series:
    """Any column of the table: numbers, or text where one of its cells is text. Raises UnusableError.

    Columns of the bundled data are in their own units, such as years of age.
    """
    import pandas as pd

    if not settings.dataset:
        return _bundled(scaled=False)[name]
    features, target = read_columns(settings)
    with _as_unusable_error(settings):
        try:  # with the columns in use, so that a comma means the same in all of them
            return _read_frame(settings, Columns([each for each in (*features, target) if each != name], name))[name]
        except BadTableError:
            return pd.Series([cell.strip() for (cell,) in _cells(settings, [name])], name=name)


def read_names(settings: DataSettings) -> list[str]:
    """The names of all columns. Raises UnusableError."""
    if not settings.dataset:
        return list(_bundled().columns)
    with _as_unusable_error(settings), _table(settings.dataset) as (names, _):
        return names


def listed(names: list[str]) -> str:
    """Names in a sentence, the first ones where there are many."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


@contextmanager
def _as_unusable_error(settings: DataSettings) -> Iterator[None]:
    """Turn any error about the file into an UnusableError."""
    try:
        yield
    except (
        BadTableError,
        OSError,
        EOFError,
        UnicodeError,
        zlib.error,
        lzma.LZMAError,
        MemoryError,
    ) as error:
        match error:
            case BadTableError():
                text = str(error)
            case OSError(strerror=str(reason)):
                text = f"cannot be read: {reason}"
            case _:
                text = f"cannot be read: {error or type(error).__name__}"
        raise UnusableError(f"DATASET={settings.dataset!r}: {text}") from error


def _bundled(scaled: bool = True) -> pd.DataFrame:
    """Diabetes: one row per patient, scaled features, and the progression of the disease after a year."""
    from sklearn.datasets import load_diabetes

    return load_diabetes(as_frame=True, scaled=scaled).frame


def _choose(names: list[str], settings: DataSettings) -> Columns:
    """Separate features, target and the columns to leave out."""
    target, columns = _name(settings.target), set(names)
    dropped = [
        _name(name) for name in next(csv.reader([_name(settings.drop_columns)], skipinitialspace=True), []) if name
    ]
    for setting, wanted in (f"TARGET={target!r}", [target]), (f"DROP_COLUMNS={settings.drop_columns!r}", dropped):
        if unknown := [name for name in wanted if name and name not in columns]:
            raise UnusableError(f"{setting}: there is no column {listed(unknown)}; takes one of {listed(names)}")
    if target in dropped:
        raise UnusableError(f"DROP_COLUMNS={settings.drop_columns!r}: {target} is the TARGET, which cannot be left out")
    columns -= {*dropped}
    kept = [name for name in names if name in columns]
    if len(kept) < 2:
        left = f"only {listed(kept)}" if kept else "nothing"
        raise BadTableError(f"takes a target and at least one feature, but {left} is left")
    if unnamed := [name for name in kept if name.startswith("Unnamed: ")]:
        raise BadTableError(
            f"column {names.index(unnamed[0]) + 1} has no name, like the index that pandas writes: name it, save with "
            f"to_csv(index=False), or leave it out: {_leaving_out(unnamed, settings)}"
        )
    target = target or kept[-1]
    return Columns([name for name in kept if name != target], target)


def _leaving_out(names: list[str], settings: DataSettings) -> str:
    """The setting that leaves these columns out as well."""
    quoted = ['"' + name.replace('"', '""') + '"' if {*name} & {",", '"'} else name for name in dict.fromkeys(names)]
    columns = ",".join(filter(None, [settings.drop_columns, *quoted]))
    return "DROP_COLUMNS='" + columns.replace("'", "'\\''") + "'"


def _read_frame(settings: DataSettings, columns: Columns) -> pd.DataFrame:
    """The columns in use, as numbers with a decimal point, or with a decimal comma where that reads more of them."""
    import pandas as pd

    numbers, bad = _read_numbers(settings, columns, {})
    if any("," in text and not THOUSANDS.fullmatch(text) for _, text in bad.values()):
        with_comma, bad_with_comma = _read_numbers(settings, columns, DECIMAL_COMMA)
        if len(bad_with_comma) < len(bad):
            numbers, bad = with_comma, bad_with_comma
    if not bad:
        return pd.DataFrame(numbers, columns=[*columns.features, columns.target])
    cells = [f"data row {row + 1} of column {name!r} has {text[:40]!r}" for name, (row, text) in bad.items()]
    more = f"; more columns with such cells: {len(cells) - 3}" if len(cells) > 3 else ""
    features = [name for name in bad if name != columns.target]
    raise BadTableError(
        f"takes numbers only, but {'; '.join(cells[:3])}{more}. Write numbers with a decimal point and no thousands "
        "separators, leave cells empty where they are missing, encode text as numbers (M/F as 0/1)"
        + (f", or leave columns out: {_leaving_out(features, settings)}" if features else "")
    )


def _read_numbers(
    settings: DataSettings, columns: Columns, translation: dict[int, int]
) -> tuple[NDArray[np.float64], dict[str, tuple[int, str]]]:
    """All numbers, (n, d + 1), the target last; and the row and text of a cell that is none, of each column with one.

    That is the first one, but for cells such as 1,234 where there are others: they do not say what a comma means.
    """
    import numpy as np

    flat = array("d")  # 8 bytes per number
    names = [*columns.features, columns.target]
    for cells in _cells(settings, names):
        flat.extend([_number(cell, translation) for cell in cells])
    numbers = np.asarray(flat).reshape(-1, len(names))
    bad, clear = np.isinf(numbers), numbers == NO_NUMBER
    rows = {int(j): int((clear if clear[:, j].any() else bad)[:, j].argmax()) for j in np.flatnonzero(bad.any(axis=0))}
    texts = dict.fromkeys(rows, "")
    for i, cells in enumerate(islice(_cells(settings, names), max(rows.values(), default=-1) + 1)):
        texts |= {j: cells[j].strip() for j, row in rows.items() if row == i}
    return numbers, {names[j]: (rows[j], texts[j]) for j in rows}


def _cells(settings: DataSettings, wanted: list[str]) -> Iterator[list[str]]:
    """The cells of each row in these columns."""
    with _table(settings.dataset) as (names, rows):
        place = {name: i for i, name in enumerate(names)}
        used = [place[name] for name in wanted]
        for number, row in enumerate(rows, 1):
            while len(row) > len(names) and not row[-1].strip():  # from a separator at the end of the line
                row.pop()
            if len(row) != len(names):
                raise BadTableError(
                    f"data row {number} has {len(row)} cells, but the header names {len(names)} columns "
                    f"({listed(names)}). Give a column of row names a name too, and put a cell with a comma in "
                    "quotation marks"
                )
            yield [row[i] for i in used]


def _number(text: str, translation: dict[int, int]) -> float:
    """A cell as a number: NaN where it is missing, NO_NUMBER or UNCLEAR where it is none, or infinite."""
    try:
        number = float(text.translate(translation) if translation else text)
    except ValueError:
        cell = text.strip().lower()
        return WORDS.get(cell, UNCLEAR if THOUSANDS.fullmatch(cell) else NO_NUMBER)
    return NO_NUMBER if "_" in text else number  # float() takes 1_000, other programs do not


@contextmanager
def _table(path: str) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """The names in the header, `Unnamed: 0` for one without, as in pandas; and the rows of cells below it."""
    with _open(path) as file:
        start = file.read(2**20)
        plain = QUOTED.sub("", start).replace("\r", "\n").split("\n")  # without line breaks within names
        lines = list(islice(filter(str.strip, plain), 2))
        count = {separator: [line.count(separator) for line in lines] for separator in SEPARATORS}
        # A comma may be in names and numbers; any other that both lines have equally often separates for sure.
        sure = (each for each in SEPARATORS[:-1] if 0 < min(count[each], default=0) == max(count[each]))
        frequent = max(SEPARATORS, key=lambda each: (min(count[each], default=0), count[each]))
        file.seek(0)
        rows = _rows(file, next(sure, frequent))
        names = [_name(name) for name in next(rows, [])]
        while names and not names[-1]:  # from a separator at the end of the line
            names.pop()
        if len(names) < 2:
            raise BadTableError(
                "takes at least two columns, separated by comma, semicolon or tab; the first line is "
                f"{''.join(start.strip().splitlines()[:1])[:80]!r}"
            )
        _check_names([name for name in names if name])
        yield [name or f"Unnamed: {i}" for i, name in enumerate(names)], rows


def _rows(file: Any, separator: str) -> Iterator[list[str]]:
    """The header and the rows below it, without empty ones. Raises BadTableError."""
    number = 0
    try:
        for row in csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True):
            if any(map(str.strip, row)):
                yield row
                number += 1
    except csv.Error as error:  # without strict, all rows up to the next quotation mark would be one cell
        place = f"data row {number}" if number else "the header"
        raise BadTableError(f"{place} cannot be read: {error}; is a quotation mark left open?") from error


def _open(name: str) -> Any:
    """The file as text, decompressed and decoded."""
    if "://" in name:
        raise BadTableError("takes the path of a file, and this is an address: download it first")
    path = Path(name)
    if problem := files.not_a_file(path):
        raise BadTableError(problem)
    with open(path, "rb") as file:
        start = file.read(6)
    opener = next((opener for signature, opener in OPENERS.items() if start.startswith(signature)), open)
    with opener(path, "rb") as file:
        start = file.read(2**20)
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")
    errors = "as cp1252" if encoding.startswith("utf-8") else "replace"
    kind = files.recognize(start)
    if b"\0" in start and not encoding.startswith(("utf-16", "utf-32")):
        kind = kind or "binary, or UTF-16 without a byte order mark: save it as UTF-8"
    if kind:
        raise BadTableError(f"takes a CSV with a header, but the file is {kind}")
    return opener(path, "rt", encoding=encoding, errors=errors, newline="")


def _as_cp1252(error: Any) -> tuple[str, int]:
    """Bytes that are not UTF-8 are Windows-1252, which Excel writes in the western world."""
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error("as cp1252", _as_cp1252)


def _name(text: str) -> str:
    """A column's name without blanks around it, since they cannot be seen."""
    return " ".join(text.split())


def _check_names(names: list[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise BadTableError(f"more than one column is called {listed(twice)}: give each a name of its own")
    numbers = [number for name in names if abs(number := _number(name, {})) < NO_NUMBER]
    rising = numbers == sorted(numbers) and all(map(float.is_integer, numbers))
    if numbers and numbers != [*range(len(names))] and not (rising and len(numbers) < len(names)):  # such as years
        raise BadTableError(
            f"takes a CSV with a header, but the first line looks like data: {listed(names)}. Add a line with names "
            "above it; a name should not be a number"
        )
