"""Tables that people bring: read as they are meant, or rejected in one line that leads to the cure."""

from harness import ROOT
from pipeline.dataset import Dataset, DataSettings, held_out, load, read_column, read_columns, read_names
from pipeline.settings import UnusableError

import bz2
import gzip
import lzma
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes

NAN = float("nan")


def written(folder: Path, content: str | bytes) -> str:
    path = folder / "some.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(folder: Path, content: str | bytes, target: str = "", drop: str = "") -> Dataset:
    return load(DataSettings(dataset=written(folder, content), target=target, drop_columns=drop))


def rejection(folder: Path, content: str | bytes, target: str = "", drop: str = "") -> str:
    """The line that a person reads: one line, which names the variable and its value."""
    with pytest.raises(UnusableError) as caught:
        read(folder, content, target, drop)
    text = str(caught.value)
    assert text.startswith((f"DATASET='{folder / 'some.csv'}': ", "TARGET='", "DROP_COLUMNS='"))
    assert "\n" not in text
    return text


def check(dataset: Dataset, names: list[str], table: list[list[float]]) -> None:
    """Compare with a table whose last column is the target."""
    assert [*dataset.X.columns, dataset.y.name] == names
    np.testing.assert_array_equal(np.column_stack(dataset), np.array(table, float))
    assert {*dataset.X.dtypes, dataset.y.dtype} == {np.dtype(float)}


def test_the_bundled_data_is_the_default() -> None:
    X, y = load(DataSettings())
    expected_X, expected_y = load_diabetes(return_X_y=True)
    np.testing.assert_array_equal(X, expected_X)
    np.testing.assert_array_equal(y, expected_y)
    X, y = load(DataSettings(target="bmi", drop_columns="sex, target"))
    assert y.name == "bmi"
    assert list(X.columns) == ["age", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]


def test_every_fourth_row_is_held_out() -> None:
    assert np.flatnonzero(held_out(10)).tolist() == [0, 4, 8]
    assert held_out(442).sum() == 111


@pytest.mark.parametrize(("target", "column"), [("", 2), ("b", 1), (" a ", 0)])
def test_a_csv_gives_its_columns(tmp_path: Path, target: str, column: int) -> None:
    table = np.array([[1, 2, 3], [4, 5, 6.5], [-7, 8, 9e3]])
    X, y = read(tmp_path, "a,b,c\n1,2,3\n4,5,6.5\n-7,8,9e3\n", target)
    np.testing.assert_array_equal(X, np.delete(table, column, axis=1))
    np.testing.assert_array_equal(y, table[:, column])
    assert read_columns(DataSettings(dataset=str(tmp_path / "some.csv"), target=target)) == (list(X.columns), y.name)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sex", ["F", "M", ""]),
        ("age", [50.0, NAN, 61.0]),
        ("dose", [1.5, 2.0, 0.25]),
        ("note", ["1", "2,5; or 3", "4"]),
    ],
)
def test_any_column_can_be_read(tmp_path: Path, name: str, values: list[object]) -> None:
    content = 'sex;age;dose;note;y\n F;50;1,5;1;1\nM;na;2;"2,5; or 3";2\n;61;0,25;4;3\n'
    settings = DataSettings(dataset=written(tmp_path, content), drop_columns="sex,note")
    assert read_names(settings) == ["sex", "age", "dose", "note", "y"]
    pd.testing.assert_series_equal(read_column(settings, name), pd.Series(values, name=name), check_dtype=False)


@pytest.mark.parametrize("dropped", ["", "krea"])
def test_a_column_is_read_with_the_decimal_comma_of_the_others(tmp_path: Path, dropped: str) -> None:
    """1,381 alone may be meant either way."""
    path = written(tmp_path, "gewicht;krea;y\n67,1;1,381;2,34\n70,25;0,998;3,5\n")
    column = read_column(DataSettings(dataset=path, drop_columns=dropped), "krea")
    assert column.tolist() == [1.381, 0.998]


@pytest.mark.parametrize("rows", [["1,381", "0,998"], ["0,998", "1,381"], ["1,381", "5", "10,25"]])
def test_one_cell_that_says_what_its_comma_means_is_enough(tmp_path: Path, rows: list[str]) -> None:
    dataset = read(tmp_path, "krea;y\n" + "".join(f"{cell};2\n" for cell in rows))
    assert dataset.X["krea"].tolist() == [float(cell.replace(",", ".")) for cell in rows]


@pytest.mark.parametrize(
    ("header", "row", "names"),
    [
        ("weight, kg;height, cm;y", "70,5;180,2;3,4", ["weight, kg", "height, cm", "y"]),
        ("weight, kg;height, cm;dose, mg", "70,5;180,2;3,4", ["weight, kg", "height, cm", "dose, mg"]),
        ("a, b;y", "1,5;2,5", ["a, b", "y"]),
        ("weight, kg\theight, cm, mean\ty", "70,5\t180,2\t3,4", ["weight, kg", "height, cm, mean", "y"]),
        ("a;b,c", "1,2", ["a;b", "c"]),
    ],
)
def test_commas_may_be_in_names_and_numbers(tmp_path: Path, header: str, row: str, names: list[str]) -> None:
    dataset = read(tmp_path, f"{header}\n{row}\n{row}\n")
    assert [*dataset.X.columns, dataset.y.name] == names


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_name_may_have_a_line_break(tmp_path: Path, separator: str, line_break: str) -> None:
    """Which Excel writes for one made by Alt+Enter."""
    lines = [f'"blood{line_break}pressure"{separator}"y{line_break}(mm)"', f"1{separator}2", f"3{separator}4", ""]
    check(read(tmp_path, line_break.join(lines)), ["blood pressure", "y (mm)"], [[1, 2], [3, 4]])


def test_bytes_that_are_not_utf_8_are_windows_1252_wherever_they_are(tmp_path: Path) -> None:
    start, end = "ward;größe;y\n" + "x;1;2\n" * 200_000, "Möller;3;4\nMüller;5;6\n"
    path = written(tmp_path, start.encode() + end.encode("cp1252"))
    assert read_names(DataSettings(dataset=path)) == ["ward", "größe", "y"]
    column = read_column(DataSettings(dataset=path, drop_columns="ward"), "ward")
    assert column.tolist()[-2:] == ["Möller", "Müller"]


def test_a_line_break_in_a_setting_is_a_blank(tmp_path: Path) -> None:
    assert [*read(tmp_path, "a,b,c,y\n1,2,3,4\n5,6,7,8\n", drop="a,\r\nb\n").X.columns] == ["c"]


@pytest.mark.parametrize("name", ["patient's id", 'h, 5"', '"q" x', "a b"])
def test_the_setting_that_is_advised_can_be_pasted(tmp_path: Path, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    content = f"{quoted},b,y\nno,2,3\nno,5,6\n"
    (advice,) = re.findall(r"DROP_COLUMNS=.*", rejection(tmp_path, content))
    script = f'{advice}; printf %s "$DROP_COLUMNS"'
    drop = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert [*read(tmp_path, content, drop=drop).X.columns] == ["b"]


def test_a_cell_may_be_a_letter(tmp_path: Path) -> None:
    text = "a word " * 50_000
    check(read(tmp_path, f'a,note,y\n1,"{text}",3\n4,,6\n', drop="note"), ["a", "y"], [[1, 3], [4, 6]])


def test_columns_of_the_bundled_data_are_in_their_own_units() -> None:
    assert read_names(DataSettings()) == [*load_diabetes().feature_names, "target"]
    assert set(read_column(DataSettings(), "sex")) == {1, 2}
    assert read_column(DataSettings(), "age").between(18, 80).all()


@given(st.lists(st.tuples(*[st.floats(allow_infinity=False)] * 2, st.floats(-1e9, 1e9)), min_size=2))
def test_what_pandas_writes_is_read_back_to_the_same_float(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]]
) -> None:
    text = pd.DataFrame(rows, columns=["a", "b", "y"]).to_csv(index=False)
    check(read(tmp_path_factory.getbasetemp(), text), ["a", "b", "y"], [[*row] for row in rows])


@pytest.mark.parametrize(
    ("separator", "point"), [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), ("|", "."), (",", ",")]
)
def test_separator_and_decimal_comma_are_found_out(tmp_path: Path, separator: str, point: str) -> None:
    frame = pd.DataFrame({"age, years": [50, 61, 47], "b": [0.5, -1.25, NAN], "y": [1e-3, 2.0, 3.5]})
    text = frame.to_csv(index=False, sep=separator, decimal=point)
    check(read(tmp_path, text), list(frame.columns), frame.to_numpy().tolist())


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("height, cm, barefoot;weight;y\n1;2;3\n4;5;6\n", ["height, cm, barefoot", "weight", "y"]),
        ("ratio a|b|c,b,y\n1,2,3\n4,5,6\n", ["ratio a|b|c", "b", "y"]),
        ("from;to;by\tb\ty\n1\t2\t3\n4\t5\t6\n", ["from;to;by", "b", "y"]),
    ],
)
def test_a_separator_in_a_name(tmp_path: Path, content: str, names: list[str]) -> None:
    check(read(tmp_path, content), names, [[1, 2, 3], [4, 5, 6]])


def test_a_separator_in_quotation_marks_separates_nothing(tmp_path: Path) -> None:
    content = '"a;b;c",b,y\n"p;q;r",1,2\n"p;q;r",3,4\n'
    check(read(tmp_path, content, drop="a;b;c"), ["b", "y"], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "content",
    [
        "\n\na,größe\n1,2\n\n3,4\n\n",
        '"a","größe"\r\n"1","2"\r\n"3","4"\r\n',
        "a,größe\r1,2\r3,4\r",
        "a , größe\n 1, 2 \n3 ,4",
        '"a", "größe"\n"1", "2"\n"3", "4"\n',
        "a,größe,\n1,2,\n3,4,\n",
        "a,größe\n1,2,\n3,4,\n",
        "a;größe;;;\n1;2;;;\n3;4;;;\n;;;;\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-32"])
def test_ways_to_write_one_table(tmp_path: Path, content: str, encoding: str) -> None:
    check(read(tmp_path, content.encode(encoding)), ["a", "größe"], [[1, 2], [3, 4]])


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_tables(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    content = b"a,y\n" + b"1,2\n" * 1000
    check(read(tmp_path, compress(content)), ["a", "y"], [[1, 2]] * 1000)
    assert "cannot be read: " in rejection(tmp_path, compress(content)[:30])


def test_missing_features_are_read(tmp_path: Path) -> None:
    cells = ["", "  ", "NA", "NaN", "nan", "null", "NULL", "None", "N/A", "#N/A", "<NA>", "?", "."]
    content = "a,b,y\n" + "".join(f"{cell},1,2\n" for cell in cells)
    check(read(tmp_path, content), ["a", "b", "y"], [[NAN, 1, 2]] * len(cells))


@pytest.mark.parametrize("cells", [("True", "False"), ("TRUE", "FALSE"), ("true", "false"), ("1", "0")])
def test_truth_is_one(tmp_path: Path, cells: tuple[str, str]) -> None:
    check(read(tmp_path, "a,y\n{},0\n{},1\n".format(*cells)), ["a", "y"], [[1, 0], [0, 1]])


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("a,b,c,y\n1,2,3,4,7\n", "data row 1 has 5 cells, but the header names 4 columns (a, b, c, y)"),
        ("a,y\nanna,1,2\nbert,3,4\n", "data row 1 has 3 cells"),
        ("a,y\n1,2\n3,4\n5,6,7\n", "data row 3 has 3 cells"),
        ("a,b,y\n1,2,3\n\n4,5\n6,7,8\n", "data row 2 has 2 cells, but the header names 3"),
        ("a,y\n1,5,2,5\n", "data row 1 has 4 cells"),  # decimal commas
        ('a,y\n"1,2\n3,4\n', "data row 1 cannot be read"),
        ("a;b;y\n1;2\n3;4\n", "data row 1 has 2 cells"),
    ],
)
def test_each_row_has_as_many_cells_as_the_header(tmp_path: Path, content: str, row: str) -> None:
    assert row in rejection(tmp_path, content)


@pytest.mark.parametrize("content", [",a,y\n0,1,2\n1,3,4\n", "Unnamed: 0,a,y\n0,1,2\n1,3,4\n"])
def test_the_index_that_pandas_writes_is_no_feature(tmp_path: Path, content: str) -> None:
    text = rejection(tmp_path, content)
    assert "column 1 has no name" in text
    assert "DROP_COLUMNS='Unnamed: 0'" in text
    check(read(tmp_path, content, drop="Unnamed: 0"), ["a", "y"], [[1, 2], [3, 4]])


def test_a_column_without_a_name_in_the_middle(tmp_path: Path) -> None:
    assert "column 2 has no name" in rejection(tmp_path, "a,,y\n0,1,2\n1,3,4\n")
    assert "DROP_COLUMNS='id,Unnamed: 2'" in rejection(tmp_path, "id,a, ,y\n0,1,2,3\n1,3,4,5\n", drop="id")


@pytest.mark.parametrize(
    "content",
    [
        "1,2,3\n4,5,6\n",
        "0.5,-1,3\n4,5,6\n",
        "63;1;145\n67;1;160\n",
        "M,34,1.2,7\nF,33,1.3,8\n",
        "P01,34,120,7\nP02,33,130,8\n",
        "1,,3\n4,5,6\n",
    ],
)
def test_a_file_without_a_header_does_not_lose_its_first_row(tmp_path: Path, content: str) -> None:
    assert "the first line looks like data" in rejection(tmp_path, content)


@pytest.mark.parametrize("names", ["0,1,2", "0,1,y", "id,2019,2020", "2010,2015,y", "x1,x2,y", "1st,2nd,y"])
def test_numbers_that_are_names(tmp_path: Path, names: str) -> None:
    check(read(tmp_path, f"{names}\n1,2,3\n4,5,6\n"), names.split(","), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("content", "names"), [("a,a,y\n1,2,3\n", "a"), ("a, a ,y\n1,2,3\n", "a"), ("y;b;c;b;y\n1;2;3;4;5\n", "y, b")]
)
def test_a_name_stands_for_one_column(tmp_path: Path, content: str, names: str) -> None:
    assert f"more than one column is called {names}:" in rejection(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        ("a\n1\n2\n", "at least two columns, separated by comma, semicolon or tab; the first line is 'a'"),
        ("a b y\n1 2 3\n", "the first line is 'a b y'"),
        ('"a,y"\n"1,2"\n', "the first line is '\"a,y\"'"),
        ("Report of May,,\na,b,y\n1,2,3\n", "the first line is 'Report of May,,'"),
        ("a,y\n", "at least two rows below the header, not 0"),
        ("a;y\n\n1;2\n", "at least two rows below the header, not 1"),
        ("<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"\xef\xbb\xbf\n<html>", "a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
        ('{"a": [1, 2]}', "JSON"),
        ('[\n {"a": 1, "y": 2}]', "JSON"),
        (b"PK\x03\x04\x14\0\x06\0", ".xlsx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".xls"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"SQLite format 3\0", "SQLite"),
        (b"\x28\xb5\x2f\xfd\x04\0", "zstd"),
        (gzip.compress(b"PAR1\x15\x04", mtime=0), "Parquet"),
        (b"\x80\x04\x95\0\0\0\0", "binary"),
        ("a,y\n1,2\n".encode("utf-16-le"), "UTF-16"),
        ('a,y\n"' + "1,2\n" * 50_000, "is a quotation mark left open?"),
        ('a,y\n"' + "1,2\n" * 50_000, "data row 1 cannot be read"),
        ('a,y\n1,2\n\n3,"4\n5,6\n', "data row 2 cannot be read"),
        ('"a,y\n1,2\n3,4\n', "the header cannot be read"),
        ('i\tnote\ty\n1\t"severe pain\t2\n2\tnone\t3\n3\t"mild" pain\t4\n', "data row 1 cannot be read"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: str | bytes, what: str) -> None:
    assert what in rejection(tmp_path, content)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("1" * 401, "1" * 40),
        ("inf", "inf"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("12 kg", "12 kg"),
        ("5%", "5%"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2024-05-01", "2024-05-01"),
        ("yes", "yes"),
        ('"1,000"', "1,000"),
        ('"1.234,5"', "1.234,5"),
        ("1 000", "1 000"),
        ('"<5"', "<5"),
        ('"two\nlines"', "two\\nlines"),
    ],
)
@pytest.mark.parametrize("column", ["a", "y"])
def test_a_cell_that_is_no_number_is_named(tmp_path: Path, cell: str, shown: str, column: str) -> None:
    other = {"a": f"{cell},4", "y": f"4,{cell}"}[column]
    text = rejection(tmp_path, f"a,y\n1.5,2.5\n3,4\n{other}\n5,6\n")
    assert f"data row 3 of column '{column}' has '{shown}'" in text
    assert ("DROP_COLUMNS='a'" in text) == (column == "a")  # the target cannot be left out


def test_text_columns_are_named_all_at_once_with_the_setting_that_leaves_them_out(tmp_path: Path) -> None:
    content = 'id,sex,date,"town, ward",age,y\nP1,M,2024-05-01,"Ulm, 3",,3\nP2,F,2024-05-02,"Ulm, 4",61,4\n'
    text = rejection(tmp_path, content)
    assert "data row 1 of column 'id' has 'P1'; data row 1 of column 'sex' has 'M'; data row 1 of column 'date'" in text
    assert "M/F as 0/1" in text
    cure = 'id,sex,date,"town, ward"'
    assert f"DROP_COLUMNS='{cure}'" in text
    check(read(tmp_path, content, drop=cure), ["age", "y"], [[NAN, 3], [61, 4]])
    assert "DROP_COLUMNS='id,sex,date,\"town, ward\"'" in rejection(tmp_path, content, drop="id,sex")


def test_points_and_commas_are_not_guessed(tmp_path: Path) -> None:
    """1,234 alone can be meant either way."""
    assert "has '1,234'" in rejection(tmp_path, 'a,y\n"1,234",2\n"5,678",3\n')
    assert "has '1,234.5'" in rejection(tmp_path, 'a,y\n"1,234",2\n"1,234.5",3\n')
    assert "has '1,5'" in rejection(tmp_path, "a\tb\ty\n1,5\t2.5\t3\n4\t5\t6\n")
    assert "has '1,5'" in rejection(tmp_path, "a;y\n1,5;2\n1.5;3\n")
    check(read(tmp_path, "a;y\n0,123;2\n1;3\n"), ["a", "y"], [[0.123, 2], [1, 3]])


@pytest.mark.parametrize("content", ["a,y\n1,2\n3,\n", "a,y\n1,2\n3,NA\n5,nan\n", "y;a\n1;2\n;3\n"])
def test_the_target_is_never_missing(tmp_path: Path, content: str) -> None:
    text = rejection(tmp_path, content, target="y")
    assert "the target 'y' is missing in" in text
    assert "first in data row 2" in text


@pytest.mark.parametrize(
    ("target", "drop", "what"),
    [
        ("z", "", "TARGET='z': there is no column z; takes one of a, b, y"),
        ("Y", "", "TARGET='Y': there is no column Y"),
        ("", "b, z,q", "DROP_COLUMNS='b, z,q': there is no column z, q; takes one of a, b, y"),
        ("y", "y", "DROP_COLUMNS='y': y is the TARGET"),
        (" y", "a,y ", "y is the TARGET"),
        ("", "a,b", "at least one feature, but only y is left"),
        ("", "a,b,y", "but nothing is left"),
    ],
)
def test_settings_that_do_not_fit_the_columns(tmp_path: Path, target: str, drop: str, what: str) -> None:
    assert what in rejection(tmp_path, "a,b, y\n1,2,3\n4,5,6\n", target, drop)


def test_the_last_column_that_is_not_left_out_is_the_target(tmp_path: Path) -> None:
    check(read(tmp_path, "a,b,y,id\n1,2,3,x\n4,5,6,y\n", drop="id"), ["a", "b", "y"], [[1, 2, 3], [4, 5, 6]])


def test_a_blank_that_nobody_sees_is_no_part_of_a_name(tmp_path: Path) -> None:
    content = "a , y\n1,2\n3,4\n"
    for target in "y", " y", "y ":
        check(read(tmp_path, content, target=target), ["a", "y"], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("dataset", "what"),
    [
        ("s3://bucket/some.csv", "this is an address: download it first"),
        ("https://example.org/some.csv", "an address"),
        ("file:///some.csv", "an address"),
        ("/nowhere/some.csv", "there is no such file"),
        ("nowhere.csv", f"there is no such file in {Path.cwd()}"),
        ("/", "this is a folder"),
        ("/dev/null", "this is a device or a pipe"),
        ("n" * 300, "cannot be read: File name too long"),
    ],
)
def test_what_is_no_file_is_named(dataset: str, what: str) -> None:
    with pytest.raises(UnusableError, match=f"DATASET='{dataset}': .*{what}"):
        load(DataSettings(dataset=dataset))


def test_a_row_that_fits_in_no_message_is_told_before_it_is_sent(tmp_path: Path) -> None:
    names = ",".join(f"g{i}" for i in range(60_000))
    long, short = (f"{names},y\n" + (cell * 60_000 + "1\n") * 2 for cell in ("0.1234567890123456,", "1.5,"))
    assert "a row of its 60000 features makes a message of 1" in rejection(tmp_path, long)
    assert read(tmp_path, short).X.shape == (2, 60_000)


@given(st.binary(max_size=200) | st.text(alphabet="ay01.,;\"\t\n |'", max_size=60).map(str.encode))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = written(tmp_path_factory.getbasetemp(), content)
    try:
        X, y = load(DataSettings(dataset=path))
    except UnusableError:
        return
    assert len(X) == len(y) >= 2
    assert not np.isinf(X).any(axis=None)
    assert np.isfinite(y).all()


def test_importing_it_loads_neither_numpy_nor_pandas() -> None:
    """A service that is still loading them cannot be stopped."""
    code = "import pipeline.dataset, sys; print(sorted({'numpy', 'pandas', 'sklearn'} & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout == "[]\n"


def test_many_rows_do_not_take_long(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(20_000, 10)).round(3)
    path = written(tmp_path, pd.DataFrame(table).to_csv(index=False))
    start = time.monotonic()
    check(load(DataSettings(dataset=path)), [str(i) for i in range(10)], table.tolist())
    assert time.monotonic() - start < 5  # it takes 0.1 s
