"""A TCP proxy in a process of its own: stopped, it is a network of which no end ever comes (no FIN, no reset)."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self


class Proxy:
    def __init__(self, target: int) -> None:
        self.target = target

    def __enter__(self) -> Self:
        self.process = subprocess.Popen([sys.executable, __file__, str(self.target)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def connections(self, pid: int) -> int:
        """How many connections to the proxy a process has."""
        remote = f"0100007F:{self.port:04X}"
        ours = {
            fields[9]
            for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
            if (fields := line.split())[2] == remote
        }
        links = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
        return sum(f"socket:[{inode}]" in links for inode in ours)


def copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def main(target: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            try:
                broker = socket.create_connection(("127.0.0.1", target))
            except OSError:
                client.close()
                continue
            for pair in ((client, broker), (broker, client)):
                threading.Thread(target=copy, args=pair, daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
