"""`make letters`: counts the dead letters by queue and reason, puts them back, or discards them.

Promise: a letter that is put back is removed only when the broker has confirmed it, unchanged, in its queue. A letter
that names none of the pipeline's queues stays.
"""

from pipeline.broker import Broker, Outgoing
from pipeline.messages import DEAD_LETTERS, FEATURES, Y_PRED, Y_TRUE
from tools import Message, batches, parser, reading, run

import asyncio
from collections import Counter

QUEUES = (FEATURES, Y_TRUE, Y_PRED)
SHOWN = 30  # reasons at most, the most frequent ones


def main() -> None:
    options = parser("make letters", "Count the dead letters by queue and reason, put them back, or discard them.")
    action = options.add_mutually_exclusive_group()
    action.add_argument("--put-back", metavar="TEXT", help="return those whose reason contains TEXT to their queues")
    action.add_argument("--discard", metavar="TEXT", help="remove them for good")
    given = options.parse_args()
    letters = Letters(given.broker, given.put_back, given.discard)
    run("letters", given.broker, (DEAD_LETTERS, *QUEUES), letters.serve)
    if letters.text is not None:
        show("put back" if given.discard is None else "discarded", letters.moved)
    show("dead letters left", letters.left)


class Letters:
    """`moved`: those that were put back or discarded, by queue and reason; `left`: those that stay."""

    def __init__(self, source: str, put_back: str | None, discard: str | None) -> None:
        self.source = source
        self.put_back, self.text = put_back is not None, discard if put_back is None else put_back
        self.moved, self.left = Counter[tuple[str, str]](), Counter[tuple[str, str]]()

    async def serve(self, broker: Broker) -> None:
        """The flow of this program: read, publish, acknowledge. Unacknowledged letters stay."""
        self.left.clear()
        with reading(self.source) as channel:
            n = channel.queue_declare(DEAD_LETTERS, passive=True).method.message_count
            for batch in batches(channel, DEAD_LETTERS, n):
                chosen = [letter for letter in batch if self.chooses(*origin(letter))]
                if self.put_back:
                    await broker.publish(Outgoing(origin(letter)[0], letter[2]) for letter in chosen)
                for method, *_ in chosen:
                    channel.basic_ack(method.delivery_tag)
                self.moved.update(map(origin, chosen))
                self.left.update(map(origin, batch))
                self.left.subtract(map(origin, chosen))
                await asyncio.sleep(0)  # Ctrl-C ends it here

    def chooses(self, queue: str, reason: str) -> bool:
        return self.text is not None and self.text in reason and queue in QUEUES


def origin(letter: Message) -> tuple[str, str]:
    """Its queue and its reason: ours, or those of RabbitMQ, which has dropped it; or nothing."""
    headers = letter[1].headers or {}
    queue = headers.get("queue") or headers.get("x-first-death-queue") or "unknown"
    dropped = headers.get("x-first-death-reason")
    reason = headers.get("reason") or (f"dropped by the broker: {dropped}" if dropped else "no header names one")
    return str(queue), str(reason)


def show(what: str, letters: Counter[tuple[str, str]]) -> None:
    print(f"{letters.total():9,} {what}")
    shown = (+letters).most_common(SHOWN)
    for (queue, reason), n in shown:
        print(f"{n:9,}   {queue:8}   {reason}")
    if len(+letters) > SHOWN:
        print(f"{'':9}   and {len(+letters) - SHOWN:,} other reasons")


if __name__ == "__main__":
    main()
