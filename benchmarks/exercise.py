"""The exercise as tutorials solve it: transient messages, automatic acknowledgement, no confirms, one at a time.

`python exercise.py features|model|metric`, with AMQP_URL, and COUNT for features, LOGS_DIR for metric. Left out, to be
fair to it: a connection, a dataset and a model loaded anew for each message. The model is the quickest there is.
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
    for queue in "features", "y_true", "y_pred":
        channel.queue_declare(queue, durable=True)  # RabbitMQ 4.3 takes no others; the messages are transient
    print("connected", file=sys.stderr)
    return channel


def publish(channel: Any, queue: str, sample_id: float, body: Any) -> None:
    channel.basic_publish("", queue, json.dumps({"id": sample_id, "body": body}))


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

    channel = connect()
    channel.basic_consume("features", on_message, auto_ack=True)
    channel.start_consuming()


def metric() -> None:
    path = Path(os.environ["LOGS_DIR"], "metric_log.csv")
    path.write_text("id,y_true,y_pred,absolute_error\n")
    waiting: dict[float, dict[str, float]] = {}

    def on_message(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        half = json.loads(body)
        pair = waiting.setdefault(half["id"], {})
        pair[method.routing_key] = half["body"]
        if len(pair) == 2:
            del waiting[half["id"]]
            with path.open("a") as file:
                error = abs(pair["y_true"] - pair["y_pred"])
                file.write(f"{half['id']},{pair['y_true']},{pair['y_pred']},{error}\n")

    channel = connect()
    channel.basic_consume("y_true", on_message, auto_ack=True)
    channel.basic_consume("y_pred", on_message, auto_ack=True)
    channel.start_consuming()


if __name__ == "__main__":
    {"features": features, "model": model, "metric": metric}[sys.argv[1]]()
