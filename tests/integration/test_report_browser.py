"""The page in a real Chromium without a window, driven over DevTools' pipe; opened from disk, as by double-click."""

from harness import DEADLINE, Service, eventually

import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HEADER = "id,y_true,y_pred,absolute_error\n"
CHROMIUM = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]
Start = Callable[..., Service]
ROWS = [(1699541234.567, 100.0, 110.5, 10.5), (1699541244.5, 151.25, 150.0, 1.25), (1699541254.0, 90.0, 120.0, 30.0)]


class Browser:
    """One tab of Chromium: commands in, answers and events out, as JSON ended by a zero byte."""

    def __init__(self, folder: Path) -> None:
        (theirs_in, self.input), (self.output, theirs_out) = os.pipe(), os.pipe()
        with (folder / "chromium.log").open("ab") as log:
            # The shell puts the two ends where Chromium looks for them.
            ends = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
            self.process = subprocess.Popen(
                [
                    "bash",
                    "-c",
                    ends,
                    "-",
                    str(CHROMIUM),
                    *FLAGS,
                    f"--user-data-dir={folder / 'profile'}",
                    "about:blank",
                ],
                pass_fds=(theirs_in, theirs_out),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self.received, self.sent = b"", 0
        self.session: dict[str, str] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        targets = eventually(lambda: self.send("Target.getTargets")["targetInfos"], "a tab")
        tab = next(target["targetId"] for target in targets if target["type"] == "page")
        self.session = {"sessionId": self.send("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.input)
        os.close(self.output)

    def send(self, method: str, **params: Any) -> Any:
        self.sent += 1
        command = {"id": self.sent, "method": method, "params": params} | self.session
        os.write(self.input, json.dumps(command).encode() + b"\0")
        end = time.monotonic() + DEADLINE
        while True:
            while b"\0" in self.received:
                message, _, self.received = self.received.partition(b"\0")
                answer = json.loads(message)
                if answer.get("id") == self.sent:
                    assert "error" not in answer, (method, answer)
                    return answer["result"]
                if "method" in answer:
                    self.events.append((answer["method"], answer["params"]))
            assert select.select([self.output], [], [], max(0, end - time.monotonic()))[0], f"no answer to {method}"
            part = os.read(self.output, 2**20)
            assert part, "Chromium ended"
            self.received += part

    def open(self, page: Path) -> None:
        eventually(page.exists, "the page")
        self.send("Page.navigate", url="about:blank")
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        eventually(lambda: self.run("document.readyState === 'complete' && location.protocol === 'file:'"), "the page")

    def run(self, script: str) -> Any:
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def table(self, selector: str) -> list[list[str]]:
        cells = "[...row.cells].map(cell => cell.textContent)"
        return list(self.run(f"[...document.querySelector({json.dumps(selector)}).rows].map(row => {cells})"))

    def size(self, width: int, height: int = 800) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def scheme(self, name: str) -> None:
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def complaints(self) -> list[Any]:
        """What the console has to show since the page was opened."""
        self.run("0")  # what was sent before this is answered has arrived
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event[0] in kinds]

    def requests(self) -> list[str]:
        return [event["request"]["url"] for name, event in self.events if name == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not CHROMIUM:
        reason = "no Chromium is here"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.size(1100)
    chromium.scheme("light")
    return chromium


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


@pytest.fixture
def start(tmp_path: Path, logs: Path) -> Iterator[Start]:
    started: list[Service] = []

    def start(interval: float = 0.2) -> Service:
        started.append(Service("plot", tmp_path, LOGS_DIR=logs, PLOT_INTERVAL=interval))
        return started[-1]

    yield start
    for service in started:
        service.kill()
        assert "Traceback" not in service.log


def write(logs: Path, rows: list[tuple[float, float, float, float]], age: float = 0) -> None:
    """Append rows, as if this many seconds ago."""
    path = logs / "metric_log.csv"
    with path.open("a") as file:
        file.write("" if file.tell() else HEADER)
        file.writelines(",".join(map(repr, row)) + "\n" for row in rows)
    os.utime(path, (time.time() - age,) * 2)


def test_it_shows_the_numbers_of_the_log(browser: Browser, logs: Path, start: Start) -> None:
    write(logs, ROWS)
    start()
    browser.open(logs / "report.html")
    _, y_true, _, errors = np.transpose(ROWS)
    rmse = np.sqrt((errors**2).mean())
    r2 = 1 - (errors**2).sum() / ((y_true - y_true.mean()) ** 2).sum()
    assert browser.table("#numbers") == [
        ["Rows", "3"],
        ["Mean", f"{errors.mean():.2f}"],
        ["Median", "10.50"],
        ["95th percentile", f"{np.quantile(errors, 0.95):.2f}"],
        ["Largest", "30.00"],
        ["RMSE", f"{rmse:.2f}"],
        ["R²", f"{r2:.3f}"],
    ]
    assert browser.table("#last") == [
        ["id", "true", "predicted", "error"],
        ["1699541254", "90.00", "120.00", "30.00"],
        ["1699541244.5", "151.25", "150.00", "1.25"],
        ["1699541234.567", "100.00", "110.50", "10.50"],
    ]
    assert "mean 13.92" in browser.text("#distribution-keys")
    assert "median 10.50" in browser.text("#distribution-keys")
    assert "rolling mean of 20 dots 13.92" in browser.text("#time-keys")
    bars = browser.run("document.querySelector('#distribution .bars').getAttribute('d').match(/V[^H]*H/g).length")
    assert bars == browser.run("report.bars.length") >= 4
    # The dots stand at heights in proportion to the errors.
    dots = browser.run("document.querySelector('#time .dots').getAttribute('d')")
    zero = browser.run("document.querySelector('#time svg').getAttribute('height')")
    heights = [float(zero) - float(y) for y in re.findall(r" ([\d.]+)h0", dots)]
    assert np.array(heights) / heights[0] == pytest.approx(errors / errors[0], rel=0.02)


def test_it_follows_the_log_without_a_reload(browser: Browser, logs: Path, start: Start) -> None:
    write(logs, ROWS[:2])
    start()
    browser.size(360, 400)
    browser.open(logs / "report.html")
    browser.run("window.mark = 'here'; scrollTo(0, 321)")
    write(logs, ROWS[2:])
    eventually(lambda: browser.table("#numbers")[0] == ["Rows", "3"], "the third row")
    assert browser.table("#rows")[0][0] == "1699541254"
    assert browser.run("[mark, scrollY]") == ["here", 321]
    assert browser.run("[...document.querySelectorAll('iframe')].map(frame => frame.offsetHeight)") == [0]  # unseen
    assert browser.complaints() == []
    requests = browser.requests()
    assert len(requests) >= 2  # itself, and itself again
    assert {url.partition("?")[0] for url in requests} == {(logs / "report.html").as_uri()}
    browser.run("console.error('this is how a complaint is seen')")
    assert len(browser.complaints()) == 1


def test_it_waits_for_the_first_row(browser: Browser, logs: Path, start: Start) -> None:
    start()
    browser.open(logs / "report.html")
    assert browser.text("#state") == "Waiting for the first row"
    assert browser.run("getComputedStyle(document.querySelector('main')).display") == "none"
    write(logs, ROWS[:1])
    eventually(lambda: browser.text("#state") == "Running", "the first row")
    assert browser.table("#numbers")[0] == ["Rows", "1"]
    assert browser.table("#numbers")[-1] == ["R²", "not defined"]
    assert browser.complaints() == []


def age(browser: Browser) -> int:
    (seconds,) = re.findall(r"The newest row was written (\d+) s ago", browser.text("#age"))
    return int(seconds)


def test_the_age_counts_up_and_turns_red(browser: Browser, logs: Path, start: Start) -> None:
    write(logs, ROWS, age=57)  # a minute is the limit, since the ids are 10 s apart
    service = start(interval=3600)  # it counts on its own
    browser.open(logs / "report.html")
    assert browser.text("#state") == "Running"
    first = age(browser)
    assert 57 <= first < 60
    eventually(lambda: age(browser) == first + 1, "a second more")
    eventually(lambda: browser.text("#state") == "Stalled", "the alarm")
    assert "More than 1 min without one is unusual here" in browser.text("#age")
    red, green, blue = browser.run(
        "getComputedStyle(document.querySelector('#status')).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert red > 150
    assert max(green, blue) < 80
    assert browser.run("document.title").startswith("Stalled")
    # And back, with the next row.
    service.kill()
    start()
    write(logs, [(1699541264.0, 1.0, 2.0, 1.0)])
    eventually(lambda: browser.text("#state") == "Running", "the end of the alarm")
    assert browser.complaints() == []


def test_it_tells_a_dead_plot_from_a_stalled_pipeline(browser: Browser, logs: Path, start: Start) -> None:
    write(logs, ROWS)
    service = start()
    page = logs / "report.html"
    eventually(page.exists)
    service.kill()
    page.write_text(re.sub(r'"drawn":[\d.]+', f'"drawn":{time.time() - 7205}', page.read_text()))
    browser.open(page)
    assert browser.text("#state") == "Out of date"
    assert "The plot service drew this 2 h 5 s ago" in browser.text("#age")


def test_a_folder_that_is_away_leaves_the_page_as_it_was(browser: Browser, logs: Path, start: Start) -> None:
    write(logs, ROWS)
    service = start()
    browser.open(logs / "report.html")
    service.kill()
    logs.rename(logs.with_name("away"))
    looked = browser.run("asked")
    eventually(lambda: browser.run("asked") > looked + 2000, "two more looks")
    assert browser.run("document.querySelectorAll('iframe').length") == 1
    assert browser.table("#numbers")[0] == ["Rows", "3"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("scale", [1, 1e-6, 1e8])
def test_it_fits_phones_and_desktops_and_can_be_read_in_both_schemes(
    browser: Browser, logs: Path, start: Start, scheme: str, width: int, scale: float
) -> None:
    random = np.random.default_rng(0)
    errors = np.append(np.abs(random.normal(0, 55, 300)), 1e6) * scale
    write(logs, [(1699541234.567 + i, 0.0, error, error) for i, error in enumerate(errors.tolist())])
    start()
    browser.size(width)
    browser.scheme(scheme)
    browser.open(logs / "report.html")
    assert browser.run("document.documentElement.scrollWidth") <= width

    # Nothing written lies on anything else in a chart, or off the page.
    boxes = browser.run(
        "[...document.querySelectorAll('#distribution, #time')].map(chart => [...chart.querySelectorAll('text')]"
        ".map(text => text.getBoundingClientRect()).map(({left, right, top, bottom}) => [left, right, top, bottom]))"
    )
    for chart in boxes:
        assert len(chart) >= 6
        for i, (left, right, top, bottom) in enumerate(chart):
            assert left >= 0
            assert right <= width
            assert not [b for b in chart[:i] if left < b[1] and b[0] < right and top < b[3] - 1 and b[2] + 1 < bottom]

    # The contrast that WCAG asks for: 4.5 for text, 3 for lines.
    for selector, style, least in (
        ("body", "color", 4.5),
        ("caption", "color", 4.5),
        ("#state", "color", 4.5),
        ("#distribution text", "fill", 4.5),
        ("path.mean", "stroke", 3),
        ("path.median", "stroke", 3),
        ("path.density", "stroke", 3),
        ("path.rolling", "stroke", 3),
    ):
        paper, ink = (
            browser.run(f"getComputedStyle(document.querySelector('{where}')).{what}.match(/\\d+/g).map(Number)")
            for where, what in (("body", "backgroundColor"), (selector, style))
        )
        assert (luminance(paper) > 0.5) == (scheme == "light")
        dark, light = sorted((luminance(paper), luminance(ink)))
        assert (light + 0.05) / (dark + 0.05) >= least, selector
    assert browser.complaints() == []


def luminance(rgb: list[int]) -> float:
    """As WCAG defines it."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_a_screen_reader_finds_its_way(browser: Browser, logs: Path, start: Start) -> None:
    write(logs, ROWS)
    start()
    browser.open(logs / "report.html")
    nodes = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in browser.send("Accessibility.getFullAXTree")["nodes"]
        if not node["ignored"]
    ]
    names: dict[str, list[str]] = {}
    for role, name in nodes:
        names.setdefault(role, []).append(name)
    assert [len(names[role]) for role in ("banner", "main", "contentinfo", "status")] == [1, 1, 1, 1]
    assert names["heading"] == ["Error of the model", "In numbers", "Distribution", "Over time", "Last rows"]
    assert names["region"] == names["heading"][1:]
    assert names["columnheader"] == ["id", "true", "predicted", "error"]
    assert names["rowheader"][:7] == ["Rows", "Mean", "Median", "95th percentile", "Largest", "RMSE", "R²"]
    distribution, over_time = names.get("image", []) + names.get("img", [])
    assert "3 rows: mean 13.92, median 10.50" in distribution
    assert "now 13.92" in over_time
