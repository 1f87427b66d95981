"""An account for each service, as docker-compose.accounts.yaml sets them up: enough to work, and no more."""

from __future__ import annotations

from e2e.stack import Stack, get
from harness import QUEUES, eventually

import json
import secrets
import urllib.error
from collections.abc import Callable
from typing import Any

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, ProbableAuthenticationError

pytestmark = pytest.mark.engine

ACCOUNTS = ("features", "model", "metric")
WRITES = {"features": ("features", "y_true"), "model": ("y_pred", "dead_letters"), "metric": ("dead_letters",)}
READS = {"features": (), "model": ("features",), "metric": ("y_true", "y_pred")}

# What none of them may do, whichever queue it is about.
FORBIDDEN: dict[str, Callable[[Any, str], object]] = {
    "publish to the default exchange": lambda channel, queue: channel.basic_publish("", queue, b"x", mandatory=True),
    "publish to another exchange": lambda channel, queue: channel.basic_publish("amq.topic", queue, b"x"),
    "declare": lambda channel, queue: channel.queue_declare(f"{queue}_of_mine"),
    "declare an exchange": lambda channel, queue: channel.exchange_declare(f"{queue}_of_mine"),
    "delete": lambda channel, queue: channel.queue_delete(queue, if_unused=True, if_empty=True),
    "delete the exchange": lambda channel, _: channel.exchange_delete("pipeline", if_unused=True),
    "bind": lambda channel, queue: channel.queue_bind(queue, "pipeline", "copy"),
    "unbind": lambda channel, queue: channel.queue_unbind(queue, "pipeline", "copy"),
}


@pytest.fixture(scope="module")
def passwords() -> dict[str, str]:
    return {name: secrets.token_hex(8) for name in (*ACCOUNTS, "admin")}


@pytest.fixture(scope="module")
def stack(new_stack: Any, generations: dict[str, list[str]], passwords: dict[str, str]) -> Stack:
    stack: Stack = new_stack(
        min(generations),
        COMPOSE_FILE="docker-compose.yaml:docker-compose.accounts.yaml",
        RABBITMQ_PASSWORD=passwords["admin"],
        **{f"{name.upper()}_PASSWORD": passwords[name] for name in ACCOUNTS},
    )
    stack.compose("up", "-d", "--build")
    eventually(stack.rows, "the first row")
    return stack


@pytest.fixture
def allowed(stack: Stack, passwords: dict[str, str]) -> Callable[[str, Callable[[Any], object]], bool]:
    """Whether an account may do something; every other error than a refusal is one of the test."""

    def allowed(account: str, action: Callable[[Any], object]) -> bool:
        credentials = pika.PlainCredentials(account, passwords[account])
        parameters = pika.ConnectionParameters("127.0.0.1", stack.amqp_port, credentials=credentials)
        connection = pika.BlockingConnection(parameters)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            action(channel)
        except ChannelClosedByBroker as error:
            if error.reply_code != 403:
                raise
            return False
        finally:
            connection.close()  # gives back what it took
        return True

    return allowed


def test_each_service_has_its_account(stack: Stack, passwords: dict[str, str]) -> None:
    stack.wait_for_another_row()
    page = f"http://127.0.0.1:{stack.management_port}/api/connections"

    def users() -> list[str]:
        return sorted(connection["user"] for connection in json.loads(get(page, "admin", passwords["admin"])))

    eventually(lambda: users() == sorted(ACCOUNTS), "their connections on the page")


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("account", ACCOUNTS)
def test_each_crosses_no_line(allowed: Any, account: str, queue: str) -> None:
    bad = b'{"id": null}'  # where it may be published, it ends among the dead letters
    publish = allowed(account, lambda channel: channel.basic_publish("pipeline", queue, bad, mandatory=True))
    assert publish == (queue in WRITES[account])
    assert allowed(account, lambda channel: channel.basic_get(queue)) == (queue in READS[account])
    assert allowed(account, lambda channel: channel.basic_consume(queue, print)) == (queue in READS[account])
    if queue not in READS[account]:
        assert not allowed(account, lambda channel: channel.queue_purge(queue))
    for what, action in FORBIDDEN.items():
        assert not allowed(account, lambda channel, action=action: action(channel, queue)), what


def test_only_the_administrator_sees_the_management_page(stack: Stack, passwords: dict[str, str]) -> None:
    page = f"http://127.0.0.1:{stack.management_port}/api/overview"
    assert get(page, "admin", passwords["admin"])
    for account in ACCOUNTS:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(page, account, passwords[account])


def test_there_is_no_guest(stack: Stack) -> None:
    for password in "guest", stack.environment["RABBITMQ_PASSWORD"]:
        credentials = pika.PlainCredentials("guest", password)
        with pytest.raises(ProbableAuthenticationError):
            pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", stack.amqp_port, credentials=credentials))


def test_each_container_knows_its_own_password_only(stack: Stack, passwords: dict[str, str]) -> None:
    for service in ACCOUNTS:
        environment = str(stack.inspect(service)["Config"]["Env"])
        assert [name for name, password in passwords.items() if password in environment] == [service]


def test_no_password_is_shown(stack: Stack, passwords: dict[str, str]) -> None:
    stack.check_secrecy(passwords.values())
