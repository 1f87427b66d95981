"""The ids and the dataset."""

import features

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes

clock = st.floats(1.6e9, 4e9)


@given(st.lists(clock, min_size=1, max_size=50))
def test_ids_increase_whatever_the_clock_does(times: list[float]) -> None:
    last, ids = 0.0, []
    for now in times:
        last = features.next_id(last, now)
        ids.append(last)
    assert all(a < b for a, b in pairwise(ids))
    assert abs(ids[0] - times[0]) < 1e-6
    assert ids[-1] < max(times) + 1e-3


def test_the_bundled_data_is_the_default() -> None:
    X, y = features.load("", "")
    expected_X, expected_y = load_diabetes(return_X_y=True)
    np.testing.assert_array_equal(X, expected_X)
    np.testing.assert_array_equal(y, expected_y)


@pytest.mark.parametrize(("target", "column"), [("", 2), ("b", 1)])
def test_a_csv_gives_its_columns(tmp_path: Path, target: str, column: int) -> None:
    path = tmp_path / "some.csv"
    path.write_text("a,b,c\n1,2,3\n4,5,6.5\n7,8,9e3\n")
    table = np.array([[1, 2, 3], [4, 5, 6.5], [7, 8, 9000]])
    X, y = features.load(str(path), target)
    np.testing.assert_array_equal(X, np.delete(table, column, axis=1))
    np.testing.assert_array_equal(y, table[:, column])


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("a,b\n1,2\n3,x\n", "", "data row 2 of column 'b' has 'x'"),
        ("a,b\n1,2\n3,\n", "", "data row 2 of column 'b' has 'nan'"),
        ("a,b\n1,2\n3,inf\n", "", "data row 2 of column 'b' has 'inf'"),
        ("a,b\n1,2\n3,4\n", "c", "TARGET='c': takes one of the columns a, b"),
        ("a,b\n1,2\n", "", "two rows"),
        ("a,b\n", "", "two rows"),
        ("a\n1\n2\n", "", "two columns"),
        ("", "", "No columns"),
        ("a,b\n1,2\n1,2,3\n", "", "Expected 2 fields in line 3"),
    ],
)
def test_a_bad_dataset_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, target: str, message: str
) -> None:
    path = tmp_path / "some.csv"
    path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        features.load(str(path), target)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_password_is_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        features.fail("AMQP_URL='amqp://me:sec/r:et@host,amqp://me:secret@other' is bad; https://example.org is not")
    assert "amqp://me:***@other' is bad; https://example.org is not" in (error := capsys.readouterr().err)
    assert "sec" not in error
