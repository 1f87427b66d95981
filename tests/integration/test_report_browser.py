"""The page in a real Chromium without a window: what a reader sees, from disk as by double-click and over http."""

from harness import HEADER, Service, eventually, unavailable

import base64
import functools
import http.server
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.long
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"
Start = Callable[..., Service]
ROWS = [(1699541234.567, 100.0, 110.5, 10.5), (1699541244.5, 151.25, 150.0, 1.25), (1699541254.0, 90.0, 120.0, 30.0)]


class Browser(webdriver.Chrome):
    """Chromium with one page."""

    def show(self, page: Path | str, width: int = 1100, scheme: str = "light") -> None:
        if isinstance(page, Path):
            eventually(page.exists, "the page")
            page = page.as_uri()
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        self.get(page)

    def run(self, script: str) -> Any:
        return self.execute_script(f"return {script}")

    def text(self, selector: str = "body") -> str:
        return self.find_element(By.CSS_SELECTOR, selector).text

    def cells(self, selector: str) -> list[list[str]]:
        return list(
            self.run(f"[...document.querySelector('{selector}').rows].map(r => [...r.cells].map(c => c.innerText))")
        )

    def colour(self, selector: str, style: str) -> list[int]:
        value = self.run(f"getComputedStyle(document.querySelector('{selector}'))['{style}']")
        return [int(part) for part in re.findall(r"\d+", value)[:3]]

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.get_log("browser")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not CHROMIUM or not DRIVER:
        unavailable("Chromium and its driver are not here")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    browser = Browser(options, webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


@pytest.fixture
def start(tmp_path: Path, logs: Path) -> Iterator[Start]:
    started: list[Service] = []

    def start(**settings: object) -> Service:
        env = {"LOGS_DIR": logs, "PLOT_INTERVAL": 0.2} | settings
        started.append(Service("plot", tmp_path, None, **env))
        return started[-1]

    yield start
    for service in started:
        service.kill()
        assert "Traceback" not in service.log


@pytest.fixture
def address(logs: Path) -> Iterator[str]:
    """Of the folder over http."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(logs))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def write(logs: Path, rows: list[tuple[float, float, float, float]], age: float = 0) -> None:
    """Append rows, as if this many seconds ago."""
    path = logs / "metric_log.csv"
    with path.open("a") as file:
        file.write("" if file.tell() else HEADER)
        file.writelines(",".join(map(repr, row)) + "\n" for row in rows)
    os.utime(path, (time.time() - age,) * 2)


def stream(n: int, seed: int = 0) -> list[tuple[float, float, float, float]]:
    random = np.random.default_rng(seed)
    labels, residuals = random.uniform(25, 346, n), random.normal(0, 55, n)
    return [
        (1699541234.567 + 10 * i, label, label + residual, abs(residual))
        for i, (label, residual) in enumerate(zip(labels.tolist(), residuals.tolist(), strict=True))
    ]


def test_a_reader_sees_numbers_charts_and_last_rows(browser: Browser, logs: Path, start: Start) -> None:
    write(logs, ROWS)
    start()
    browser.show(logs / "report.html")
    shown = dict(browser.cells("#numbers"))
    assert (shown["Rows"], shown["Mean absolute error"], shown["Median"], shown["Largest"]) == (
        "3",
        "13.92",
        "10.50",
        "30.00",
    )
    assert browser.cells("#last") == [
        ["id", "time, UTC", "true", "predicted", "error"],
        ["1699541254.0", "09 Nov 14:47:34", "90.00", "120.00", "30.00"],
        ["1699541244.5", "09 Nov 14:47:24", "151.25", "150.00", "1.25"],
        ["1699541234.567", "09 Nov 14:47:14", "100.00", "110.50", "10.50"],
    ]
    charts = [chart.text for chart in browser.find_elements(By.CSS_SELECTOR, "svg")]
    assert "Distribution of absolute error over 3 rows" in charts[0]
    assert "mean 13.92" in charts[0]
    assert "Absolute error over time" in charts[1]
    assert "On average the predictions are 13.08 too high, which can be chance." in browser.text()
    assert browser.complaints() == []


@pytest.mark.parametrize("way", ["from disk", "over http"])
def test_it_follows_the_log_and_keeps_the_reader_s_place(
    browser: Browser, logs: Path, start: Start, address: str, way: str
) -> None:
    write(logs, ROWS[:2])
    start()
    eventually((logs / "report.html").exists, "the page")
    browser.show(logs / "report.html" if way == "from disk" else f"{address}/report.html", width=400)
    browser.run("(window.mark = 'here', scrollTo(0, 321))")
    browser.run("getSelection().selectAllChildren(document.querySelector('h1'))")
    write(logs, ROWS[2:])
    eventually(lambda: browser.run("document.getElementById('rows').innerText") == "3", "the third row")
    assert browser.cells("#last")[1][0] == "1699541254.0"
    assert "3 rows" in browser.find_element(By.CSS_SELECTOR, "figure").accessible_name
    assert browser.run("[mark, scrollY, String(getSelection())]") == ["here", 321, "Error of the model"]
    requests = browser.run("performance.getEntriesByType('resource').map(entry => entry.name.split('?')[0])")
    assert set(requests) <= {browser.current_url}
    assert browser.complaints() == []


def test_it_waits_for_the_first_row(browser: Browser, logs: Path, start: Start) -> None:
    start()
    browser.show(logs / "report.html")
    assert "Waiting for the first row" in browser.text("#state")
    assert not browser.find_element(By.CSS_SELECTOR, "main").is_displayed()
    write(logs, ROWS[:1])
    eventually(lambda: "Running" in browser.text("#state"), "the first row")
    assert browser.find_element(By.CSS_SELECTOR, "main").is_displayed()
    assert browser.complaints() == []


def assert_red(browser: Browser, selector: str) -> None:
    red, green, blue = browser.colour(selector, "color")
    assert red > 150
    assert max(green, blue) < 80


def test_it_turns_red_when_rows_stop_and_back(browser: Browser, logs: Path, start: Start) -> None:
    write(logs, ROWS, age=50)  # a minute is the limit, since the ids are 10 s apart
    start()
    browser.show(logs / "report.html")
    assert "Running" in browser.text("#state")
    eventually(lambda: "Stalled" in browser.text("#state"), "the alarm")
    assert "more than 60 s is unusual here" in browser.text("#state")
    assert_red(browser, "#state p")
    eventually(lambda: browser.title == "Stalled · Error of the model", "the title")
    write(logs, [(1699541264.0, 1.0, 2.0, 1.0)])
    eventually(lambda: browser.title == "Error of the model", "the end of the alarm")


def test_it_ages_and_turns_red_when_plot_stops(browser: Browser, logs: Path, start: Start) -> None:
    write(logs, ROWS)
    service = start()
    browser.show(logs / "report.html")
    service.kill()

    def age() -> int:
        return max((int(seconds) for seconds in re.findall(r", (\d+) s ago", browser.text("header"))), default=-1)

    eventually(lambda: age() >= 0, "its age")
    first = age()
    eventually(lambda: age() >= first + 2, "two seconds more")
    eventually(lambda: "Out of date" in browser.text("header"), "the alarm")
    assert "Running" not in browser.text("header")
    assert_red(browser, "#old")
    assert browser.title == "Out of date · Error of the model"
    # A folder that is away changes nothing either.
    logs.rename(logs.with_name("away"))
    time.sleep(3)
    assert browser.run("document.getElementById('rows').innerText") == "3"


def luminance(rgb: list[int]) -> float:
    """As WCAG defines it."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1100])
def test_it_can_be_read_on_phones_and_desktops_by_day_and_night(
    browser: Browser, logs: Path, start: Start, scheme: str, width: int
) -> None:
    rows = [(round(i, 1) + 0.012345, t, p, e) for i, t, p, e in stream(1000)]  # ids as long as those of features
    write(logs, [*rows[:500], *((i, t, t + 2 * (p - t), 2 * e) for i, t, p, e in rows[500:])])
    start()
    browser.show(logs / "report.html", width, scheme)
    assert browser.run("document.documentElement.scrollWidth") <= width
    *_, error = browser.find_elements(By.CSS_SELECTOR, "#last tbody tr:last-child td")
    assert error.is_displayed()
    assert error.rect["x"] + error.rect["width"] <= width  # without scrolling
    hidden = "[...document.querySelectorAll('section')].map(section => section.scrollWidth - section.clientWidth)"
    assert max(browser.run(hidden)) == 0
    heights = browser.run("[...document.querySelectorAll('svg text')].map(text => text.getBoundingClientRect().height)")
    assert len(heights) >= 30
    assert min(heights) >= 7
    assert np.median(heights) >= 10
    paper = luminance(browser.colour("body", "backgroundColor"))
    assert (paper > 0.5) == (scheme == "light")
    inks = [browser.colour(selector, "color") for selector in ("body", ".note", "#state p")]
    inks += browser.run(
        "[...document.querySelectorAll('svg text')].map(text => getComputedStyle(text).fill.match(/\\d+/g).map(Number))"
    )
    for ink in inks:
        dark, light = sorted((paper, luminance(ink)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # the contrast that WCAG asks for
    assert browser.complaints() == []


@pytest.mark.parametrize("width", [400, 1100])
def test_probabilities_have_a_third_chart_as_long_as_all_rows_are_some(
    browser: Browser, logs: Path, start: Start, width: int
) -> None:
    random = np.random.default_rng(0)
    probabilities = random.uniform(0, 1, 500).tolist()
    labels = [float(random.random() < p) for p in probabilities]
    write(
        logs, [(1699541234.5 + i, y, p, abs(y - p)) for i, (y, p) in enumerate(zip(labels, probabilities, strict=True))]
    )
    start()
    browser.show(logs / "report.html", width, "dark")
    charts = browser.find_elements(By.CSS_SELECTOR, "svg")
    assert len(charts) == 3
    assert "share of label 1" in charts[2].text
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert dict(browser.cells("#numbers"))["Brier score (RMSE²)"].startswith("0.1")  # 1/6 on average
    write(logs, [(1699542234.5, 2.0, 0.5, 1.5)])
    eventually(lambda: len(browser.find_elements(By.CSS_SELECTOR, "svg")) == 2, "two charts")
    assert "Brier score (RMSE²)" not in dict(browser.cells("#numbers"))
    assert browser.complaints() == []


def test_a_screen_reader_finds_its_way(browser: Browser, logs: Path, start: Start) -> None:
    write(logs, stream(400))
    start()
    browser.show(logs / "report.html")
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    names: dict[str, list[str]] = {}
    for node in nodes:
        if not node["ignored"]:
            names.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert [len(names[role]) for role in ("banner", "main", "status")] == [1, 1, 1]
    assert names["heading"] == ["Error of the model", "In numbers", "Last rows"]
    assert names["columnheader"] == ["id", "time, UTC", "true", "predicted", "error"]
    assert {"Rows", "Mean absolute error", "Median"} <= set(names["rowheader"])
    distribution, over_time = names.get("image", []) + names.get("img", [])
    assert re.match(r"Histogram of the absolute error of 400 rows: mean \d+", distribution)
    assert over_time.startswith("Absolute error over time, 400 rows")


def test_it_is_printed_on_two_pages_at_most(browser: Browser, logs: Path, start: Start) -> None:
    write(logs, stream(400))
    start()
    browser.show(logs / "report.html", scheme="dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert luminance(browser.colour("body", "backgroundColor")) == pytest.approx(1)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(browser.print_page()))) <= 2
