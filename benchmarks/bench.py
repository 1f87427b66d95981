"""What `make bench` runs: the speed of the pipeline next to other implementations, and how it scales.

    python benchmarks/bench.py [--quick] [--compare COMMIT] [--url amqp://…] [--output benchmarks/results]

Everything is measured in one run, in turn and in several rounds, since only what was measured side by side can be
compared; --compare runs an older commit of this repository in turn with the one at hand. Writes OUTPUT.md and
OUTPUT.png; with --quick, whose numbers are too rough to keep, it only prints.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import pickle
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pika
import pika.exceptions

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE), str(ROOT / "metric" / "src")]
import metric  # noqa: E402
import slow_model  # noqa: E402
from local import Node  # noqa: E402
from pipeline.files import HEADER  # noqa: E402

QUEUES = ("features", "y_true", "y_pred", "dead_letters")
DEADLINE = 120.0  # seconds for any one run
Roots = dict[str, Path]  # the pipeline, and another commit of it, and where they are
MODEL = ROOT / "model" / "src" / "myfile.pkl"
OURS = "this pipeline"
FORMS = {  # name: samples a round
    "safe, per message": 1500,
    "exercise": 6000,
    OURS: 40_000,
    "ceiling": 60_000,
}
SLOW_VECTORS = 300
SCRIPTS = {"safe, per message": "per_message.py", "exercise": "exercise.py", "ceiling": "ceiling.py"}


class Process:
    """A process, its log, and what it prints."""

    def __init__(self, folder: Path, *command: object, **env: object) -> None:
        self.log = Path(tempfile.mkstemp(".log", dir=folder)[1])
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, *map(str, command)],
                env={"TMPDIR": str(folder), "PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parent)}
                | {k: str(v) for k, v in env.items()},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def wait_for(self, text: str) -> None:
        wait(lambda: text in self.log.read_text() or self.popen.poll() is not None)
        if text not in self.log.read_text():
            raise SystemExit(f"{self.popen.args!r} ended:\n{self.log.read_text()}")

    def numbers(self) -> list[float]:
        """The numbers on the next line that it prints."""
        return [float(word) for word in self.popen.stdout.readline().split()]  # type: ignore[union-attr]

    def peak(self) -> float:
        """Resident memory at its highest, in MB, with that of the processes which it started; 0 if it has ended."""
        try:
            children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()
            texts = [Path(f"/proc/{pid}/status").read_text() for pid in (self.popen.pid, *children)]
            return sum(int(text.split("VmHWM:")[1].split()[0]) for text in texts) / 1000
        except (OSError, IndexError):
            return 0

    def cpu(self) -> float:
        """Seconds of CPU so far, with those of the processes which it started; also when it has just ended."""
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children")
        pids = [self.popen.pid, *map(int, children.read_text().split() if children.exists() else [])]
        return sum(map(cpu_seconds, pids))

    def end(self) -> None:
        self.popen.send_signal(signal.SIGCONT)
        self.popen.terminate()
        self.popen.communicate()


class Run(NamedTuple):
    """One run of the pipeline, or of another form of it."""

    rate: float  # samples/s, from the first row in the CSV to the last
    delays: list[float]  # seconds from each sample's id to its row
    peaks: dict[str, float]  # MB
    cpu: dict[str, float]  # seconds per sample, of each service
    connected: float  # seconds from metric's start


class Bench:
    """Starts processes against one broker, and clears up after each measurement."""

    def __init__(self, url: str, folder: Path, broker: int | None = None) -> None:
        """`broker`: the process of the broker, where it is a private one."""
        self.url, self.folder, self.broker = url, folder, broker
        self.processes: list[Process] = []
        parameters = pika.URLParameters(url)
        parameters.heartbeat = 0  # nobody serves it while a measurement runs
        self.channel: Any = pika.BlockingConnection(parameters).channel()

    def require_no_queues(self) -> None:
        """Deleting them is the way to clear up, so there must be none of somebody else's."""
        for queue in QUEUES:
            channel = self.channel.connection.channel()
            with contextlib.suppress(pika.exceptions.ChannelClosedByBroker):
                channel.queue_declare(queue, passive=True)
                raise SystemExit(f"the broker has a queue {queue} already; take a virtual host of its own")

    def start(self, *command: object, **env: object) -> Process:
        self.processes.append(Process(self.folder, *command, AMQP_URL=self.url, **env))
        return self.processes[-1]

    def clear(self) -> None:
        while self.processes:
            self.processes.pop().end()
        for queue in QUEUES:
            self.channel.queue_delete(queue)

    def run(
        self, form: str, count: int, logs: Path | None = None, pause: float = 0.01, root: Path = ROOT, **env: object
    ) -> Run:
        """Run all services of a form until `count` samples have a row; without plot in a folder that is given."""
        names = ["metric", "model", "features"] if form in SCRIPTS or logs else ["metric", "model", "plot", "features"]
        logs = logs or Path(tempfile.mkdtemp(dir=self.folder))
        env |= {"COUNT": count, "SEED": 1, "LOGS_DIR": logs, "MODEL_PATH": MODEL}
        services, connected, cpu = dict[str, Process](), 0.0, dict[str, float]()
        csv = logs / "metric_log.csv"
        before = csv.stat().st_size if csv.exists() else 0
        for name in names:
            start = time.perf_counter()
            command = (HERE / SCRIPTS[form], name) if form in SCRIPTS else (root / name / "src" / f"{name}.py",)
            services[name] = self.start(*command, PYTHONPATH=root, **({"INTERVAL": 0} | env))
            if name in ("metric", "model") or (name == "features" and form not in SCRIPTS):
                services[name].wait_for("connected")
                cpu[name] = services[name].cpu()
            connected = connected or time.perf_counter() - start
        if form == "ceiling":
            return Run(services["metric"].numbers()[0], [], {}, {}, connected)
        if self.broker:
            cpu["broker"] = cpu_seconds(self.broker)
        seen: list[tuple[float, float]] = []
        peaks: dict[str, float] = {}
        for arrival in itertools.islice(arrivals(csv, before, pause), count):
            seen.append(arrival)
            if len(seen) % 1000 == 1 or len(seen) == count:  # not only at the end, since features ends before
                peaks |= {name: peak for name, service in services.items() if (peak := service.peak())}
        times = [now for now, _ in seen]
        rate = (count - times.count(times[0])) / (times[-1] - times[0])
        end = {name: services[name].cpu() if name in services else cpu_seconds(self.broker) for name in cpu}
        cpu = {name: (end[name] - cpu[name]) / count for name in cpu}
        return Run(rate, [now - sample_id for now, sample_id in seen], peaks, cpu, connected)

    def waiting(self, queue: str) -> int:
        return int(self.channel.queue_declare(queue, passive=True).method.message_count)

    def predictions(self, script: Path, forest: Path, processes: int, count: int) -> tuple[float, float]:
        """Predictions/s of a heavy model, from a queue that is full at first, and the share of the cores in use."""
        models = [self.start(script, MODEL_PATH=forest) for _ in range(processes)]
        for model in models:
            model.wait_for("connected")
            model.popen.send_signal(signal.SIGSTOP)
        features = self.start(ROOT / "features/src/features.py", INTERVAL=0, COUNT=count, SEED=1)
        features.popen.wait(DEADLINE)
        start, (total, idle) = time.perf_counter(), cores()
        for model in models:
            model.popen.send_signal(signal.SIGCONT)
        wait(lambda: self.waiting("y_pred") >= count, 0.02)
        seconds, now = time.perf_counter() - start, cores()
        return count / seconds, 1 - (now[1] - idle) / max(now[0] - total, 1)


def cpu_seconds(pid: int | None) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cores() -> tuple[int, int]:
    """Ticks of all cores since the machine started, and how many of them were idle."""
    ticks = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


def wait(condition: Callable[[], object], pause: float = 0.005) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"a run did not end within {DEADLINE:g} s")
        time.sleep(pause)


def arrivals(csv: Path, offset: int, pause: float) -> Iterator[tuple[float, float]]:
    """Yield each new row of the CSV: the time at which it was seen, and its id."""
    wait(csv.exists)
    with csv.open("rb") as file:
        file.seek(offset)
        rest = b""
        while True:
            wait(lambda: csv.stat().st_size > file.tell(), pause)
            now = time.time()
            *lines, rest = (rest + file.read()).split(b"\n")
            yield from ((now, float(line.split(b",")[0])) for line in lines if not line.startswith(b"id"))


def write_rows(csv: Path, rows: int, end: bytes = b"") -> None:
    """A log of `rows` rows, the same hundred thousand again and again, and what is to stand at its end."""
    block = min(rows, 100_000)
    random = np.random.default_rng(0)
    y_true, y_pred = random.normal(150, 50, (2, block)).tolist()
    text = b"".join(metric.csv_line(1.6e9 + i, *pair) for i, pair in enumerate(zip(y_true, y_pred, strict=True)))
    with csv.open("wb") as file:
        file.write(HEADER)
        for _ in range(rows // block):
            file.write(text)
        file.write(end)


def write_state(folder: Path, queues: tuple[str, ...], first: float, count: int) -> None:
    """Let metric itself log these halves."""
    log = metric.MetricLog(folder)
    message = b'{"id": 1699541234.567123, "body": 152.13348416289594}'
    for start in range(0, count, 10_000):
        ids = [first + i for i in range(start, start + 10_000)]
        log.add([metric.Half(queue, sample_id, 150.0, message) for sample_id in ids for queue in queues])
    log.close()


def machine(bench: Bench, folder: Path) -> str:
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    broker = bench.channel.connection._impl.server_properties["version"]
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    place = max((m for m in mounts if folder.is_relative_to(m[1])), key=lambda m: len(m[1]))
    with tempfile.TemporaryFile(dir=folder) as file:
        syncs = []
        for _ in range(50):
            file.write(b"x" * 100)
            file.flush()
            start = time.perf_counter()
            os.fsync(file.fileno())
            syncs.append(time.perf_counter() - start)
    return (
        f"{cpu.split(':')[1].strip()}, {os.cpu_count()} cores; Linux {platform.release()}; {place[2]}, "
        f"{1000 * statistics.median(syncs):.2f} ms per fsync; RabbitMQ {broker}; Python {platform.python_version()}; "
        f"pika {pika.__version__}"
    )


class Report:
    """What was measured: lines for the table, targets, and numbers for the chart."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []
        self.targets: list[tuple[str, str, bool]] = []

    def add(self, what: str, measured: str) -> None:
        self.rows.append((what, measured))
        print(f"    {what}: {measured}", flush=True)

    def target(self, what: str, value: float, bound: float, form: str, at_least: bool = False) -> None:
        met = value >= bound if at_least else value <= bound
        sign = "≥" if at_least else "≤"
        self.targets.append((f"{what} {sign} {form.format(bound)}", form.format(value), met))

    def text(self, machine: str, picture: str) -> str:
        lines = ["# Benchmarks", "", f"Written by `make bench` on {time.strftime('%Y-%m-%d')}. {machine}.", ""]
        lines += [f"![The throughput, next to other implementations]({picture})", ""]
        lines += ["| target | measured | |", "|---|---|---|"]
        lines += [f"| {what} | {value} | {'met' if met else '**missed**'} |" for what, value, met in self.targets]
        lines += ["", "| what | measured |", "|---|---|", *(f"| {what} | {value} |" for what, value in self.rows), ""]
        return "\n".join(lines)


def throughput(bench: Bench, report: Report, roots: Roots, rounds: int, share: float) -> dict[str, list[float]]:
    forms = FORMS | dict.fromkeys(roots, FORMS[OURS])
    print("throughput, samples/s:", ", ".join(forms))
    runs: dict[str, list[Run]] = {form: [] for form in forms}
    for number in range(rounds):
        for form, count in forms.items():
            runs[form].append(bench.run(form, int(count * share), root=roots.get(form, ROOT)))
            bench.clear()
        print(f"    round {number + 1} of {rounds}: ", *(f"{done[-1].rate:,.0f}" for done in runs.values()), flush=True)
    rates = {form: [run.rate for run in done] for form, done in runs.items()}
    for form, least in {"safe, per message": 15, "exercise": 2, "ceiling": 0.42}.items():
        ratio = statistics.median(a / b for a, b in zip(rates[OURS], rates[form], strict=True))
        report.target(f"{OURS} / {form}", ratio, least, "{:.2f}", at_least=True)
    for form, values in rates.items():
        spread = f"{statistics.median(values):,.0f} samples/s ({min(values):,.0f} to {max(values):,.0f})"
        report.add(f"throughput: {form}", spread)
    for form in roots:
        cpu = {name: 1e6 * statistics.median(run.cpu[name] for run in runs[form]) for name in runs[form][0].cpu}
        report.add(f"CPU per sample: {form}", ", ".join(f"{name} {value:.0f} µs" for name, value in cpu.items()))
    peaks = {name: max(run.peaks[name] for run in runs[OURS]) for name in runs[OURS][0].peaks}
    report.add("memory at most", ", ".join(f"{name} {peak:.0f} MB" for name, peak in peaks.items()))
    return rates


def latency(bench: Bench, report: Report, roots: Roots, rounds: int, count: int) -> None:
    print("latency from publish to row, at 50 samples/s")
    delays: dict[str, list[float]] = {form: [] for form in roots}
    for _ in range(rounds):
        for form, root in roots.items():
            delays[form] += bench.run(form, count, root=root, pause=0.0005, INTERVAL=0.02).delays
            bench.clear()
    for form, seconds in delays.items():
        p50, p99, most = 1000 * np.percentile(seconds, [50, 99, 100])
        report.add(f"latency at 50 samples/s: {form}", f"p50 {p50:.1f}, p99 {p99:.1f}, maximum {most:.1f} ms")
    report.target("latency at 50 samples/s, p99", 1000 * np.percentile(delays[OURS], 99), 50, "{:.1f} ms")


def slow(folder: Path, report: Report, count: int) -> None:
    """On a broker that takes back what a consumer holds for more than a minute."""
    print(f"a model that takes {slow_model.SECONDS} s for a vector, and a second one 3 s later")
    with Node(folder / "slow-broker", config="consumer_timeout = 60000") as broker:
        bench = Bench(broker.url, folder)
        path = folder / "slow.pkl"
        path.write_bytes(pickle.dumps(slow_model.SlowModel(), protocol=5))
        environment = {"MODEL_PATH": path, "PYTHONPATH": f"{ROOT}:{HERE}"}
        models = [bench.start(ROOT / "model/src/model.py", **environment)]
        models[0].wait_for("connected")
        start = time.perf_counter()
        for sample_id in range(count):
            bench.channel.basic_publish("", "features", b'{"id": %d, "body": [0.5]}' % sample_id)
        wait(lambda: bench.waiting("y_pred") > 0)
        first = time.perf_counter() - start
        time.sleep(3 - first)
        models.append(bench.start(ROOT / "model/src/model.py", **environment))
        wait(lambda: bench.waiting("y_pred") >= count, 0.02)
        seconds = time.perf_counter() - start
        lost = sum(model.log.read_text().count("no connection") for model in models)
        bench.clear()
    cost = f"the first answer after {first:.1f} s, all {count} after {seconds:.0f} s, {lost} connections lost"
    report.add(f"a model of {slow_model.SECONDS} s per vector, a second one 3 s later", cost)
    report.target("slow model: first answer", first, 1, "{:.1f} s")
    report.target("slow model: two processes / one", seconds / (count * slow_model.SECONDS), 0.6, "{:.2f}")


def heavy_model(bench: Bench, report: Report, rounds: int, share: float) -> dict[str, float]:
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import RandomForestRegressor

    print("a forest of 300 trees, predictions/s: row by row, batched with 1, 2 and 4 processes")
    forest = bench.folder / "forest.pkl"
    forest.write_bytes(pickle.dumps(RandomForestRegressor(300, random_state=0).fit(*load_diabetes(return_X_y=True))))
    batched = ROOT / "model" / "src" / "model.py"
    ways = {
        "row by row": (HERE / "row_by_row.py", 1, int(400 * share)),
        "1 process": (batched, 1, int(40_000 * share)),
        "2 processes": (batched, 2, int(40_000 * share)),
        "4 processes": (batched, 4, int(40_000 * share)),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    shares: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, (script, processes, count) in ways.items():
            rate, busy = bench.predictions(script, forest, processes, count)
            rates[way].append(rate)
            shares[way].append(busy)
            bench.clear()
        print(f"    round {number + 1} of {rounds}: ", *(f"{rate[-1]:,.0f}" for rate in rates.values()), flush=True)
    medians = {way: statistics.median(values) for way, values in rates.items()}
    for way, value in medians.items():
        busy = statistics.median(shares[way])
        report.add(f"forest of 300 trees: {way}", f"{value:,.0f} predictions/s, the cores {busy:.0%} busy")
    ratio = medians["1 process"] / medians["row by row"]
    report.target("forest: batched / row by row", ratio, 20, "{:.1f}", at_least=True)
    ratio = medians["2 processes"] / medians["1 process"]
    most = 1 / statistics.median(shares["1 process"])  # what the cores that one process leaves free allow
    if most >= 1.8:
        report.target("forest: two processes / one", ratio, 1.6, "{:.2f}", at_least=True)
    else:
        report.add("forest: two processes / one", f"{ratio:.2f}; the cores allow {most:.2f} at most")
    return medians


def redraw(bench: Bench, report: Report, roots: Roots, most: int) -> None:
    print(f"redraw at 10,000 and at {most:,} rows")
    times, peaks = {}, {}
    for rows in 10_000, most:
        logs = Path(tempfile.mkdtemp(dir=bench.folder))
        write_rows(logs / "metric_log.csv", rows)
        for form, root in roots.items():
            process = bench.start(root / "benchmarks/redraw.py", PYTHONPATH=root, LOGS_DIR=logs)
            reading, times[form, rows] = process.numbers()
            peaks[form, rows] = process.peak()
            cost = f"all read in {reading:.2f} s, then {times[form, rows]:.0f} ms, {peaks[form, rows]:.0f} MB at most"
            report.add(f"redraw at {rows:,} rows: {form}", cost)
            bench.clear()
        (logs / "metric_log.csv").unlink()
    for what, values in ("time", times), ("memory", peaks):
        ratio = values[OURS, most] / values[OURS, 10_000]
        report.target(f"redraw: {what} at {most:,} rows / at 10,000", ratio, 1.3, "{:.2f}")


def restart(bench: Bench, report: Report, rounds: int, rows: int, waiting: int, count: int) -> None:
    print(f"metric with nothing, with {rows:,} rows, and with {waiting:,} halves waiting besides")
    empty, full = Path(tempfile.mkdtemp(dir=bench.folder)), Path(tempfile.mkdtemp(dir=bench.folder))
    known = rows // 10  # as many as metric keeps of ten million
    write_state(full, ("y_true", "y_pred"), 1.65e9, known)
    csv = full / "metric_log.csv"
    write_rows(csv, rows - known, csv.read_bytes().partition(b"\n")[2])
    peaks = {}
    for name, logs in ("nothing", empty), (f"{rows:,} rows", full), (f"{waiting:,} halves waiting", full):
        if "waiting" in name:
            write_state(full, ("y_true",), 1.68e9, waiting)
        runs = []
        for _ in range(rounds):
            runs.append(bench.run(OURS, count, logs))
            bench.clear()
        peaks[name] = statistics.median(run.peaks["metric"] for run in runs)
        connected = statistics.median(run.connected for run in runs)
        rate = statistics.median(run.rate for run in runs)
        cost = f"connected after {connected:.2f} s, then {rate:,.0f} samples/s, {peaks[name]:.0f} MB at most"
        report.add(f"metric, restarted with {name}", cost)
    nothing, _, halves = peaks.values()
    report.target("metric: memory with halves waiting / with none", halves / nothing, 1.3, "{:.2f}")


def draw(path: Path, rates: dict[str, list[float]], forest: dict[str, float], machine: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained", width_ratios=[3, 2])
    groups = {name: (statistics.median(values), values) for name, values in rates.items()}
    models = {name: (value, [value]) for name, value in forest.items()}
    titles = "samples/s, from features to the log", "predictions/s of a forest of 300 trees"
    for axes, bars, title in zip(panels, (groups, models), titles, strict=True):
        for y, (name, (median, values)) in enumerate(reversed(bars.items())):
            axes.barh(y, median, height=0.6, color="#0072b2" if name == OURS else "#bcd4e6")
            axes.plot(values, [y] * len(values), "|", color="0.3", markersize=8)
            axes.annotate(f"{median:,.0f}", (max(values), y), (6, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(bars)), list(reversed(bars)))
        axes.set_xlim(0, 1.2 * max(max(values) for _, values in bars.values()))
        axes.set_title(title, loc="left", size=11)
        axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
        axes.tick_params(left=False, bottom=False, labelbottom=False)
    figure.text(0.01, -0.04, machine, size=7, color="0.4")
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look in three minutes; keeps nothing")
    parser.add_argument("--compare", metavar="COMMIT", help="an older commit, measured in the same run")
    parser.add_argument("--url", help="a broker that is there, without queues of ours; default: a private one")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="what to write, without .md and .png")
    options = parser.parse_args()
    quick = options.quick
    with ExitStack() as stack:
        workshop = ROOT / ".local"  # on a disk, as logs/ is; /tmp may be memory, where fsync costs nothing
        workshop.mkdir(exist_ok=True)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=workshop)))
        roots = {OURS: ROOT}
        if options.compare:
            older = folder / "older"
            git = ("git", "-C", str(ROOT), "worktree")
            subprocess.run([*git, "add", "--quiet", "--detach", str(older), options.compare], check=True)
            stack.callback(subprocess.run, [*git, "remove", "--force", str(older)])
            version = next(line.split()[1] for line in (older / "CHANGELOG.md").open() if line.startswith("## "))
            roots[f"version {version} ({options.compare})"] = older
        if options.url:
            bench = Bench(options.url, folder)
        else:
            broker = stack.enter_context(Node(folder / "broker"))
            bench = Bench(broker.url, folder, broker.process.pid if broker.process else None)
        bench.require_no_queues()
        stack.callback(bench.clear)
        described = machine(bench, folder)
        print(described)
        report = Report()
        rates = throughput(bench, report, roots, 1 if quick else 5, 0.25 if quick else 1)
        latency(bench, report, roots, 1 if quick else 3, 200 if quick else 500)
        forest = heavy_model(bench, report, 1 if quick else 3, 0.25 if quick else 1)
        slow(folder, report, 30 if quick else SLOW_VECTORS)
        redraw(bench, report, roots, 10**6 if quick else 10**7)
        rows, waiting, count = (10**6, 10**5, 5000) if quick else (10**7, 10**6, 20_000)
        restart(bench, report, 1 if quick else 3, rows, waiting, count)
    picture = options.output.with_suffix(".png")
    text = report.text(described, picture.name)
    print(f"\n{text}")
    if not quick:
        picture.with_suffix(".md").write_text(text)
        draw(picture, rates, forest, described)


if __name__ == "__main__":
    main()
