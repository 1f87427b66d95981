"""The dataset: a CSV as features and labels, and which of its rows are streamed, which are fitted on.

The file is read with the csv module rather than with pandas.read_csv, which repairs what it does not understand: it
moves rows one column to the left where they are longer than the header, and fills up those that are shorter. Here every
row has to have a cell for every name in the header, and a cell is a number, missing, or an error that names its place.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import lzma
import re
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from pipeline import files
from pipeline.messages import MAX_BODY
from pipeline.settings import Settings, UnusableError

if TYPE_CHECKING:  # loading them takes a second, during which a service could not be stopped
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

HELD_OUT = 4  # rows 0, 4, 8, ... are streamed, the others are fitted on
SEPARATORS = ",;\t|"
MISSING = ("", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?", ".")  # in any case
WORDS = {**dict.fromkeys(MISSING, float("nan")), "true": 1.0, "false": 0.0}
DECIMAL_COMMA = str.maketrans(",.", ".,")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")  # 1,234: could be either
QUOTED = re.compile(r'"[^"]*"')
NUMBER_LENGTH = 26  # bytes of a number in JSON at most, with the comma that follows it
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
    """Which dataset, and what its columns are for."""

    dataset: Annotated[
        str, Meta(description="the path of a CSV with a header; empty: the diabetes data of scikit-learn")
    ] = ""
    target: Annotated[str, Meta(description="the column of the labels; empty: the last one")] = ""
    drop_columns: Annotated[
        str, Meta(description="columns that are no features, such as an identifier; separated by commas")
    ] = ""


class Dataset(NamedTuple):
    """n rows: the features, NaN where one is missing, and the labels in their own unit, never missing."""

    X: pd.DataFrame  # (n, d) float64
    y: pd.Series  # (n,) float64


class Columns(NamedTuple):
    """What the columns of a table are for."""

    features: list[str]
    target: str


def held_out(n: int) -> NDArray[np.bool_]:
    """Which of n rows are streamed, as a mask (n,); the others are fitted on."""
    import numpy as np

    return np.arange(n) % HELD_OUT == 0


def load(settings: DataSettings) -> Dataset:
    """Read the dataset. Raises UnusableError for one that cannot be streamed or fitted on."""
    import pandas as pd

    if not settings.dataset:
        frame = _bundled()
        columns = _choose(list(frame.columns), settings)
        frame = frame[[*columns.features, columns.target]]
    else:
        columns = read_columns(settings)
        table, bad = _read(settings, None)
        if any("," in text and not THOUSANDS.fullmatch(text) for _, text in bad.values()):
            with_comma, still_bad = _read(settings, DECIMAL_COMMA)
            if len(still_bad) < len(bad):
                table, bad = with_comma, still_bad
        if bad:
            raise UnusableError(_tell_bad_cells(settings, columns, bad))
        frame = pd.DataFrame(table, columns=[*columns.features, columns.target])
    if len(frame) < 2:
        raise UnusableError(f"{_given(settings)}: takes at least two rows below the header, not {len(frame)}")
    missing = frame[columns.target].isna().to_numpy()
    if missing.any():
        raise UnusableError(
            f"{_given(settings)}: the target {columns.target!r} is missing in {missing.sum()} rows, first in data row "
            f"{missing.argmax() + 1}; only features may be missing: remove these rows, or set TARGET to another column"
        )
    dataset = Dataset(frame[columns.features], frame[columns.target])
    if len(columns.features) * NUMBER_LENGTH > MAX_BODY:
        size = max(len(msgspec.json.encode(row)) for row in dataset.X[held_out(len(frame))].to_numpy().tolist())
        if size > MAX_BODY - 100:  # of which the id and the keys take up to 60
            raise UnusableError(
                f"{_given(settings)}: a row of its {len(columns.features)} features makes a message of {size} "
                f"bytes, and a message has at most {MAX_BODY}: leave out columns"
            )
    return dataset


def read_columns(settings: DataSettings) -> Columns:
    """Read the header only. Raises UnusableError."""
    if not settings.dataset:
        return _choose(list(_bundled().columns), settings)
    with _table(settings) as (names, _):
        return _choose(names, settings)


def listed(names: list[str]) -> str:
    """Names in a sentence, the first ones where there are many."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _bundled() -> pd.DataFrame:
    """Diabetes: one row per patient, scaled features, and the progression of the disease after a year."""
    from sklearn.datasets import load_diabetes

    return load_diabetes(as_frame=True).frame


def _given(settings: DataSettings) -> str:
    return f"DATASET={settings.dataset!r}"


def _choose(names: list[str], settings: DataSettings) -> Columns:
    """Tell target, features and dropped columns apart."""
    target = settings.target.strip()
    dropped = [name.strip() for name in next(csv.reader([settings.drop_columns], skipinitialspace=True), [])]
    dropped = [name for name in dropped if name]
    for variable, value, wanted in ("TARGET", target, [target]), ("DROP_COLUMNS", settings.drop_columns, dropped):
        if unknown := [name for name in wanted if name and name not in names]:
            raise UnusableError(
                f"{variable}={value!r}: there is no column {listed(unknown)}; takes one of the columns {listed(names)}"
            )
    if target in dropped:
        raise UnusableError(f"DROP_COLUMNS={settings.drop_columns!r}: {target} is the TARGET, which cannot be left out")
    kept = [name for name in names if name not in dropped]
    target = target or (kept[-1] if kept else "")
    features = [name for name in kept if name != target]
    if not features:
        raise UnusableError(
            f"{_given(settings)}: takes a target and at least one feature, but only {listed(kept) or 'nothing'} is left"
        )
    if unnamed := [name for name in kept if name.startswith("Unnamed: ")]:
        raise UnusableError(
            f"{_given(settings)}: column {names.index(unnamed[0]) + 1} has no name, like the index that pandas writes: "
            f"name it, save with to_csv(index=False), or leave it out: DROP_COLUMNS='{','.join([*dropped, *unnamed])}'"
        )
    return Columns(features, target)


@contextmanager
def _table(settings: DataSettings) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """The names in the header, and the rows of cells below it. Whatever is wrong with the file is an UnusableError."""
    given = _given(settings)
    if "://" in settings.dataset:
        raise UnusableError(f"{given}: takes the path of a file here, not an address: download it first")
    try:
        with _open(settings.dataset, given) as file:
            line = next((line for line in file if line.strip()), "")
            separator = max(SEPARATORS, key=QUOTED.sub("", line).count)
            file.seek(0)
            lines = csv.reader(file, delimiter=separator, skipinitialspace=True)
            rows = (row for row in lines if any(cell.strip() for cell in row))
            names = [" ".join(name.split()) for name in next(rows, [])]
            while names and not names[-1]:  # from a separator at the end of the line
                names.pop()
            _check_header(names, given)
            yield [name or f"Unnamed: {i}" for i, name in enumerate(names)], rows
    except OSError as error:
        raise UnusableError(f"{given}: cannot be read: {error.strerror or error}") from error
    except csv.Error as error:
        raise UnusableError(f"{given}: cannot be read: {error}; is a quotation mark left open?") from error
    except (UnicodeError, EOFError, MemoryError, zlib.error, lzma.LZMAError) as error:
        raise UnusableError(f"{given}: cannot be read: {error or type(error).__name__}") from error


def _open(name: str, given: str) -> Any:
    """The file as text, unpacked and decoded. Raises UnusableError where it is something else than a table."""
    path = Path(name)
    if reason := files.not_a_file(path):
        raise UnusableError(f"{given}: {reason}")
    with open(path, "rb") as file:
        start = file.read(6)
    opener = next((opener for signature, opener in OPENERS.items() if start.startswith(signature)), open)
    with opener(path, "rb") as file:
        start = file.readline(2**24)
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")
    kind = files.recognize(start)
    if not kind and encoding[:6] not in ("utf-16", "utf-32") and b"\0" in start:
        kind = "binary, or text in UTF-16 without a byte order mark: save it as UTF-8"
    if kind:
        raise UnusableError(f"{given}: takes a CSV with a header, but the file is {kind}")
    try:
        start.decode(encoding if encoding == "utf-8" else "latin-1")
    except UnicodeDecodeError:
        encoding = "cp1252"  # which Excel writes in the western world
    return opener(path, "rt", encoding=encoding, errors="replace", newline="")


def _check_header(names: list[str], given: str) -> None:
    if not names:
        raise UnusableError(f"{given}: takes a CSV with a header, but the file is empty")
    if len(names) == 1:
        raise UnusableError(
            f"{given}: takes at least two columns, separated by comma, semicolon or tab, but the first line is "
            f"{names[0][:80]!r}"
        )
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise UnusableError(f"{given}: more than one column is called {listed(twice)}: give each a name of its own")
    numbers = [_number(name, None) for name in names if name]
    numbers = [number for number in numbers if abs(number) < float("inf")]
    texts = len([name for name in names if name]) - len(numbers)
    years = all(number.is_integer() for number in numbers) and numbers == sorted(numbers) and texts
    if numbers and numbers != [*range(len(numbers))] and not years:
        raise UnusableError(
            f"{given}: takes a CSV with a header, but the first line, {listed(names)}, looks like data: add a line "
            "above it with the names of the columns; a name should not be a number"
        )


def _number(text: str, swap: dict[int, int] | None) -> float:
    """A cell as a number: NaN where it is missing, infinite where it is none."""
    try:
        number = float(text.translate(swap) if swap else text)
    except ValueError:
        return WORDS.get(text.strip().lower(), float("inf"))
    return float("inf") if "_" in text else number  # Python takes 1_000, nobody else does


def _cells(settings: DataSettings) -> Iterator[list[str]]:
    """The cells of each row, those of the features first, then the target's."""
    with _table(settings) as (names, rows):
        columns = _choose(names, settings)
        used = [names.index(name) for name in (*columns.features, columns.target)]
        for number, row in enumerate(rows, 1):
            while len(row) > len(names) and not row[-1].strip():  # from a separator at the end of the line
                row.pop()
            if len(row) != len(names):
                raise UnusableError(
                    f"{_given(settings)}: data row {number} has {len(row)} cells, but the header names {len(names)} "
                    f"columns ({listed(names)}). Row names need a name too; a comma in a cell needs quotation marks"
                )
            yield [row[i] for i in used]


def _read(
    settings: DataSettings, swap: dict[int, int] | None
) -> tuple[NDArray[np.float64], dict[int, tuple[int, str]]]:
    """All numbers, (n, d + 1), the target last, infinite where a cell is no number; and where these cells are.

    The latter as the column's index -> the row's index and the text of the first such cell.
    """
    import numpy as np

    numbers, width = array("d"), len(read_columns(settings).features) + 1
    for cells in _cells(settings):
        numbers.extend([_number(cell, swap) for cell in cells])
    table = np.array(numbers).reshape(-1, width)
    is_bad = np.isinf(table)
    first = {int(column): int(is_bad[:, column].argmax()) for column in np.flatnonzero(is_bad.any(axis=0))}
    bad: dict[int, tuple[int, str]] = {}
    if first:
        rows = set(first.values())
        for number, cells in enumerate(islice(_cells(settings), max(rows) + 1)):
            if number in rows:
                bad |= {column: (number, cells[column].strip()) for column, row in first.items() if row == number}
    return table, bad


def _tell_bad_cells(settings: DataSettings, columns: Columns, bad: dict[int, tuple[int, str]]) -> str:
    """One line that names all columns which are not numbers, the first such cell of some, and what to do."""
    names = [*columns.features, columns.target]
    cells = [f"data row {row + 1} of column {names[i]!r} has {text[:40]!r}" for i, (row, text) in bad.items()]
    text = f"{_given(settings)}: takes numbers only, but {'; '.join(cells[:3])}"
    if len(cells) > 3:
        text += f"; the same with {len(cells) - 3} more columns"
    text += ". Write numbers with a decimal point and without thousands separators; a missing value is an empty cell"
    if features := [names[i] for i in bad if i < len(columns.features)]:
        dropped = [settings.drop_columns] if settings.drop_columns else []
        quoted = [f'"{name}"' if "," in name else name for name in features]
        text += (
            f"; encode text as numbers (M/F as 0/1), or leave it out: DROP_COLUMNS='{','.join([*dropped, *quoted])}'"
        )
    return text
