"""make compare: the intervals hold what they say, also where rows are drawn again and again; bad input is one line."""

from analysis import mean_and_margin, read_log, with_margin
from analysis.compare import CompareSettings, compare, draw, main
from harness import HEADER, no_warnings
from pipeline.dataset import DataSettings, held_out, load, row_of

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]


def ids(n: int) -> list[float]:
    return [round(1.7e9 + 0.01 * i, 6) for i in range(n)]


def write(folder: Path, ids: Sequence[float], y_true: Any, y_pred: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = zip(ids, map(float, y_true), map(float, y_pred), strict=True)
    text = "".join(f"{sample_id!r},{label!r},{pred!r},{abs(label - pred)!r}\n" for sample_id, label, pred in rows)
    (folder / "metric_log.csv").write_text(HEADER + text)


def test_a_number_of_400_digits_is_none(tmp_path: Path) -> None:
    (tmp_path / "metric_log.csv").write_text(HEADER + "1,2,3,1\n1,1,1," + "9" * 400 + "\n")
    assert read_log(str(tmp_path)).to_numpy().tolist() == [[1, 2, 3, 1]]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "logs", tmp_path / "logs/challenger"


@pytest.fixture(autouse=True)
def strict() -> Any:
    with no_warnings():
        yield


def printed(capsys: pytest.CaptureFixture[str], **settings: str) -> list[str]:
    compare(CompareSettings(**settings))
    return capsys.readouterr().out.splitlines()


def verdict(lines: list[str]) -> str:
    (line,) = (line for line in lines if re.search("better|alike", line))
    return line


def test_labels_that_are_large_are_samples_of_their_own(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    y = 1e8 + np.arange(60)
    write(folders[0], ids(60), y, y + np.linspace(1, 2, 60))
    write(folders[1], ids(60), y, y + np.linspace(5, 6, 60))
    lines = printed(capsys)
    assert lines[0] == "60 pairs, of 60 different values; equal ones are taken as one sample"
    assert verdict(lines) == "The model of logs is better."


def test_equal_pairs_that_cannot_be_told_apart_are_said(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 1000)
    write(folders[0], ids(1000), y, random.integers(0, 2, 1000))
    write(folders[1], ids(1000), y, y)
    hint = "Ids that lead to rows of DATASET would show which of the equal pairs are different samples."
    assert hint in printed(capsys)


@pytest.mark.parametrize("n", [2, 3, 111, 1000])
def test_every_sample_is_in_the_picture_or_in_its_title(n: int) -> None:
    differences = pd.Series(np.random.default_rng(n).normal(0, 1, n))
    (axes,) = draw(differences, 0.0, 0.1, ["a", "b"], "").axes
    left_out = re.search("([0-9]+) of them beyond the axis", axes.get_title(loc="left"))
    shown = sum(bar.get_height() for bar in axes.containers[0])
    assert shown + int(left_out[1] if left_out else 0) == n
    assert bool(left_out) == (n > 200)


# The interval


def test_the_interval_of_independent_samples_is_students() -> None:
    values = pd.Series(np.random.default_rng(0).gamma(2, 20, 40))
    mean, margin = mean_and_margin(values, values.index)
    assert mean == pytest.approx(values.mean())
    assert margin == pytest.approx(2.0227 * values.std() / math.sqrt(40), rel=1e-4)  # t of 39 degrees of freedom


@pytest.mark.parametrize(("samples", "draws"), [(111, 2000), (30, 100), (500, 500)])
def test_the_interval_covers_the_truth_although_samples_are_drawn_again(samples: int, draws: int) -> None:
    """Samples of a population, each with an error of its own, drawn at random: 19 of 20 intervals hold its mean."""
    random, hits, naive_hits = np.random.default_rng(samples), 0, 0
    for _ in range(1000):
        own = random.gamma(2, 20, samples)
        drawn = random.integers(0, samples, draws)
        values = pd.Series(own[drawn])
        mean, margin = mean_and_margin(values, drawn)
        hits += abs(mean - 40) <= margin
        naive_hits += abs(mean - 40) <= 1.96 * values.std() / math.sqrt(draws)
    assert 920 <= hits <= 970
    assert naive_hits < 900  # what is wrong with taking the rows as independent


def test_an_interval_needs_two_samples() -> None:
    assert math.isnan(mean_and_margin(pd.Series([1.0, 2.0, 3.0]), np.zeros(3))[1])
    assert with_margin(2.0, math.nan) == "2.000 ± unknown"


@pytest.mark.parametrize(
    ("mean", "margin", "text"),
    [
        (50.12, 9.28, "50.12 ± 9.28"),
        (-17.54, 16.13, "-17.5 ± 16.1"),
        (1234567.0, 12345.6, "1,234,567 ± 12,346"),
        (3.25e-5, 1.5e-6, "0.00003250 ± 0.00000150"),
        (1.0, 0.0, "1.000 ± 0.000"),
        (1.0, 1e-17, "1.000000000000 ± 0.000000000000"),
        (1e20, 1e18, "100,000,000,000,000,000,000 ± 1,000,000,000,000,000,000"),
    ],
)
def test_numbers_have_the_digits_that_their_margin_allows(mean: float, margin: float, text: str) -> None:
    assert with_margin(mean, margin) == text


# The verdict


def bundled() -> tuple[Floats, Floats]:
    """The labels of the streamed rows, and predictions of a model with errors like the bundled one's."""
    data = load(DataSettings())
    y = data.y[held_out(len(data.y))].to_numpy()
    return y, y + np.random.default_rng(5).normal(0, 55, len(y))


def test_draws_of_one_patient_count_together(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    y, first = bundled()
    second = first + np.random.default_rng(6).normal(0, 15, len(y))
    drawn = [row_of(sample_id, len(y)) for sample_id in ids(3000)]
    for folder, pred in zip(folders, (first, second), strict=True):
        write(folder, ids(3000), y[drawn], pred[drawn])
    lines = printed(capsys)
    assert lines[0] == "3,000 pairs, from 111 rows of the dataset, which count once each"
    difference = np.abs(second - y) - np.abs(first - y)
    margin = 1.9818 * difference.std(ddof=1) / math.sqrt(111)
    assert lines[3] == f"logs/challenger minus logs: {difference.mean():+.2f} ± {margin:.2f} (95 % interval)"
    assert verdict(lines) == "Which one is better cannot be decided yet: the interval of the difference includes 0."
    with Image.open(folders[0] / "compare.png") as picture:
        assert picture.size == (960, 600)


@pytest.mark.parametrize(("shift", "better"), [(30.0, "logs"), (-30.0, "logs/challenger")])
def test_a_clear_difference_is_told(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], shift: float, better: str
) -> None:
    y = np.random.default_rng(1).uniform(25, 346, 200)
    errors = np.random.default_rng(2).uniform(50, 90, 200)
    write(folders[0], ids(200), y, y + errors)
    write(folders[1], ids(200), y, y + errors + shift + np.random.default_rng(3).normal(0, 20, 200))
    lines = printed(capsys)
    assert lines[0] == "200 pairs, of 200 different values; equal ones are taken as one sample"
    assert verdict(lines) == f"The model of {better} is better."


def test_two_equally_good_models_are_hardly_ever_told_apart(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """20 streams of 50 patients drawn 20 times each, in which neither model is better; the ids lead nowhere."""
    random, verdicts = np.random.default_rng(11), 0
    for _ in range(20):
        y = random.uniform(25, 346, 50)
        drawn = random.integers(0, 50, 1000)
        for folder in folders:
            write(folder, ids(1000), y[drawn], (y + random.normal(0, 50, 50))[drawn])
        verdicts += "The model of" in verdict(printed(capsys))
    assert verdicts <= 3  # 1 is expected; with 1,000 rows taken as independent it would be most of them


def test_last_digits_that_vary_make_no_other_sample(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(4)
    y = random.uniform(25, 346, 40)
    drawn = random.integers(0, 40, 400)
    for folder in folders:
        pred = y + random.normal(0, 50, 40)
        write(folder, ids(400), y[drawn], pred[drawn] * (1 + 1e-15 * random.integers(-3, 4, 400)))
    assert "400 pairs, of 40 different values" in printed(capsys)[0]


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ([1.0] * 40, [1.0] * 40, "Both err alike in every row."),
        ([1.0], [2.0], "Which one is better cannot be decided yet: 30 samples are needed."),
        ([1.0] * 5, [2.0] * 5, "Which one is better cannot be decided yet: 30 samples are needed."),
        ([1.0] * 40, [2.5] * 40, "The model of logs is better."),
        ([0.1] * 40, [0.3] * 40, "The model of logs is better."),
        ([0.0] * 40, [1e25] * 40, "The model of logs is better."),
    ],
    ids=["equal", "one row", "five rows", "a constant difference", "a constant difference but for rounding", "huge"],
)
def test_odd_differences_get_an_honest_answer(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], first: list[float], second: list[float], text: str
) -> None:
    y = np.arange(len(first)) * 1.1
    for folder, errors in zip(folders, (first, second), strict=True):
        write(folder, ids(len(y)), y, y + errors)
    lines = printed(capsys)
    assert verdict(lines) == text
    if len(y) == 1:
        assert lines[3] == "logs/challenger minus logs: +1.000 ± unknown (95 % interval)"


def test_an_outlier_does_not_squeeze_the_picture_nor_stop_it(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    y = np.random.default_rng(1).normal(0, 1, 1000)
    write(folders[0], ids(1000), y, y)
    write(folders[1], ids(1000), y, y + np.append(np.zeros(999), 1e29))
    assert "cannot be decided yet" in verdict(printed(capsys))


def test_what_is_left_out_is_counted(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    y = np.arange(50.0)
    write(folders[0], ids(50), y, y + 1)
    write(folders[1], ids(60)[10:], np.append(y[10:] + (y[10:] < 13), np.zeros(10)), np.zeros(50))
    with (folders[0] / "metric_log.csv").open("a") as file:
        file.write("somebody,else,was,here\n1,2,3,4,5\n1700000001.0,nan,1,1\n1700000000.49,48,4")
    assert printed(capsys)[:4] == [
        "left out: 10 ids that only logs has",
        "left out: 10 ids that only logs/challenger has",
        "left out: 3 ids whose y_true differs",
        "37 pairs, of 37 different values; equal ones are taken as one sample",
    ]


# Bad input


@pytest.mark.parametrize(
    ("logs", "problem"),
    [
        ("logs", "LOGS='logs': takes two folders, separated by a comma: logs,logs/challenger"),
        ("none,logs", "none/metric_log.csv: cannot be read: No such file or directory"),
        ("logs,folder", "folder/metric_log.csv: cannot be read: Is a directory"),
        ("logs,foreign", "header is id,y_true,y_pred,absolute_error, not 'time,a'"),
        ("logs,picture", "takes a log of metric"),
        ("logs,nothing", "nothing/metric_log.csv: takes a log of metric, whose header is "),
        ("logs,header", "header/metric_log.csv: has no rows yet"),
        ("logs,others", "LOGS='logs,others': no id is in both: both models have to get the same samples"),
        ("logs,labels", "their ids have different labels: both models"),
    ],
)
def test_bad_input_is_one_line(
    folders: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    logs: str,
    problem: str,
) -> None:
    write(folders[0], ids(5), range(5), range(5))
    write(Path("others"), [1.0, 2.0], range(2), range(2))
    write(Path("labels"), ids(5), range(1, 6), range(5))
    write(Path("header"), [], [], [])
    Path("folder/metric_log.csv").mkdir(parents=True)
    contents = {"foreign": b"time,a\n1,2\n", "picture": b"\x89PNG\r\n\x1a\n\0\0\xff" * 9, "nothing": b""}
    for name, content in contents.items():
        Path(name).mkdir()
        Path(name, "metric_log.csv").write_bytes(content)
    monkeypatch.setenv("LOGS", logs)
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("compare: ")
    assert problem in line


def test_a_folder_that_cannot_be_written_is_one_line(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in folders:
        write(folder, ids(5), range(5), range(5))
    (folders[0] / "compare.png").mkdir()
    with pytest.raises(SystemExit):
        main()
    assert "logs/compare.png: cannot be written: " in capsys.readouterr().err


def test_a_folder_whose_name_is_not_utf_8_is_shown_with_a_question_mark(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("m\udcfcller", "other"):
        write(Path(name), ids(5), range(5), range(5))
    lines = printed(capsys, logs="m\udcfcller,other")
    assert "mean absolute error in m?ller: 0.000 ± 0.000" in lines
    assert lines[-1] == "picture: m?ller/compare.png"
    assert Path("m\udcfcller/compare.png").exists()
