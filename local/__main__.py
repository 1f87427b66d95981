"""`make local`: a private RabbitMQ node and the four services as processes, restarted when they end, until Ctrl-C.

Each line that a service writes is shown after its name. Why no library does this: honcho stops everything when one
process ends, and supervisord does not put names before lines.
"""

from __future__ import annotations

from local import Node, NodeError, free_port, install_rabbitmq

import asyncio
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("features", "model", "metric", "plot")
OPTIONS = {"challenger", "history"}  # of those that make up takes
FIRST_DELAY, LONGEST_DELAY = 0.1, 60.0  # seconds before a service is started again; Docker's own values
SETTLED = 10.0  # seconds of life after which the delay begins anew
STOPS = [signal.SIGINT, signal.SIGTERM]
if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not under nohup
    STOPS.append(signal.SIGHUP)  # the terminal was closed
SERVICE_STOP_DEADLINE = 10.0  # seconds, as Docker's; a service takes less than 2


def main() -> None:
    logs = Path(os.environ.get("LOGS_DIR") or ROOT / "logs")
    options = chosen_options()
    check_writable(logs)
    folder = ROOT / ".local"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("make local: is already running in this folder") from None
        check_place(folder)
        install_rabbitmq()
        for number in STOPS:
            signal.signal(number, signal.default_int_handler)
        plugins = ["rabbitmq_shovel"] if "challenger" in options else []
        broker = Node(folder / "broker", port=free_port(5672), management_port=free_port(15672), plugins=plugins)
        try:
            say("local", "starting RabbitMQ, a few seconds")
            broker.start()
            import_definitions(broker, options)
            say("local", f"rows            {logs}/metric_log.csv, the first in a few seconds")
            say("local", f"picture         {logs}/error_distribution.png")
            say("local", f"page            {logs}/report.html, which opens in a browser and refreshes itself")
            say("local", f"management page http://127.0.0.1:{broker.management_port}, guest / guest")
            say("local", f"broker          {broker.url}")
            if "challenger" in options:
                say("local", f"challenger      {logs}/challenger, with the same files")
            say("local", "Ctrl-C stops everything")
            asyncio.run(supervise(broker, logs, options))
        except NodeError as error:
            raise SystemExit(f"make local: {error}") from None
        except KeyboardInterrupt:
            pass  # before the services were started
        finally:
            for number in STOPS:
                signal.signal(number, signal.SIG_IGN)  # once is enough
            broker.stop()


def check_place(folder: Path) -> None:
    """Exit if the repository was moved: RabbitMQ keeps the path of its data within them, and finds no queue then."""
    place = folder / "place"
    before = place.read_text() if place.exists() and (folder / "broker").exists() else str(folder)
    if before != str(folder):
        raise SystemExit(
            f"make local: the broker's data were made in {before}, and RabbitMQ does not find its queues elsewhere."
            f" Move the repository back, or delete the messages that wait: rm -r {shlex.quote(str(folder / 'broker'))}"
        )
    place.write_text(str(folder))


def chosen_options() -> set[str]:
    """What OPTIONS names. Exits if it cannot be done here."""
    options = set(re.findall(r"[^, ]+", os.environ.get("OPTIONS", "")))
    if not options <= OPTIONS:
        raise SystemExit(f"make local: OPTIONS={os.environ['OPTIONS']}: takes challenger and history here")
    if "challenger" in options and not os.environ.get("CHALLENGER_MODEL_PATH"):
        raise SystemExit("make local: OPTIONS=challenger needs CHALLENGER_MODEL_PATH, the second trained model")
    return options


def import_definitions(broker: Node, options: set[str]) -> None:
    """Make the exchange for the copies of all samples, and what is bound to it, like docker-compose.<option>.yaml."""
    files = ["samples", *sorted(options)] if options else []
    if "challenger" in options:
        files.append("shovels")  # last: a shovel makes queues that are missing, in its own way
    for name in files:
        shutil.copy(ROOT / f"rabbitmq/{name}.json", broker.folder)
        broker.ctl("import_definitions", f"{broker.folder}/{name}.json")
    if "challenger" in options:
        broker.ctl("set_permissions", "--vhost", "challenger", "guest", ".*", ".*", ".*")
    if "history" in options:
        age, size = os.environ.get("HISTORY_MAX_AGE") or "31D", os.environ.get("HISTORY_MAX_BYTES") or "10000000000"
        policy = f'{{"max-age": "{age}", "max-length-bytes": {size}}}'
        broker.ctl("set_policy", "--apply-to", "queues", "history", "^history$", policy)


def check_writable(logs: Path) -> None:
    """Exit with the command to run if files belong to another user; containers write as user 10001."""
    foreign = [path for path in (ROOT / ".local", logs, *logs.glob("metric*")) if path.exists()]
    foreign = [path for path in foreign if not os.access(path, os.W_OK)]
    if foreign and os.access(logs, os.W_OK) and foreign[0].parent == logs:
        old, new = shlex.quote(str(logs)), shlex.quote(f"{logs}.new")
        cure = f"To make a copy that is yours: cp -r {old} {new} && rm -rf {old} && mv {new} {old}"
    else:
        cure = f"Run: sudo chown -R {os.getuid()} {shlex.join(map(str, foreign))}"
    if foreign:
        raise SystemExit(f"make local: cannot write to {foreign[0]}, it belongs to another user. {cure}")


async def supervise(broker: Node, logs: Path, options: set[str]) -> None:
    """Keep broker and services running until SIGINT or SIGTERM, then end the services."""
    # One thread for numpy, as in the images.
    environment = {"OMP_NUM_THREADS": "1"} | {name: value for name, value in os.environ.items() if value}
    environment |= {"AMQP_URL": broker.url, "LOGS_DIR": str(logs), "TMPDIR": str(broker.folder)}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    services = [(name, environment) for name in SERVICES]
    if options:
        services[0] = ("features", environment | {"AMQP_EXCHANGE": "samples"})
    if "challenger" in options:
        own = {"AMQP_URL": broker.url.replace("%2F", "challenger"), "LOGS_DIR": f"{logs}/challenger"}
        own["METRICS_PORT"] = ""  # the port is the champion's
        own |= {name: os.environ.get(f"CHALLENGER_{name}", "") for name in ("MODEL_PATH", "MODEL_SHA256")}
        services += [(f"challenger-{name}", environment | own) for name in ("model", "metric", "plot")]
    stopping = asyncio.Event()
    for number in STOPS:
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    tasks = [asyncio.create_task(keep_running(*service)) for service in services]
    tasks.append(asyncio.create_task(keep_broker(broker)))
    await stopping.wait()
    say("local", "stopping")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def keep_broker(broker: Node) -> None:
    """Start the broker again whenever it has ended."""
    while True:
        await asyncio.sleep(1)
        if broker.process is None or broker.process.poll() is not None:
            say("rabbitmq", "ended, starts again")
            broker.kill()
            try:
                await asyncio.to_thread(broker.start)
            except (NodeError, OSError) as error:
                say("rabbitmq", str(error))


async def keep_running(name: str, environment: dict[str, str]) -> None:
    """Run a service until cancelled, starting it again whenever it ends, as Docker's `restart: always` does."""
    service = name.removeprefix("challenger-")
    command = [sys.executable, f"{service}/src/{service}.py"]
    if shutil.which("setpriv"):  # then it does not outlive us, even if we are killed
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    delay = FIRST_DELAY
    while True:
        started = time.monotonic()
        try:
            code = await run_to_its_end(name, command, environment)
        except OSError as error:  # no memory, for example
            end = f"does not start: {error}"
        else:
            if name == "features" and code == 0 and environment.get("COUNT"):
                return
            end = f"ended with exit code {code}"
        if time.monotonic() - started > SETTLED:
            delay = FIRST_DELAY
        say(name, f"{end}, starts again in {delay:g} s")
        await asyncio.sleep(delay)
        delay = min(2 * delay, LONGEST_DELAY)


async def run_to_its_end(name: str, command: list[str], environment: dict[str, str]) -> int | None:
    """Run a service, and end it when this is cancelled. Returns its exit code; raises OSError."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for us
    )
    try:
        await relay(name, process)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(relay(name, process), SERVICE_STOP_DEADLINE)
            except TimeoutError:
                process.kill()
                await process.wait()
    return process.returncode


async def relay(name: str, process: asyncio.subprocess.Process) -> None:
    """Show what a service writes, each line after its name, until it ends."""
    assert process.stdout
    while not process.stdout.at_eof():
        try:
            line = await process.stdout.readline()
        except ValueError:  # a line so long that asyncio has dropped it
            continue
        if line:
            say(name, line.decode(errors="replace").rstrip())
    await process.wait()


def say(name: str, text: str) -> None:
    with suppress(OSError):  # the terminal may be gone
        print(f"{name:8} | {text}", flush=True)


if __name__ == "__main__":
    main()
