"""Drawing samples: ids, intervals, how many."""

import features
from features import FeaturesSettings, Samples
from pipeline.dataset import load

import json
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes

clock = st.floats(1.6e9, 4e9)


@given(st.lists(clock, min_size=1, max_size=50))
def test_ids_increase_whatever_the_clock_does(times: list[float]) -> None:
    last, ids = 0.0, []
    for now in times:
        last = features.next_id(last, now)
        ids.append(last)
    assert all(a < b for a, b in pairwise(ids))
    assert abs(ids[0] - times[0]) < 1e-6
    assert ids[-1] < max(times) + 1e-3


class Stopwatch:
    """Replaces time.monotonic, and stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    stopwatch = Stopwatch()
    monkeypatch.setattr(time, "monotonic", stopwatch)
    return stopwatch


@pytest.fixture
def samples() -> Callable[..., Samples]:
    def make(**settings: object) -> Samples:
        chosen = FeaturesSettings(**{"seed": 1} | settings)  # type: ignore[arg-type]
        return Samples(load(chosen), chosen)

    return make


@pytest.mark.parametrize("interval", [1e-320, 5e-324])
def test_an_interval_of_almost_0_is_as_fast_as_possible(samples: Callable[..., Samples], interval: float) -> None:
    made = samples(interval=interval)
    time.sleep(0.01)
    assert drawn(made) == features.BATCH


def drawn(samples: Samples) -> int:
    """Draw what is due, confirm it, and return how many samples it was."""
    n = len(samples.draw()) // 2
    samples.forget_confirmed()
    return n


def test_a_sample_is_a_vector_and_its_label_under_one_new_id(samples: Callable[..., Samples]) -> None:
    X, y = load_diabetes(return_X_y=True)
    held_out = {tuple(x): label for x, label in zip(X[::4].tolist(), y[::4].tolist(), strict=True)}
    messages = samples(interval=0).draw()
    assert [message.queue for message in messages] == ["features", "y_true"] * features.BATCH
    vectors, labels = ([json.loads(message.body) for message in messages[i::2]] for i in (0, 1))
    assert [vector["id"] for vector in vectors] == [label["id"] for label in labels]
    assert all(a["id"] < b["id"] for a, b in pairwise(vectors))
    assert abs(vectors[0]["id"] - time.time()) < 60
    assert all(held_out[tuple(v["body"])] == t["body"] for v, t in zip(vectors, labels, strict=True))


def test_ids_go_on_from_batch_to_batch_while_the_clock_goes_back(
    samples: Callable[..., Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing, ids = samples(interval=0), []
    for now in (2e9, 1e9, 2e9 + 1):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        ids += [json.loads(message.body)["id"] for message in drawing.draw()[::2]]
        drawing.forget_confirmed()
    assert len(ids) == 3 * features.BATCH
    assert all(a < b for a, b in pairwise(ids))


def test_what_is_not_confirmed_stays_as_it_was_drawn(samples: Callable[..., Samples]) -> None:
    drawing = samples()
    messages = list(drawing.draw())
    assert messages
    assert drawing.unconfirmed == messages
    drawing.forget_confirmed()
    assert drawing.unconfirmed == []


@pytest.mark.parametrize("interval", [10.0, 0.5, 0.001])
def test_one_sample_is_drawn_each_interval(
    samples: Callable[..., Samples], stopwatch: Stopwatch, interval: float
) -> None:
    drawing = samples(interval=interval)
    begun, n = stopwatch.now, 0
    while stopwatch.now < begun + 100 * interval:
        n += drawn(drawing)
        assert drawing.seconds_to_next() <= interval
        stopwatch.now += drawing.seconds_to_next() + interval / 1000  # a timer never comes too early
    assert n == 100


@pytest.mark.parametrize(("late", "expected"), [(0.25, 3), (0.95, 10), (3600, 11)])
def test_intervals_that_passed_meanwhile_are_caught_up_with_for_a_second_of_them(
    samples: Callable[..., Samples], stopwatch: Stopwatch, late: float, expected: int
) -> None:
    drawing = samples(interval=0.1)
    assert drawn(drawing) == 1
    stopwatch.now = drawing.due + late
    assert drawn(drawing) == expected
    assert 0 < drawing.seconds_to_next() <= 0.1 + 1e-9


@pytest.mark.parametrize("count", [1, 7, features.BATCH, features.BATCH + 1, 1234])
def test_count_is_exact(samples: Callable[..., Samples], count: int) -> None:
    drawing = samples(interval=0, count=count)
    n = 0
    while more := drawn(drawing):
        n += more
    assert n == drawing.drawn == count
    assert drawing.seconds_to_next() == 0


def test_count_ends_a_catch_up_too(samples: Callable[..., Samples], stopwatch: Stopwatch) -> None:
    drawing = samples(interval=0.1, count=4)
    assert drawn(drawing) == 1
    stopwatch.now += 60
    assert drawn(drawing) == 3
    assert drawn(drawing) == 0


def test_a_seed_repeats_the_draw(samples: Callable[..., Samples]) -> None:
    def bodies(seed: int | None) -> list[object]:
        return [json.loads(message.body)["body"] for message in samples(interval=0, seed=seed).draw()]

    assert bodies(3) == bodies(3) != bodies(4)
    assert bodies(None) != bodies(None)


def test_an_id_that_comes_twice_after_a_restart_is_the_same_sample(
    samples: Callable[..., Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock went back meanwhile. So the repeat makes no second row, and no label that contradicts the first."""
    drawn = list[dict[tuple[str, float], object]]()
    for now in (1.7e9, 1.7e9 - 3, 1.7e9 + 1e-4):  # before the restart, after it, and after another one
        monkeypatch.setattr(time, "time", lambda now=now: now)
        messages = [(message.queue, json.loads(message.body)) for message in samples(interval=0, seed=None).draw()]
        drawn.append({(queue, message["id"]): message["body"] for queue, message in messages})
    before, earlier, again = drawn
    common = before.keys() & again.keys()
    assert len(common) > features.BATCH
    assert all(before[key] == again[key] for key in common)
    assert not before.keys() & earlier.keys()
