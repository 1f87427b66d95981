"""make groups: the groups of a column, their errors and intervals; ids that lead nowhere are rejected in one line."""

from analysis import mean_and_margin
from analysis.groups import GROUPS, grouped, main, shortened
from harness import HEADER, no_warnings
from pipeline.dataset import row_of

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

N = 400  # rows of the table; every fourth is streamed
LABELS = [100.0 + i for i in range(N)]


@pytest.fixture(autouse=True)
def strict() -> Any:
    with no_warnings():
        yield


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """patients.csv: names, text with a comma and a blank, numbers with gaps, and a log of all patients."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "patient": [f"P{i}" for i in range(N)],
            "sex": random.choice(["F", "M"], N),
            "ward": random.choice(["north, old", "south", ""], N),
            "odd": random.choice(["$x^", "a" * 200, "missing", ""], N),
            "stage": random.choice([1, 2, 3], N),
            "age": random.integers(20, 90, N),
            "bmi": np.where(random.random(N) < 0.1, np.nan, random.normal(27, 4, N).round(1)),
            "constant": 7,
            "progression": LABELS,
        }
    )
    table.to_csv("patients.csv", index=False)
    monkeypatch.setenv("DATASET", "patients.csv")
    monkeypatch.setenv("DROP_COLUMNS", "patient,sex,ward,odd")
    write(table)
    return table


def residual(table: pd.DataFrame) -> "pd.Series[float]":
    """y_pred - y_true of each patient: too high for men by 10, too low for women by 30, and some scatter."""
    return np.where(table["sex"] == "M", 10.0, -30.0) + np.random.default_rng(1).normal(0, 5, len(table))


def write(table: pd.DataFrame, n: int = 1000) -> None:
    """A log of n rows under the ids that lead to their patients."""
    streamed = table.assign(residual=residual(table))[::4]
    Path("logs").mkdir(exist_ok=True)
    with Path("logs/metric_log.csv").open("w") as file:
        file.write(HEADER)
        for i in range(n):
            sample_id = round(1.7e9 + 0.01 * i, 6)
            patient = streamed.iloc[row_of(sample_id, len(streamed))]
            y_true, y_pred = float(patient["progression"]), float(patient["progression"] + patient["residual"])
            file.write(f"{sample_id!r},{y_true!r},{y_pred!r},{abs(y_true - y_pred)!r}\n")


def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, by: str) -> list[str]:
    monkeypatch.setenv("BY", by)
    main()
    return capsys.readouterr().out.splitlines()


def cells(line: str) -> list[str]:
    return re.split(r"  +", line.strip())


def test_text_that_is_no_feature_makes_groups(
    table: pd.DataFrame, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, header, women, men, looked_at, picture = printed(capsys, monkeypatch, "sex")
    assert first == "1,000 rows of the log, from 100 rows of the dataset, which count once each"
    assert cells(header) == ["sex", "n", "mean absolute error", "mean signed error"]
    streamed = table.assign(residual=residual(table))[::4].groupby("sex")["residual"]
    for line, sex, t in (women, "F", 2.02), (men, "M", 2.00):
        name, n, absolute, signed = cells(line)
        mean, margin = map(float, signed.split(" ± "))
        values = streamed.get_group(sex)
        assert (name, int(n)) == (sex, len(values))
        assert mean == pytest.approx(values.mean(), abs=0.01)
        assert margin == pytest.approx(t * values.std() / np.sqrt(len(values)), rel=0.02)
        assert float(absolute.split(" ± ")[0]) == pytest.approx(values.abs().mean(), abs=0.01)
        assert signed[0] == {"F": "-", "M": "+"}[sex]
    assert looked_at == "Groups looked at: 2. One in 20 such intervals misses the true value by chance."
    assert picture == "picture: logs/groups.png"
    with Image.open("logs/groups.png") as image:
        assert image.size[0] == 1080


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("ward", ["north, old", "south", "missing"]),
        ("odd", ["$x^", "a" * 40, "missing"]),
        ("stage", ["1", "2", "3"]),
        ("constant", ["7"]),
        ("age", ["20 to 35", "36 to 53", "54 to 71", "72 to 89"]),
        ("bmi", ["18.1 to 24.5", "24.6 to 26.9", "27 to 29.4", "29.6 to 37.2", "missing"]),
        ("progression", ["100 to 196", "200 to 296", "300 to 396", "400 to 496"]),
    ],
)
def test_a_column_of_any_kind_makes_groups(
    table: pd.DataFrame, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, by: str, names: list[str]
) -> None:
    _, _, *groups, looked_at, _ = printed(capsys, monkeypatch, by)
    found = [cells(line) for line in groups]
    if by not in ("age", "bmi"):
        assert [name for name, *_ in found] == names
    assert len(found) == len(names)
    assert sum(int(n) for _, n, *_ in found) == 100
    assert looked_at.startswith(f"Groups looked at: {len(names)}.")
    values = table[by][::4]
    if by in ("age", "bmi"):
        bounds = [tuple(map(float, name.split(" to "))) for name, *_ in found[:4]]
        assert bounds == sorted(bounds)
        assert [values.between(*bound).sum() for bound in bounds] == [int(n) for _, n, *_ in found[:4]]
        assert all(15 <= int(n) <= 35 for _, n, *_ in found[:4])


def test_numbers_of_many_digits_stay_apart(
    table: pd.DataFrame, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    days = np.where(table["sex"] == "M", 20261101, 20261102)
    table.assign(day=days)[[*table.columns[:-1], "day", "progression"]].to_csv("patients.csv", index=False)
    lines = printed(capsys, monkeypatch, "day")
    assert [line.split()[0] for line in lines if line.startswith("2026")] == ["20261101", "20261102"]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([27.4498499353754, 43.4635559340715], ["27.45", "43.46"]),
        ([20261101.0, 20261102.0, 5.0], ["20261101", "20261102", "5"]),
        ([1e9 + 0.25, 1e9 + 0.5], ["1000000000.2", "1000000000.5"]),
        ([0.1 + 0.2, 0.3], ["0.30000000000000004", "0.29999999999999999"]),
    ],
)
def test_bounds_have_as_few_digits_as_keep_them_apart(values: list[float], texts: list[str]) -> None:
    assert list(shortened(dict.fromkeys(values)).values()) == texts


def test_intervals_of_small_groups_cover_the_truth() -> None:
    """19 of 20 of those of 12 patients; with 1.96 instead of Student's t it would be 18."""
    random, hits = np.random.default_rng(2), 0
    for _ in range(1000):
        group = pd.Series(random.normal(6.3, 50, 12))
        mean, margin = mean_and_margin(group, group.index)
        hits += abs(mean - 6.3) <= margin
    assert 935 <= hits <= 965


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0], [float("nan"), 5.0], [1e-12, 2e-12, 1234567.123]])
def test_few_rows_make_groups_as_well(values: list[float]) -> None:
    assert len(grouped(pd.Series(values, name="x"))) == len(values)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0] * 80 + [*range(1, 21)], ["0", "1 to 20"]),  # cigarettes a day
        ([*range(20)] + [100] * 80, ["0 to 19", "100"]),
        ([*range(10)] + [50] * 80 + [*range(60, 70)], ["0 to 9", "50", "60 to 69"]),
        ([0] * 50 + [*range(1, 51)], ["0", "1 to 25", "26 to 50"]),
    ],
)
def test_a_number_that_most_rows_have_is_a_group_of_its_own(values: list[int], names: list[str]) -> None:
    groups = grouped(pd.Series(values, name="x"))
    assert list(groups.categories) == names
    assert groups.value_counts().sum() == len(values)


def test_a_group_of_one_row_has_no_interval(
    table: pd.DataFrame, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table["rare"] = np.where(table.index == 0, "yes", "no")
    table.insert(0, "rare", table.pop("rare"))
    table.to_csv("patients.csv", index=False)
    monkeypatch.setenv("DROP_COLUMNS", "rare,patient,sex,ward,odd")
    *_, yes, _, _ = printed(capsys, monkeypatch, "rare")
    name, n, _, signed = cells(yes)
    assert (name, n) == ("yes", "1")
    assert signed.endswith("± unknown")


# Bad input


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"BY": ""}, "BY='': takes one of the columns patient, sex, ward, odd, stage, age, bmi, constant, progression"),
        ({"BY": "Sex"}, "BY='Sex': takes one of the columns patient, sex, "),
        ({"BY": "patient"}, f"BY='patient': takes numbers, or text of {GROUPS} kinds at most, not 100"),
        ({"LOGS_DIR": "none"}, "none/metric_log.csv: cannot be read: No such file or directory"),
        ({"DATASET": "none.csv"}, "DATASET='none.csv': there is no such file"),
        ({"DATASET": "empty.csv"}, "DATASET='empty.csv': takes at least two rows below the header, not 0"),
        ({"TARGET": "age"}, "DATASET='patients.csv': the labels of "),
        ({"DROP_COLUMNS": "patient,sex"}, "or leave columns out: DROP_COLUMNS='patient,sex,ward,odd'"),
        ({"DATASET": "", "DROP_COLUMNS": ""}, "DATASET='': the labels of "),
    ],
)
def test_bad_input_is_one_line(
    table: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    problem: str,
) -> None:
    Path("empty.csv").write_text(",".join(table.columns) + "\n")
    for name, value in ({"BY": "sex"} | settings).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("groups: ")
    assert problem in line
    assert not Path("logs/groups.png").exists()


def test_one_row_of_another_producer_is_enough_to_reject(
    table: pd.DataFrame, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("logs/metric_log.csv").open("a") as file:
        file.write("1600000000.0,99.0,99.0,0.0\n")
    monkeypatch.setenv("BY", "sex")
    with pytest.raises(SystemExit):
        main()
    assert "the labels of 1 of 1,001 rows of the log are not those of the rows" in capsys.readouterr().err
