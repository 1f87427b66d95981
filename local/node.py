"""A private RabbitMQ node, made from the system's rabbitmq-server package: for `make local` and for the tests."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
START_DEADLINE = 60.0  # seconds; a start takes about 4 s on 2 idle cores
STOP_DEADLINE = 30.0  # seconds; a clean stop takes 1 to 2 s


PORTS: Sequence[int] = range(20000, 32000)


class NodeError(Exception):
    """The node failed; the text has the end of its log."""


def free_port(preferred: int | None = None) -> int:
    """Return `preferred` if nothing listens there, otherwise any free port.

    The others come from below the range of outgoing connections (32768 up): while the broker is
    down, no client's own socket can then take its port.
    """
    candidates = ([preferred] if preferred else []) + random.sample(PORTS, 100)
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise NodeError("no free port on 127.0.0.1")


def speaks_amqp(port: int) -> bool:
    """Whether an AMQP 0-9-1 server answers on this port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"  # a method frame: Connection.Start
    except OSError:
        return False


class Node:
    """A private RabbitMQ node: everything it writes is in `folder`, all its ports are its own.

    It comes from the system's package or, where that is missing, from the image (RABBITMQ_IMAGE).
    It can be stopped, killed and started again on the same data and ports.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        port: int | None = None,
        plugins: Iterable[str] = (),
        management_port: int | None = None,
        config: str = "",
        image: str = "",
    ) -> None:
        """`config` is more lines of rabbitmq.conf; `management_port` turns the management plugin on.

        `image` is used even where the package is installed.
        """
        self.folder = Path(folder).resolve()
        self.port = port or free_port()
        self.management_port = management_port
        self.plugins = [*plugins, *(["rabbitmq_management"] if management_port else [])]
        self.config = config
        self.image = image
        if not image and not _package("rabbitmq-server"):
            self.image = rabbitmq_image()
        self.process: subprocess.Popen[bytes] | None = None
        self._epmd_port = free_port()
        self._distribution_port = free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    @property
    def log(self) -> Path:
        return self.folder / "rabbit.log"

    def start(self) -> None:
        """Start the node and return when it answers."""
        self._write_configuration()
        self._kill_leftover()
        with (self.folder / "console.log").open("ab") as console:
            self.process = subprocess.Popen(
                self._command("rabbitmq-server"),
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; and one signal reaches all it starts
            )
        self._pid_file.write_text(str(self.process.pid))
        deadline = time.monotonic() + START_DEADLINE
        try:
            while not speaks_amqp(self.port):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise NodeError(f"RabbitMQ did not start; the end of its log:\n{self._log_end()}")
                time.sleep(0.05)
        except BaseException:  # Ctrl-C included
            self.kill()
            raise

    def stop(self) -> None:
        """Stop the node cleanly; do nothing if it does not run."""
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):  # kill() ends what would not stop
                self.process.wait(STOP_DEADLINE)
        self.kill()

    def kill(self) -> None:
        """End the node with SIGKILL; do nothing if it does not run.

        RabbitMQ (3.10 and 4.0 at least) never finds a quorum queue again that was declared less than
        a second or so before: its name is not on disk yet.
        """
        if self.process is not None:
            if self.image:
                subprocess.run(["docker", "kill", self._container], capture_output=True, check=False)
            else:
                _kill_group(self.process.pid)
            self.process.wait()
            self.process = None
            self._pid_file.unlink(missing_ok=True)
            if not self.image:
                _kill_epmd(self._environment())

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl against this node and return what it prints."""
        done = subprocess.run(
            self._command("rabbitmqctl", "--quiet", *arguments),
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise NodeError(f"rabbitmqctl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _pid_file(self) -> Path:
        return self.folder / "pid"

    def _write_configuration(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [f"listeners.tcp.local = 127.0.0.1:{self.port}", "log.file.level = info"]
        if self.management_port:
            lines += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {self.management_port}"]
        (self.folder / "rabbitmq.conf").write_text("\n".join([*lines, self.config, ""]))
        (self.folder / "enabled_plugins").write_text(f"[{','.join(self.plugins)}].\n")

    def _environment(self) -> dict[str, str]:
        """Return an environment in which nothing of a system-wide RabbitMQ is read or written."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))}
        inherited.pop("NOTIFY_SOCKET", None)
        return inherited | self._settings()

    def _settings(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),  # the Erlang cookie
            "ERL_CRASH_DUMP": "/dev/null",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": str(self.log),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # Loading a module goes from thread to thread, and it takes longer to wake one up than to read the module:
            # with threads that wait a moment before they fall asleep, a start takes half as long.
            "RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD": "very_short",
            # The start script then becomes the node instead of its parent: a signal hits the node itself.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    @property
    def _container(self) -> str:
        return f"rabbitmq-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]}"

    def _command(self, program: str, *arguments: str) -> list[str]:
        """Return the command that runs one of RabbitMQ's programs: from the package, otherwise from the image.

        The container shares network, folder and user with us, so that nothing else differs.
        """
        if not self.image:
            return [_package(program) or program, *arguments]
        name = ["--name", self._container] if program == "rabbitmq-server" else []
        options = ["--network=host", f"--user={os.getuid()}:{os.getgid()}", f"--volume={self.folder}:{self.folder}"]
        settings = [f"--env={key}={value}" for key, value in self._settings().items()]
        return ["docker", "run", "--rm", *name, *options, *settings, self.image, program, *arguments]

    def _kill_leftover(self) -> None:
        """End a node on this folder whose starter was killed: two nodes must not share the data."""
        if self.image:
            _docker("rm", "--force", self._container)
        try:
            pid = int(self._pid_file.read_text())
            lines = Path(f"/proc/{pid}/environ").read_text().split("\0")
        except (OSError, ValueError):
            return  # no file, or no such process any more
        environment = dict(line.split("=", 1) for line in lines if "=" in line)
        if environment.get("HOME") == str(self.folder):
            _kill_group(pid)
            while Path(f"/proc/{pid}/fd/0").exists():
                time.sleep(0.05)
            if not self.image:
                _kill_epmd(environment)

    def _log_end(self) -> str:
        texts = [file.read_text(errors="replace") for file in (self.folder / "console.log", self.log) if file.exists()]
        return "\n".join("\n".join(texts).splitlines()[-20:])


def _package(program: str) -> str | None:
    """Return the path of one of RabbitMQ's programs, past Debian's wrapper that changes to user rabbitmq."""
    return shutil.which(program, path=f"/usr/lib/rabbitmq/bin:{os.environ.get('PATH', '')}")


def rabbitmq_image() -> str:
    """RABBITMQ_IMAGE; if that is not set, the stand-in where only that is here, otherwise the public image."""
    public, stand_in = "rabbitmq:4-management", "pipeline-local/rabbitmq:4-management"
    return os.environ.get("RABBITMQ_IMAGE") or (stand_in if has_image(stand_in) and not has_image(public) else public)


def has_image(image: str) -> bool:
    """Whether there is a container engine that has it."""
    return _docker("image", "inspect", image)


def _docker(*arguments: str) -> bool:
    """Whether there is an engine, and it can do that."""
    command = ["docker", *arguments]
    return bool(shutil.which("docker")) and not subprocess.run(command, capture_output=True, check=False).returncode


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _kill_epmd(environment: dict[str, str]) -> None:
    """End Erlang's name server, which a node starts but by design never stops."""
    for _ in range(20):
        done = subprocess.run(["epmd", "-kill"], env=environment, capture_output=True, text=True, check=False)
        if "not allowed" not in done.stdout + done.stderr:  # it is, once the node's end has been noticed
            return
        time.sleep(0.05)


def install_rabbitmq() -> None:
    """Install RabbitMQ if it is missing; without the right to, explain how and exit with code 2."""
    if _package("rabbitmq-server"):
        return
    if os.getuid() != 0 and (has_image(rabbitmq_image()) or _docker("pull", rabbitmq_image())):
        return  # the image will do
    if subprocess.run([ROOT / "local" / "need.sh", "rabbitmq-server"], check=False).returncode != 0:
        raise SystemExit(2)
