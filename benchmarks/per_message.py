"""Safe, and one message after the other: each publish waits for its confirm, each row for its fsync, then the acks.

`python per_message.py features|model|metric`, with AMQP_URL, and COUNT for features, LOGS_DIR for metric. Queues and
messages are those of the pipeline; the model is the quickest there is.
"""

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pika
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression


def connect() -> Any:
    channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
    channel.confirm_delivery()
    for queue in "features", "y_true", "y_pred":
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    print("connected", file=sys.stderr)
    return channel


def publish(channel: Any, queue: str, sample_id: float, body: Any) -> None:
    """Return when the broker has confirmed it."""
    text = json.dumps({"id": sample_id, "body": body})
    channel.basic_publish("", queue, text, pika.BasicProperties(delivery_mode=2), mandatory=True)


def features() -> None:
    X, y = load_diabetes(return_X_y=True)
    channel = connect()
    for _ in range(int(os.environ["COUNT"])):
        row = random.randrange(len(y))
        sample_id = time.time()
        publish(channel, "y_true", sample_id, y[row])
        publish(channel, "features", sample_id, X[row].tolist())
    channel.connection.close()


def model() -> None:
    regressor = LinearRegression().fit(*load_diabetes(return_X_y=True))

    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        sample = json.loads(body)
        publish(channel, "y_pred", sample["id"], regressor.predict(np.array([sample["body"]]))[0])
        channel.basic_ack(method.delivery_tag)

    channel = connect()
    channel.basic_qos(prefetch_count=1000)
    channel.basic_consume("features", on_message)
    channel.start_consuming()


def metric() -> None:
    path = Path(os.environ["LOGS_DIR"], "metric_log.csv")
    path.write_text("id,y_true,y_pred,absolute_error\n")
    log = path.open("a")
    waiting: dict[float, dict[str, tuple[float, int]]] = {}

    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        half = json.loads(body)
        pair = waiting.setdefault(half["id"], {})
        pair[method.routing_key] = half["body"], method.delivery_tag
        if len(pair) == 2:
            del waiting[half["id"]]
            y_true, y_pred = pair["y_true"][0], pair["y_pred"][0]
            log.write(f"{half['id']},{y_true},{y_pred},{abs(y_true - y_pred)}\n")
            log.flush()
            os.fsync(log.fileno())
            for _, tag in pair.values():
                channel.basic_ack(tag)

    channel = connect()
    channel.basic_qos(prefetch_count=0)  # a half is held until the other comes, so any bound could stall it
    channel.basic_consume("y_true", on_message)
    channel.basic_consume("y_pred", on_message)
    channel.start_consuming()


if __name__ == "__main__":
    {"features": features, "model": model, "metric": metric}[sys.argv[1]]()
