"""The stack with real containers, under both generations of Compose."""

from __future__ import annotations

from e2e.stack import BROKER_CONFIG, SERVICES, Stack, get, run
from harness import ROOT, Client, eventually, publish

import json
import os
import re
import struct
import subprocess
import time
import urllib.error
import zlib
from typing import Any

import pytest

pytestmark = pytest.mark.engine


def png_chunks(data: bytes) -> list[bytes]:
    """The names of a PNG's chunks; fails unless every checksum is right and nothing follows the end."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    names, at = [], 8
    while at < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        assert checksum == zlib.crc32(data[at + 4 : at + 8 + length])
        names.append(name)
        at += 12 + length
    return names


def test_rows_come(stack: Stack) -> None:
    stack.wait_for_another_row()
    for _, y_true, y_pred, absolute_error in stack.rows():
        assert absolute_error == abs(y_true - y_pred)


def test_the_picture_is_a_whole_png_and_changes(stack: Stack) -> None:
    picture = stack.logs / "error_distribution.png"
    eventually(picture.exists, "a picture")
    first = picture.read_bytes()
    names = png_chunks(first)
    assert names[0] == b"IHDR"
    assert names[-1] == b"IEND"
    second = eventually(lambda: (data := picture.read_bytes()) != first and data, "another picture")
    assert png_chunks(second)[-1] == b"IEND"


def test_the_management_page_answers_to_its_user_only(stack: Stack) -> None:
    page = f"http://127.0.0.1:{stack.management_port}"
    assert b"RabbitMQ" in get(page + "/")
    assert b"rabbitmq_version" in get(page + "/api/overview", "guest", "guest")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(page + "/api/overview", "guest", "wrong")


def test_a_foreign_client_gets_its_row(stack: Stack) -> None:
    sample_id = 1699541234.567
    url = f"amqp://guest:guest@127.0.0.1:{stack.amqp_port}"
    for queue, body in ("features", str([0.01] * 10)), ("y_true", "151.0"):
        run("amqp-publish", "--url", url, "--routing-key", queue, "--body", f'{{"id": {sample_id}, "body": {body}}}')
    row = eventually(lambda: next((row for row in stack.rows() if row[0] == sample_id), None), "its row")
    assert row[1] == 151.0


def test_containers_are_unprivileged_read_only_and_bounded(stack: Stack) -> None:
    stack.check_hardening("rabbitmq", "rabbitmq", published=2, bound=[BROKER_CONFIG])
    for service in SERVICES:
        stack.check_hardening(service, "10001:10001", bound=["/logs"] if service in ("metric", "plot") else [])
    # The one that runs as root does so once, without a network and with three capabilities.
    once = stack.inspect("logs")
    assert once["State"]["Status"] == "exited"
    assert once["HostConfig"]["NetworkMode"] == "none"
    assert once["HostConfig"]["CapDrop"] == ["ALL"]
    assert sorted(cap.removeprefix("CAP_") for cap in once["HostConfig"]["CapAdd"]) == [
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
    ]


def test_the_owner_of_logs_reads_and_deletes_what_the_services_write(stack: Stack) -> None:
    picture = stack.logs / "error_distribution.png"
    eventually(picture.exists, "a picture")
    assert picture.stat().st_uid == 10001
    root = os.getuid() == 0
    person: dict[str, Any] = {"user": stack.owner, "group": stack.owner, "extra_groups": []} if root else {}
    run("cat", stack.logs / "metric_log.csv", **person)
    run("rm", "-f", picture, **person)
    eventually(picture.exists, "a new picture")


def test_a_killed_service_comes_back(stack: Stack) -> None:
    for service in SERVICES:
        before = stack.inspect(service)["RestartCount"]
        stack.exec(service, "sh", "-c", "kill -9 -1")  # all but init
        eventually(lambda service=service, before=before: stack.inspect(service)["RestartCount"] > before, service)  # type: ignore[misc]
    stack.wait_for_another_row()


def test_health_tells_the_truth(stack: Stack) -> None:
    def passes(service: str) -> bool:
        kind, *command = stack.inspect(service)["Config"]["Healthcheck"]["Test"]
        return stack.exec(service, *(["sh", "-c"] if kind == "CMD-SHELL" else []), *command)

    subscribed = ("features", "model", "metric")
    for service in ("rabbitmq", *SERVICES):
        eventually(lambda service=service: passes(service), f"health of {service}")  # type: ignore[misc]
    stack.compose("stop", "rabbitmq")
    for service in subscribed:
        eventually(lambda service=service: not passes(service), f"{service} without a broker")  # type: ignore[misc]
    assert passes("plot")
    stack.compose("start", "rabbitmq")
    for service in subscribed:
        eventually(lambda service=service: passes(service), f"health of {service}")  # type: ignore[misc]
    stack.wait_for_another_row()


def test_the_engine_finds_all_healthy_after_an_outage(stack: Stack) -> None:
    for service in ("rabbitmq", *SERVICES):
        eventually(
            lambda service=service: stack.inspect(service)["State"]["Health"]["Status"] == "healthy",  # type: ignore[misc]
            f"the engine finds {service} healthy",
            150,  # it looks once a minute
        )


def test_sigterm_ends_each_service_in_two_seconds(stack: Stack) -> None:
    begun = time.time()
    for service in SERVICES:
        stack.compose("stop", service)
        assert stack.inspect(service)["State"]["ExitCode"] == 0, service
        filters = ["--filter=event=kill", "--filter=event=die", f"--filter=container={stack.container(service)}"]
        period = [f"--since={begun:.3f}", f"--until={time.time():.3f}"]
        events = run("docker", "events", *filters, *period, "--format={{.Action}} {{.TimeNano}}").split()
        at = dict(zip(events[::2], map(int, events[1::2]), strict=True))  # nanoseconds
        print(f"{service}: {(at['die'] - at['kill']) / 1e9:.1f} s")
        assert at["die"] - at["kill"] < 2e9, service
    stack.compose("up", "-d")
    stack.wait_for_another_row()


def test_down_leaves_nothing_but_the_data(stack: Stack) -> None:
    stack.compose("down")
    assert not stack.left("container")
    assert not stack.left("network")
    assert stack.left("volume"), "what waits in the broker is kept"
    stack.compose("down", "--volumes", "--rmi", "local")
    assert not stack.left("volume")
    assert not run("docker", "image", "ls", "--quiet", "--filter", f"reference={stack.project}*")


def test_make_up_and_four_models_and_make_down(new_stack: Any, generations: dict[str, list[str]]) -> None:
    stack: Stack = new_stack(min(generations))
    output = stack.make("up")
    assert "logs/metric_log.csv, then one every 1 s\n" in output
    assert "The pipeline is running." in output
    assert f"http://127.0.0.1:{stack.management_port}" in output
    eventually(stack.rows, "the first row")
    assert "Up" in stack.make("ps")

    page = f"http://127.0.0.1:{stack.management_port}/api/queues/%2F/features"
    stack.compose("up", "-d", "--scale", "model=4")
    eventually(lambda: json.loads(get(page, "guest", "guest")).get("consumers") == 4, "four models")
    stack.wait_for_another_row()
    ids = [row[0] for row in stack.rows()]
    assert len(ids) == len(set(ids))

    stack.make("down")
    assert not stack.left("container")
    assert not stack.left("network")
    output = stack.make("clean")
    assert "rm -r logs/*" in output
    assert "not found" not in output
    assert not stack.left("volume")


def test_queues_that_let_programs_in_which_declare_them_as_tutorials_do(
    new_stack: Any, generations: dict[str, list[str]]
) -> None:
    """Made by the commands of docs/troubleshooting.md; the services use them."""
    stack: Stack = new_stack(min(generations))
    page = (ROOT / "docs/troubleshooting.md").read_text()
    (commands,) = re.findall(r"^  ```sh\n(.*?)^  ```", page, re.MULTILINE | re.DOTALL)
    commands = commands.replace("15672", str(stack.management_port))
    run("bash", "-ec", commands, cwd=stack.folder, env=stack.environment)
    stack.compose("up", "-d", "--build", "metric")
    client = Client(f"amqp://guest:guest@127.0.0.1:{stack.amqp_port}/%2F")
    for queue in ("features", "y_true", "y_pred"):
        for durable in False, True:
            client.connection.channel().queue_declare(queue, durable=durable)
    publish(client, 1.0)
    eventually(lambda: stack.rows() == [(1.0, 1.5, 0.75, 0.75)], "its row")
    client.connection.close()


def test_make_up_reports_a_service_that_does_not_start(new_stack: Any, generations: dict[str, list[str]]) -> None:
    stack: Stack = new_stack(min(generations))
    stack.environment["INTERVAL"] = "often"
    done = subprocess.run(
        ["make", "up"], cwd=stack.folder, env=stack.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "INTERVAL='often'" in done.stderr
    assert "features does not start, see above." in done.stderr
    assert "The pipeline is running." not in done.stdout


def test_make_up_without_an_engine_names_make_local() -> None:
    environment = os.environ | {"DOCKER_HOST": "unix:///nonexistent"}
    done = subprocess.run([ROOT / "local" / "up.sh"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "make local" in done.stderr
