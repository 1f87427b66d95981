"""The ceiling: the pipeline's messages moved with its guarantees, and nothing else done.

`python ceiling.py features|model|metric`, with AMQP_URL and COUNT. All that is published is encoded beforehand, and
what comes is not decoded beyond its kind: no JSON, no model, no join, no file. Messages are persistent and mandatory,
in quorum queues, with pipelined confirms; what is consumed is acknowledged when its answer is confirmed. metric prints
the samples per second.
"""

import itertools
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from pika import BasicProperties, frame, spec

WINDOW = 2000  # messages unconfirmed, or unacknowledged, at most
FEATURES = "[" + ",".join(["-0.04464163650698914"] * 10) + "]"  # of the usual length
DELIVER, ACK = (60, 60), (60, 80)  # class and method
HEAD = struct.Struct(">BHIHH")  # of a frame: type, channel, size; of a method: class, method


class Connection:
    """One channel on a plain socket."""

    def __init__(self, *methods: object) -> None:
        """Open it, make the queues, and carry out the methods."""
        url = urlsplit(os.environ["AMQP_URL"])
        self.socket = socket.create_connection((url.hostname, url.port or 5672))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.low, self.high = 0, set[int]()  # all up to `low` are confirmed, and those of `high`
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        list(self.read())
        user, password = unquote(url.username or "guest"), unquote(url.password or "guest")
        self.call(spec.Connection.StartOk({}, "PLAIN", f"\0{user}\0{password}", "en_US"))
        self.socket.sendall(frame.Method(0, spec.Connection.TuneOk(1, 131072, 0)).marshal())
        self.call(spec.Connection.Open(unquote(url.path[1:]) or "/"))
        self.call(spec.Channel.Open(), spec.Confirm.Select())
        for queue in "features", "y_true", "y_pred":
            self.call(spec.Queue.Declare(queue=queue, durable=True, arguments={"x-queue-type": "quorum"}))
        self.call(*methods)

    def call(self, *methods: object) -> None:
        for method in methods:
            channel = 0 if method.NAME.startswith("Connection") else 1  # type: ignore[attr-defined]
            self.socket.sendall(frame.Method(channel, method).marshal())
            list(self.read())

    def read(self) -> Iterator[tuple[tuple[int, int], int]]:
        """Yield the methods that have arrived, each with the place in the buffer where its arguments begin."""
        self.buffer += self.socket.recv(2**20)
        start, end = 0, len(self.buffer)
        while end - start > HEAD.size:
            kind, _, size, *method = HEAD.unpack_from(self.buffer, start)
            if start + size + 8 > end:
                break
            if kind == 1:
                yield tuple(method), start + HEAD.size
            start += size + 8
        self.buffer = self.buffer[start:]

    def confirm(self, at: int) -> None:
        tag, multiple = struct.unpack_from(">QB", self.buffer, at)
        if multiple:
            self.low = max(self.low, tag)
        else:
            self.high.add(tag)
        while self.low + 1 in self.high:
            self.low += 1
            self.high.remove(self.low)

    def acknowledge(self, tag: int) -> None:
        self.socket.sendall(frame.Method(1, spec.Basic.Ack(tag, multiple=True)).marshal())


def encode(queue: str, count: int, body: str) -> list[bytes]:
    """The frames of each of the messages to publish."""
    head = frame.Method(1, spec.Basic.Publish(routing_key=queue, mandatory=True)).marshal()
    persistent = BasicProperties(delivery_mode=2)
    now = time.time()
    texts = (f'{{"id":{now + i / 1e4:.6f},"body":{body}}}'.encode() for i in range(count))
    return [head + frame.Header(1, len(text), persistent).marshal() + frame.Body(1, text).marshal() for text in texts]


def consume(queue: str) -> spec.Basic.Consume:
    return spec.Basic.Consume(queue=queue, consumer_tag=queue)


def features(count: int) -> None:
    pairs = zip(encode("features", count, FEATURES), encode("y_true", count, "151.0"), strict=True)
    messages = list(itertools.chain.from_iterable(pairs))
    connection = Connection()
    sent = 0
    while connection.low < len(messages):
        room = connection.low + WINDOW - sent
        connection.socket.sendall(b"".join(messages[sent : sent + room]))
        sent = min(sent + room, len(messages))
        for _, at in connection.read():
            connection.confirm(at)


def model(count: int) -> None:
    messages = encode("y_pred", count, "152.13348416289594")
    connection = Connection(spec.Basic.Qos(prefetch_count=WINDOW), consume("features"))
    delivered = sent = acknowledged = 0
    print("connected", file=sys.stderr)
    while acknowledged < count:
        for method, at in connection.read():
            if method == DELIVER:
                delivered += 1
            elif method == ACK:
                connection.confirm(at)
        connection.socket.sendall(b"".join(messages[sent:delivered]))
        sent = delivered
        if connection.low > acknowledged:
            acknowledged = connection.low
            connection.acknowledge(acknowledged)


def metric(count: int) -> None:
    connection = Connection(spec.Basic.Qos(prefetch_count=WINDOW), consume("y_true"), consume("y_pred"))
    print("connected", file=sys.stderr)
    delivered, start = 0, 0.0
    while delivered < 2 * count:
        new = sum(method == DELIVER for method, _ in connection.read())
        start = start or time.perf_counter()
        delivered += new
        if new:
            connection.acknowledge(delivered)
    print(count / (time.perf_counter() - start))


if __name__ == "__main__":
    {"features": features, "model": model, "metric": metric}[sys.argv[1]](int(os.environ["COUNT"]))
