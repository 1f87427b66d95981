"""What metric tells Prometheus, and that telling it costs no row."""

from harness import Client, Run, eventually, rows
from local import Node, free_port

import os
import re
import resource
import socket
import struct
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker


def scrape(port: int) -> dict[str, float]:
    """The figures of the service itself, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^(metric_\S+) (\S+)$", text, re.MULTILINE)}


def listens_on(pid: int) -> set[tuple[str, int]]:
    """The addresses (of IPv4; others as they stand in /proc) and TCP ports on which a process listens."""
    sockets = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [line.split() for file in ("tcp", "tcp6") for line in Path("/proc/net", file).read_text().splitlines()[1:]]
    ours = [word[1].split(":") for word in lines if word[3] == "0A" and f"socket:[{word[9]}]" in sockets]
    return {
        (socket.inet_ntoa(bytes.fromhex(host)[::-1]) if len(host) == 8 else host, int(port, 16)) for host, port in ours
    }


def pair(client: Client, sample_id: float, error: float) -> None:
    client.publish("y_true", {"id": sample_id, "body": error})
    client.publish("y_pred", {"id": sample_id, "body": 0})


def test_the_figures_are_those_of_what_was_published(client: Client, run: Run, tmp_path: Path) -> None:
    port = free_port()
    metric = run("metric", METRICS_PORT=port)
    metric.wait_for_log("connected")
    errors = [0.0, 0.001, 0.3, -7.0, 7.5, 123456.0]
    for sample_id, error in enumerate(errors):
        pair(client, sample_id, error)
    pair(client, 1, errors[1])  # a repeat
    client.publish("y_true", b"no JSON")
    for sample_id in range(10, 13):
        client.publish("y_true", {"id": sample_id, "body": 1})
    eventually(lambda: scrape(port)["metric_halves_waiting"] == 3, "three halves that wait")
    figures = scrape(port)
    assert figures["metric_rows_total"] == figures["metric_absolute_error_count"] == len(errors)
    assert figures["metric_absolute_error_sum"] == pytest.approx(sum(map(abs, errors)), rel=1e-12)
    assert figures["metric_squared_error_total"] == pytest.approx(sum(error**2 for error in errors), rel=1e-12)
    buckets = {name: value for name, value in figures.items() if name.startswith("metric_absolute_error_bucket")}
    bounds = [float(re.findall('le="(.*)"', name)[0]) for name in buckets]
    assert (bounds[0], bounds[-2], bounds[-1], len(bounds)) == (0.001, 50000, float("inf"), 25)
    assert list(buckets.values()) == [sum(abs(error) <= bound for error in errors) for bound in bounds]
    assert figures["metric_last_row_timestamp_seconds"] == (tmp_path / "logs/metric_log.csv").stat().st_mtime

    client.publish("y_pred", {"id": 11, "body": 1})
    eventually(lambda: scrape(port)["metric_halves_waiting"] == 2, "one half less")
    assert scrape(port)["metric_rows_total"] == len(errors) + 1


def test_a_restart_begins_counting_anew_and_knows_what_waits(client: Client, run: Run, tmp_path: Path) -> None:
    port = free_port()
    first = run("metric", METRICS_PORT=port)
    first.wait_for_log("connected")
    pair(client, 1, 2.0)
    client.publish("y_true", {"id": 2, "body": 1})
    eventually(lambda: scrape(port)["metric_halves_waiting"] == scrape(port)["metric_rows_total"] == 1, "its figures")
    first.kill()

    run("metric", METRICS_PORT=port, AMQP_URL=f"amqp://127.0.0.1:{free_port()}").wait_for_log("no connection")
    figures = scrape(port)  # though there is no broker
    assert figures["metric_halves_waiting"] == 1
    assert figures["metric_rows_total"] == figures["metric_absolute_error_count"] == 0
    assert figures["metric_last_row_timestamp_seconds"] == (tmp_path / "logs/metric_log.csv").stat().st_mtime


def test_a_port_that_is_taken_ends_the_service_with_a_line(run: Run, client: Client) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        metric = run("metric", METRICS_PORT=taken.getsockname()[1])
        assert metric.wait() == 2
        assert (
            metric.log
            == f"metric: METRICS_PORT={taken.getsockname()[1]}, METRICS_HOST='127.0.0.1': Address already in use\n"
        )


def test_it_listens_only_where_it_is_told_to(client: Client, run: Run) -> None:
    """Without a port nowhere, and without an address on that of the machine itself alone."""
    metric = run("metric", METRICS_PORT="")
    metric.wait_for_log("connected")
    assert listens_on(metric.process.pid) == set()
    metric.terminate()
    port = free_port()
    metric = run("metric", METRICS_PORT=port)
    metric.wait_for_log("connected")
    assert listens_on(metric.process.pid) == {("127.0.0.1", port)}
    metric.terminate()
    metric = run("metric", METRICS_PORT=port, METRICS_HOST="0.0.0.0")
    metric.wait_for_log("connected")
    assert listens_on(metric.process.pid) == {("0.0.0.0", port)}


def test_an_error_too_large_for_a_float_leaves_the_sum_useful(client: Client, run: Run, tmp_path: Path) -> None:
    port = free_port()
    run("metric", METRICS_PORT=port).wait_for_log("connected")
    client.publish("y_true", {"id": 1, "body": 1e308})
    client.publish("y_pred", {"id": 1, "body": -1e308})
    pair(client, 2, 3.0)
    pair(client, 3, 1.3e154)  # two squares of it are infinite
    pair(client, 4, 1.3e154)
    eventually(lambda: scrape(port)["metric_rows_total"] == 4, "all rows")
    figures = scrape(port)
    assert (figures["metric_absolute_error_sum"], figures["metric_absolute_error_count"]) == (3.0, 1)
    assert figures["metric_squared_error_total"] == 9.0
    assert len(rows(tmp_path / "logs")) == 4


@pytest.fixture
def few_files() -> Iterator[Callable[[int], None]]:
    """Set how many files a process may open; it ends with the test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda n: resource.setrlimit(resource.RLIMIT_NOFILE, (n, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.long
def test_slow_clients_do_not_use_up_the_files_of_metric(
    fragile: Node, run: Run, tmp_path: Path, few_files: Callable[[int], None]
) -> None:
    """More of them than it may open files, while it has to connect again."""
    port = free_port()
    few_files(100)
    metric = run("metric", METRICS_PORT=port, AMQP_URL=fragile.url)
    metric.wait_for_log("connected")
    few_files(4096)
    slow = []
    for _ in range(150):
        slow.append(socket.create_connection(("127.0.0.1", port)))
        slow[-1].send(b"GET /metrics HTTP/1.1\r\n")
    assert len(os.listdir(f"/proc/{metric.process.pid}/fd")) < 60
    fragile.ctl("close_all_connections", "test")
    metric.wait_for_log("connected", 2)
    client = Client(fragile.url)
    pair(client, 1, 2.0)
    eventually(lambda: len(rows(tmp_path / "logs")) == 1, "a row")
    for connection in slow:
        connection.close()
    eventually(lambda: scrape(port)["metric_rows_total"] == 1, "its number")
    assert metric.terminate() == 0
    client.connection.close()


def test_whoever_scrapes_badly_costs_no_row(client: Client, run: Run, tmp_path: Path) -> None:
    port = free_port()
    metric = run("metric", METRICS_PORT=port)
    metric.wait_for_log("connected")
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    for i, request in enumerate(
        (b"", b"\0" * 100_000, b"GET /metrics HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\n\r\n") * 5
    ):
        with socket.create_connection(("127.0.0.1", port)) as client_that_resets:
            client_that_resets.sendall(request)
            client_that_resets.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        pair(client, i, 1.0)
    eventually(lambda: len(rows(tmp_path / "logs")) == 20, "the rows")
    eventually(lambda: scrape(port)["metric_rows_total"] == 20, "their number")
    asked = time.monotonic()
    assert metric.terminate() == 0
    assert time.monotonic() - asked < 2
    for connection in silent:
        connection.close()
