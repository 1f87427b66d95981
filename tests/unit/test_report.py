"""What plot's page says, and what of the log gets into it."""

import plot
from harness import HEADER, no_warnings
from plot import LogReader, PlotSettings

import html
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

START = 1699541234.567


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metric_log.csv"


def write(path: Path, residuals: list[float], y_true: float = 100.0, gap: float = 10.0, written: float = 0) -> None:
    """Append rows, as if at this time."""
    with path.open("a") as file:
        file.write("" if file.tell() else HEADER)
        for i, residual in enumerate(residuals):
            label = y_true + i % 7
            file.write(f"{START + gap * i},{label},{label + residual},{abs(residual)}\n")
    if written:
        os.utime(path, (written, written))


def redrawn(path: Path, log: LogReader | None = None, **settings: str) -> str:
    """The page."""
    log = log or LogReader(path)
    while log.read():
        pass
    plot.redraw(log, path.parent, PlotSettings(**settings))  # type: ignore[arg-type]
    return (path.parent / "report.html").read_text()


def words(page: str) -> str:
    """What a person reads outside the charts."""
    body = re.sub(r"<svg.*?</svg>|<script>.*?</script>", " ", page[page.index("<body>") :], flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def numbers(page: str) -> dict[str, str]:
    (body,) = re.findall(r'<tbody id="numbers".*?</table>', page, re.DOTALL)
    return dict(re.findall(r'<th scope="row">([^<]*)<td[^>]*>([^<\n]*)', body))


def residuals(n: int, bias: float = -4.0) -> list[float]:
    return (bias + np.random.default_rng(n).normal(0, 50, n)).tolist()


def test_the_page_holds_the_numbers_and_what_they_mean(path: Path) -> None:
    values = residuals(2000)
    write(path, values)
    page, errors = redrawn(path), np.abs(values)
    shown = numbers(page)
    p95 = np.quantile(errors, 0.95, method="averaged_inverted_cdf")
    margin = 1.96 * errors.std(ddof=1) / np.sqrt(2000)
    assert shown["Rows"] == "2,000"
    assert shown["Mean absolute error"] == f"{errors.mean():.2f} ± {margin:.2f}"
    assert shown["Median"] == f"{np.median(errors):.2f}"
    assert shown["95th percentile"] == f"{p95:.2f}"
    assert shown["Largest"] == f"{errors.max():.1f}"
    assert shown["RMSE"] == f"{np.sqrt((errors**2).mean()):.2f}"
    text = words(page)
    assert f"19 of 20 predictions are within ± {p95:.2f} of the true value" in text
    bias, spread = np.mean(values), 1.96 * np.std(values, ddof=1) / np.sqrt(2000)
    assert f"On average the predictions are {-bias:.2f} ± {spread:.2f} too low." in text
    assert "It assumes independent rows. The bundled data stream 111 patients again and again" in text


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (residuals(2000, bias=30), "too high."),
        (residuals(2000, bias=0), "which can be chance."),
        ([0.1] * 500, "On average the predictions are 0.1 ± 0 too high."),
        ([0.1] * 500, "Mean absolute error 0.1 ± 0 Median 0.1000"),
        ([5.0, 6.0, 7.0], "On average the predictions are 6.000 too high, which can be chance."),
        (
            [5.0, 6.0, 7.0],
            "All predictions so far are within ± 7.000 of the true value, half of all predictions within ± 6.000.",
        ),
        (
            [2.0] * 300 + [3.0] * 100,
            "The error changed after about 300 rows (2023-11-09 15:37 UTC): the mean was 2.000",
        ),
    ],
)
def test_the_page_says_it_in_a_sentence(path: Path, values: list[float], sentence: str) -> None:
    write(path, values)
    assert sentence in words(redrawn(path))


def test_the_page_says_of_what(path: Path) -> None:
    write(path, [1.0, 2.0])
    page = redrawn(path)
    assert "scikit-learn's diabetes data, target: disease progression after one year" in words(page)
    assert "Errors are in the unit of the target." in words(page)
    (path.parent / "models.csv").write_text(f"id,sha256\n{START},{'ab' * 32}\n{START + 5},{'cd01' * 16}\n")
    page = redrawn(path, dataset="/data/<wine>.csv", target="alcohol & more", unit="% vol")
    assert "<wine>.csv, target: alcohol & more, model cd01cd01cd01" in words(page)
    assert "Errors are in % vol." in words(page)
    assert "absolute error, in % vol" in page
    assert "within ± 2.000 % vol of the true value, half of all predictions within ± 1.500 % vol." in words(page)
    assert "model replaced" in page
    assert "<wine>" not in page
    assert "hidden>The bundled" in page
    assert "wine.csv, target: last column" in words(redrawn(path, dataset="wine.csv"))


def test_the_last_rows_are_shown_with_the_time_that_their_id_is(path: Path) -> None:
    write(path, [float(i) for i in range(1, 13)])
    (body,) = re.findall(r"<tbody data-live>(.*)", redrawn(path))
    rows = [re.findall(r">([^<]*)<?", row) for row in body.split("<tr>")[1:]]
    assert len(rows) == 10
    assert rows[0][0] == "1699541344.567"
    assert rows[0][1:] == ["09 Nov 14:49:04", "104.00", "116.00", "12.00"]
    assert rows[9][0] == "1699541254.567"


def test_no_text_of_the_log_becomes_markup(path: Path) -> None:
    path.write_text(HEADER + "1,2,3,1\n</script><script>alert(1)</script>,2,3,1\n4,<b>,3,1\n1,nan,3,-inf\n")
    page = redrawn(path)
    assert "alert(1)" not in page
    assert "<b>" not in page
    assert "3 rows without a finite error left out." in words(page)
    path.write_text("<script>alert(1)</script>,$x^2$\n")
    page = redrawn(path)
    assert "<script>alert" not in page
    assert f"Not the log {path} is not this pipeline's log: its header is '<script>alert(1)</script>,$x^2$'" in words(
        page
    )


def test_the_page_loads_nothing_from_elsewhere(path: Path) -> None:
    write(path, residuals(50))
    page = redrawn(path)
    assert not re.findall(r"@import|url\((?!#)|\bsrc=", page)
    assert {link for link in re.findall(r'href="([^"]*)"', page) if not link.startswith("#")} == {"data:,"}


def test_the_page_grows_with_nothing(path: Path) -> None:
    write(path, residuals(400))
    sizes = [len(redrawn(path))]
    write(path, residuals(40_000))
    sizes.append(len(redrawn(path)))
    assert sizes[1] < 1.5 * sizes[0] < 200_000


def test_picture_and_page_share_their_colours() -> None:
    template = Path(plot.__file__).with_name("report.html").read_text()
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w+)", block)) for block in re.findall(r":root {(.*?)}", template, re.DOTALL)
    )
    assert set(light) == set(dark)
    colours = {name: plot.COLOURS[name] for name in light if name != "good"}
    assert {name: light[name] for name in plot.COLOURS} == colours


def test_no_colour_of_the_charts_is_lost_in_the_dark(path: Path) -> None:
    write(path, [2.0] * 300 + [3.0, 4.0] * 50)
    charts = "".join(re.findall(r"<svg.*?</svg>", redrawn(path), re.DOTALL))
    assert re.findall(r"(?:fill|stroke): (#\w+)", charts) == []
    assert {"ink", "quiet", "bar", "blue", "orange", "bad"} <= set(re.findall(r"var\(--(\w+)\)", charts))


def test_of_probabilities_the_page_shows_the_scores_of_the_field(path: Path) -> None:
    random = np.random.default_rng(0)
    p = random.uniform(0, 1, 2000)
    y = (random.random(2000) < p).astype(float)
    pairs = zip(y.tolist(), p.tolist(), strict=True)
    rows = "".join(f"{START + i},{a!r},{b!r},{abs(a - b)!r}\n" for i, (a, b) in enumerate(pairs))
    path.write_text(HEADER + rows)
    page = redrawn(path)
    shown = numbers(page)
    assert shown["Brier score (RMSE²)"] == f"{np.mean((y - p) ** 2):.4f}"
    assert float(shown["RMSE"]) ** 2 == pytest.approx(np.mean((y - p) ** 2), abs=0.001)
    assert float(shown["Log loss"]) == pytest.approx(-np.log(1 - np.abs(y - p)).mean(), abs=1e-4)
    assert 0.8 < float(shown["Area under the ROC curve"]) < 0.87  # 5/6 where all probabilities are equally frequent
    assert "The area is the share of pairs of a 1 and a 0" in words(page)
    assert page.count("<svg") == page.count("<figure") == 3
    assert "share of label 1" in page
    path.write_text(HEADER + rows + f"{START + 2000},0.5,0.5,0.0\n")
    page = redrawn(path)
    assert "Brier score (RMSE²)" not in numbers(page)
    assert "The area" not in words(page)
    assert page.count("<svg") == page.count("<figure") == 2


def test_one_class_alone_has_no_area(path: Path) -> None:
    path.write_text(HEADER + f"{START},1.0,0.75,0.25\n")
    with no_warnings():
        shown = numbers(redrawn(path))
    assert (shown["Area under the ROC curve"], shown["Log loss"]) == ("not defined", "0.2877")


# The state


def state(path: Path, log: LogReader, written: float) -> str:
    write(path, [1.0], written=written)
    while log.read():
        pass
    return plot.state(log, time.time())[1]


def test_before_the_first_row_the_page_waits(path: Path) -> None:
    with no_warnings():
        assert "Waiting for the first row" in words(redrawn(path))
        path.write_text(HEADER)
        assert "Waiting for the first row" in words(redrawn(path))


@pytest.mark.parametrize(("gap", "limit"), [(0.1, 60), (9.9, 60), (30, 180), (86_400, 6 * 86_400)])
def test_stalled_is_six_times_the_usual_time_between_writes(path: Path, gap: float, limit: float) -> None:
    now, log = time.time(), LogReader(path)
    for i in range(15):
        state(path, log, now - (14 - i) * gap)
    assert plot.state(log, now + 0.9 * limit)[1] == "Running"
    assert plot.state(log, now + 1.1 * limit)[1] == "Stalled"


def test_before_two_writes_are_seen_the_ids_stand_in(path: Path) -> None:
    now = time.time()
    write(path, [1.0, 2.0, 3.0, 4.0], gap=300, written=now)
    log = LogReader(path)
    log.read()
    assert plot.state(log, now + 1700)[1:] == ("Running", "When this was drawn, the newest row was 28 min old.")
    assert plot.state(log, now + 1900)[1] == "Stalled"


def test_a_log_read_in_many_chunks_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "CHUNK", 100)
    now, log = time.time(), LogReader(path)
    write(path, [1.0] * 50, gap=3600, written=now)
    while log.read():
        pass
    assert plot.state(log, now + 5 * 3600)[1] == "Running"
    assert len(log.writes) == 1


def test_a_touched_log_has_no_new_row(path: Path) -> None:
    now, log = time.time(), LogReader(path)
    assert state(path, log, now - 500) == "Stalled"
    with path.open("a") as file:
        file.write("torn")
    log.read()
    assert plot.state(log, now)[1] == "Stalled"


def test_the_delay_is_that_from_the_id_to_the_writing(path: Path) -> None:
    log = LogReader(path)
    for delay in (40, 50, 3000):
        write(path, [1.0], written=START + delay)
        log.read()
    assert numbers(redrawn(path, log))["Delay of a row"] == "50 s"


@pytest.mark.parametrize("factor", [1e-9, 1e3])
def test_an_id_that_is_no_time_tells_no_delay_and_no_pace(path: Path, factor: float) -> None:
    write(path, [1.0])
    path.write_text(HEADER + "".join(f"{factor * (START + 1e6 * i)},1.0,2.0,1.0\n" for i in range(5)))
    os.utime(path, (START, START))
    log = LogReader(path)
    assert numbers(redrawn(path, log))["Delay of a row"] == "not known: the ids are no times"
    assert plot.state(log, START + 100)[1] == "Stalled"


def test_a_model_is_named_when_its_first_row_is_there(path: Path) -> None:
    """Labels may come long after the predictions."""
    write(path, [1.0] * 50)
    models = f"id,sha256\n{START},{'ab' * 32}\n{START + 1e5},{'cd' * 32}\n{START + 2e5},{'ef' * 32}\n"
    (path.parent / "models.csv").write_text(models)
    page = redrawn(path)
    assert ", model abababababab" in words(page)
    assert "model replaced" not in page


@pytest.mark.parametrize(
    ("value", "span", "text"),
    [
        (0.0, 1e4, "0"),
        (0.2, 3500.0, "0.2"),
        (0.6, 3500.0, "1"),
        (-1e-7, 1.0, "-1e-07"),
        (1234.5001, 1e-4, "1234.5001"),
        (1234.5, 1e-4, "1234.5"),
        (1e12, 1.0, "1e+12"),
        (0.00012345, 1e-4, "0.0001234"),
    ],
)
def test_a_number_has_the_digits_that_its_axis_shows(value: float, span: float, text: str) -> None:
    assert plot.number(value, span) == text


@pytest.mark.parametrize("labels", [[0.0, 1.0], [0.0, 1.0, 1.0]])
def test_what_is_perfect_or_hopeless_is_a_number(path: Path, labels: list[float]) -> None:
    path.write_text(HEADER + "".join(f"{START + i},{y},{y},0.0\n" for i, y in enumerate(labels)))
    assert numbers(redrawn(path))["Log loss"] == "0.0000"
    with path.open("a") as file:
        file.write(f"{START + 9},1.0,1e20,1e20\n")
    r2 = numbers(redrawn(path))["R²"]
    assert re.fullmatch(r"-\d\.\d+e\+40", r2)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "less than 1 s"), (0.2, "less than 1 s"), (119, "119 s"), (121, "2 min"), (7300, "2 h"), (2e5, "2 days")],
)
def test_durations_are_told_in_one_unit(seconds: float, text: str) -> None:
    assert plot.duration(seconds) == text
