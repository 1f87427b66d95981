"""plot as a process: the picture and the page that it keeps, how it starts and how it stops. It needs no broker."""

from harness import HEADER, Run, Service, eventually

import os
import signal
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.long


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def run(tmp_path: Path, logs: Path) -> Iterator[Run]:
    started: list[Service] = []

    def start(**env: object) -> Service:
        settings = {"LOGS_DIR": logs, "PLOT_INTERVAL": 0.05} | env
        started.append(Service("plot", tmp_path, None, **settings))
        return started[-1]

    yield start
    for service in started:
        service.kill()
        assert "Traceback" not in service.log


def picture(logs: Path) -> Any:
    """The pixels of the picture, which has to be whole; None as long as there is none."""
    try:
        png = (logs / "error_distribution.png").read_bytes()
    except FileNotFoundError:
        return None
    with Image.open(BytesIO(png)) as image:
        assert (image.format, image.size) == ("PNG", (960, 720))
        return np.asarray(image.convert("RGB")).copy()


def first(logs: Path) -> Any:
    return eventually(lambda: (pixels := picture(logs)) is not None and [pixels], "the first picture")[0]


def test_the_picture_follows_the_log(run: Run, logs: Path) -> None:
    run()
    before = first(logs)
    for text in (HEADER, "1,10,12.5,2.5\n", "2,10,70,60\n", "3,1,2,1\n4,1,", "foreign\n"):
        if text == "foreign\n":
            (logs / "metric_log.csv").write_text(text)
        else:
            with (logs / "metric_log.csv").open("a") as log:
                log.write(text)
        if text != HEADER:
            eventually(lambda: (picture(logs) != before).any(), f"another picture after {text!r}")  # noqa: B023
            before = picture(logs)


def test_it_redraws_without_a_new_row(run: Run, logs: Path) -> None:
    run()
    first(logs)
    time = (logs / "error_distribution.png").stat().st_mtime_ns
    eventually(lambda: (logs / "error_distribution.png").stat().st_mtime_ns != time, "a new time of the picture")


def test_picture_and_page_are_whole_at_any_moment(run: Run, logs: Path) -> None:
    run(PLOT_INTERVAL=0.001)
    first(logs)
    eventually((logs / "report.html").exists, "the first page")
    times: set[int] = set()

    def ten() -> bool:
        picture(logs)
        page = (logs / "report.html").read_text()
        assert page.startswith("<!doctype html>")
        assert page.endswith("</html>\n")
        times.add((logs / "error_distribution.png").stat().st_mtime_ns)
        return len(times) == 10

    eventually(ten, "ten pictures")


def test_its_sign_of_life_is_fresh_while_it_draws_and_only_then(run: Run, logs: Path, tmp_path: Path) -> None:
    alive = tmp_path / "plot.alive"
    run(PLOT_INTERVAL=3600)
    first(logs)
    before = eventually(lambda: alive.exists() and alive.stat().st_mtime_ns, "a sign of life")
    eventually(lambda: alive.stat().st_mtime_ns > before, "another sign of life, although nothing is drawn meanwhile")

    service = run(PLOT_INTERVAL=0.2, TMPDIR=tmp_path / "logs")
    eventually((logs / "plot.alive").exists, "the sign of life of the other")
    (logs / "report.html").unlink()
    (logs / "report.html").mkdir()
    service.wait_for_log("not redrawn")
    before = (logs / "plot.alive").stat().st_mtime_ns
    time.sleep(1)
    assert (logs / "plot.alive").stat().st_mtime_ns == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_leaves_nothing_else(run: Run, logs: Path, number: int) -> None:
    service = run(PLOT_INTERVAL=3600)
    eventually((logs / "report.html").exists, "the first page")
    service.signal(number)
    assert service.wait() == 0
    assert sorted(os.listdir(logs)) == ["error_distribution.png", "report.html"]


@pytest.mark.parametrize("delay", [0.15, 0.3, 0.6, 1.0])
def test_a_signal_while_it_starts_ends_it_with_exit_code_0(run: Run, delay: float) -> None:
    service = run()
    eventually(service.answers_sigterm)
    time.sleep(delay)
    assert service.terminate() == 0


def test_a_signal_ends_it_while_it_reads_a_long_log(run: Run, logs: Path) -> None:
    logs.mkdir()
    (logs / "metric_log.csv").write_text(HEADER + "1699541234.567,10.5,12.75,2.25\n" * 8_000_000)
    service = run(PLOT_INTERVAL=3600)
    service.wait_for_log("redrawing")
    start = time.monotonic()
    assert service.terminate() == 0
    assert time.monotonic() - start < 2
    assert os.listdir(logs) == ["metric_log.csv"]


@pytest.mark.parametrize("name", ["error_distribution.png", "report.html"])
def test_what_a_killed_one_left_is_cleared_away(run: Run, logs: Path, name: str) -> None:
    (logs / name).mkdir(parents=True)  # so the last step fails, and the one before it shows
    service = run()
    eventually((logs / f".{name}.new").exists, "what is not finished")
    service.kill()
    (logs / name).rmdir()
    assert run(PLOT_INTERVAL=3600).process.poll() is None
    eventually(lambda: sorted(os.listdir(logs)) == ["error_distribution.png", "report.html"], "the two files alone")


def test_a_folder_that_goes_and_comes_back(run: Run, logs: Path) -> None:
    service = run()
    first(logs)
    logs.rename(logs.with_name("away"))
    service.wait_for_log("the picture and the page are not redrawn: ")
    logs.mkdir()
    first(logs)
    assert service.terminate() == 0
    assert service.log.count("WARNING") == 1


FOLDER = "takes a folder in which this user may write: "


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("PLOT_INTERVAL", "0", "takes a number of seconds above 0"),
        ("LOGS_DIR", "/proc/none", FOLDER + "No such file or directory"),
        ("LOGS_DIR", "/dev/null", FOLDER + "File exists"),
        ("LOGS_DIR", "/dev/null/logs", FOLDER + "Not a directory"),
    ],
)
def test_a_bad_setting_ends_it_with_one_line(run: Run, name: str, value: str, takes: str) -> None:
    service = run(**{name: value})
    assert service.wait() == 2
    (line,) = service.log.splitlines()
    assert line.startswith(f"plot: {name}={value!r}: {takes}")


def test_an_empty_setting_counts_as_not_set(run: Run, tmp_path: Path) -> None:
    service = run(LOGS_DIR="", PLOT_INTERVAL="", LOG_LEVEL="", UNIT="")
    first(tmp_path / "logs")  # `logs` below the working folder
    assert "every 10 s" in service.log
    assert service.terminate() == 0
