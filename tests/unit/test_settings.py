"""Settings of every service: what they take, and the one line for what they do not take."""

import features
import metric
import model
import plot
from pipeline.broker import Broker, BrokerSettings, stay_connected
from pipeline.settings import Settings, UnusableError, one_line_errors, read

import asyncio
from typing import Any

import pytest

ALL: dict[str, type[Settings]] = {
    "features": features.FeaturesSettings,
    "model": model.ModelSettings,
    "metric": metric.MetricSettings,
    "plot": plot.PlotSettings,
}
SECRET = "s3cret"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ALL.values():
        for name in kind.__dataclass_fields__:
            monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("text", [".2", "0.2", "2e-1", " 0.2 ", "0.2\r", "+.2"])
def test_a_number_may_be_written_in_any_usual_way(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("INTERVAL", text)
    assert read(features.FeaturesSettings).interval == 0.2


@pytest.mark.parametrize("text", ["", " ", "\r"])
def test_a_blank_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    for name in features.FeaturesSettings.__dataclass_fields__:
        monkeypatch.setenv(name.upper(), text)
    assert read(features.FeaturesSettings) == features.FeaturesSettings()


@pytest.mark.parametrize(
    ("service", "name", "text", "takes"),
    [
        ("features", "INTERVAL", "0,1", "seconds between samples"),
        ("features", "INTERVAL", "1s", "seconds between samples"),
        ("features", "INTERVAL", "-1", "from 0 to 1e9"),
        ("features", "INTERVAL", "nan", "from 0 to 1e9"),
        ("features", "INTERVAL", "inf", "from 0 to 1e9"),
        ("features", "COUNT", "0", "a whole number of samples, 1 or more"),
        ("features", "COUNT", "1.5", "a whole number of samples, 1 or more"),
        ("features", "COUNT", "ten", "a whole number of samples, 1 or more"),
        ("features", "SEED", "-1", "a whole number, 0 or more"),
        ("model", "MODEL_SHA256", "abc", "64 hexadecimal digits"),
        ("model", "MODEL_SHA256", "g" * 64, "64 hexadecimal digits"),
        ("model", "PREDICT_TIMEOUT", "0", "seconds above 0"),
        ("model", "PREDICT_TIMEOUT", "1e7", "1e6 at most"),
        ("metric", "PENDING_TTL", "0", "seconds above 0"),
        ("metric", "PENDING_TTL", "1e10", "1e9 at most"),
        ("metric", "METRICS_PORT", "0", "a port from 1 to 65535"),
        ("metric", "METRICS_PORT", "65536", "a port from 1 to 65535"),
        ("metric", "METRICS_PORT", "http", "a port from 1 to 65535"),
        ("plot", "PLOT_INTERVAL", "0", "above 0"),
        ("plot", "LOG_LEVEL", "debug", "DEBUG, INFO, WARNING or ERROR"),
        ("model", "LOG_LEVEL", "loud", "DEBUG, INFO, WARNING or ERROR"),
    ],
)
def test_what_a_setting_does_not_take_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], service: str, name: str, text: str, takes: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit, match="2"), one_line_errors(service):
        read(ALL[service])
    line = capsys.readouterr().err
    assert line.startswith(f"{service}: {name}={text!r}: takes ")
    assert takes in line
    assert line.count("\n") == 1


def first_address(url: str) -> str:
    """The address that a service connects to first; raises UnusableError."""
    found = []

    async def run(self: Broker, *_: Any) -> None:
        found.append(self.address)

    async def connect() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Broker, "run", run)
            patch.setenv("AMQP_URL", url)
            await stay_connected("test", read(BrokerSettings), (), None)  # type: ignore[arg-type]

    asyncio.run(connect())
    return found[0]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (f"amqp://user:{SECRET}@host:1234/%2F", "host:1234"),
        (f"amqp://user:{SECRET}%40x%23%2F@host/vhost", "host:5672"),
        ("amqps://host", "host:5671"),
        ("amqp://[::1]:1234/", "::1:1234"),
        (f"amqp://user:{SECRET}@first:1/%2F,amqp://user:{SECRET}@second:2/%2F", "first:1"),
        (f" amqp://user:{SECRET}@host:1/%2F?heartbeat=5\r", "host:1"),
    ],
)
def test_an_address_is_read(url: str, address: str) -> None:
    assert first_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        f"user:{SECRET}@host/",
        f"http://user:{SECRET}@host/",
        f"amqp://user:{SECRET}@x@host/",
        f"amqp://user:{SECRET}#x@host/",
        f"amqp://user:{SECRET}/x@host/",
        f"amqp://user:{SECRET}?x@host/",
        f"amqp://user:{SECRET} x@host/",
        f"amqp://user:{SECRET}'x@host/",
        f'amqp://user:{SECRET}"x@host/',
        f"amqp://user:{SECRET}[x@host/",
        f"amqp://user:{SECRET},x@host/",
        f"amqp://user:{SECRET}@host:port/",
        f"amqp://user:{SECRET}@host:99999/",
        f"amqp://user:{SECRET}@host/#x",
        f"amqp://user:{SECRET}@host/?heartbeat={SECRET}",
        f"amqps://user:{SECRET}@host/?ssl_options=%7B{SECRET}",
        f"amqps://user:{SECRET}@host/?ssl_options=%7B'cafile':'/{SECRET}'%7D",
        f"amqp://host/,amqp://user:{SECRET}@host:99999/",
        f"amqp://host/,{SECRET}",
    ],
)
def test_of_an_address_that_cannot_be_read_nothing_is_shown(url: str) -> None:
    with pytest.raises(UnusableError, match=r"^AMQP_URL: ") as raised:
        first_address(url)
    for secret in (SECRET, "user", "host:99999"):
        assert secret not in str(raised.value).replace("amqp://user:password@host:port/vhost", "")
