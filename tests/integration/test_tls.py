"""amqps:// with a private certificate authority, against a real TLS listener."""

from harness import Client, Service
from local import Node, free_port

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.broker, pytest.mark.long]


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def authority(folder: Path, name: str) -> Path:
    subject = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
    subject += ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]  # which Python 3.13 wants to see
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject)
    return folder / f"{name}.pem"


def test_amqps_with_a_private_authority(tmp_path: Path, run: Callable[..., Service]) -> None:
    ours, other = authority(tmp_path, "ours"), authority(tmp_path, "other")
    openssl(
        tmp_path, "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=broker", "-keyout", "s.key", "-out", "s.csr"
    )
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid")
    signed_by = ["-CA", str(ours), "-CAkey", "ours.key", "-CAcreateserial", "-extfile", "names", "-days", "2"]
    openssl(tmp_path, "x509", "-req", "-in", "s.csr", "-out", "s.pem", *signed_by)
    port = free_port()
    config = (
        f"listeners.ssl.local = 127.0.0.1:{port}\n"
        f"ssl_options.certfile = {tmp_path}/s.pem\n"
        f"ssl_options.keyfile = {tmp_path}/s.key\n"
        f"ssl_options.cacertfile = {ours}"
    )
    with Node(tmp_path / "broker", config=config) as broker:
        url = f"amqps://guest:guest@127.0.0.1:{port}/%2F"
        stranger = run("features", AMQP_URL=url, COUNT=1, SSL_CERT_FILE=other)
        stranger.wait_for_log("certificate verify failed")
        assert run("features", AMQP_URL=url, COUNT=5, INTERVAL=0, SSL_CERT_FILE=ours).wait() == 0
        run("model", AMQP_URL=url, SSL_CERT_FILE=ours).wait_for_log("connected")
        client = Client(broker.url)
        ids = [json.loads(body)["id"] for body, _ in client.take("y_true", 5)]
        assert [json.loads(body)["id"] for body, _ in client.take("y_pred", 5)] == ids
        assert stranger.log.count("\n") == 1
        client.connection.close()
