#!/usr/bin/env bash
# Builds stand-ins for the base images from Debian 13 packages, for a machine that has a container engine but no access
# to Docker Hub. They have names of their own, so they never shadow the real ones:
#
#   local/images.sh
#   export PYTHON_IMAGE=pipeline-local/python:3.13 RABBITMQ_IMAGE=pipeline-local/rabbitmq:4-management
#   docker-compose up -d
#
# `local/images.sh NAME...` builds only those named: python, rabbitmq, or prometheus (PROMETHEUS_IMAGE=
# pipeline-local/prometheus:2.53, for docker-compose.metrics.yaml).
#
# Existing images are kept; remove one with `docker image rm` to have it built again.
set -euo pipefail
exec 9<"$0" && flock 9 # one at a time
cd "$(dirname "$0")/.."

readonly python=pipeline-local/python:3.13
readonly rabbitmq=pipeline-local/rabbitmq:4-management
readonly prometheus=pipeline-local/prometheus:2.53

# Where this machine's apt gets Debian from, since that is what can be reached from here; empty: mmdebstrap's default.
debian_mirror() {
    # shellcheck disable=SC2016  # apt expands it
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 2>/dev/null | head -n 1
}

# The settings with which this machine's pip reaches its packages. Paths mean nothing inside an image.
pip_settings() {
    python3 - <<'PYTHON'
import configparser
import os

files = configparser.ConfigParser(interpolation=None)
files.read(map(os.path.expanduser, ["/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"]))
proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY") or ""
print("[global]")
for key, default in {"index-url": "", "extra-index-url": "", "trusted-host": "", "proxy": proxy, "timeout": ""}.items():
    value = os.environ.get("PIP_" + key.upper().replace("-", "_")) or files.get("global", key, fallback=default)
    words = [word for word in value.split() if not word.startswith(("file:", "/"))]
    if words:
        print(key, "=", " ".join(words))
PYTHON
}

# Debian with `python` and `pip` as in the official image, free of Debian's own modules. What this machine trusts, the
# image trusts too: a firewall that inspects TLS has a certificate of its own. Packages start no services in it.
build_python() {
    command -v mmdebstrap >/dev/null || local/need.sh mmdebstrap || return
    export certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} settings
    settings=$(pip_settings)
    # shellcheck disable=SC2016,SC2046  # the hook's own variables; no argument where no mirror is known
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3-venv --dpkgopt=force-unsafe-io \
        --dpkgopt=path-exclude=/usr/share/{doc,man,locale}'/*' \
        --customize-hook='
            chroot "$1" python3 -m venv /usr/local
            echo "$settings" >"$1/etc/pip.conf"
            cp -L "$certificates" "$1/etc/ssl/certs/ca-certificates.crt"
            printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"
            chmod +x "$1/usr/sbin/policy-rc.d"' \
        trixie - $(debian_mirror) |
        docker import --change 'ENV LANG=C.UTF-8 PIP_ROOT_USER_ACTION=ignore' --change 'CMD ["python"]' - "$python"
}

# As in the official image, guest may connect from other containers; the ports are published on 127.0.0.1 only.
# Threads that wait a moment before they fall asleep (`very_short`) halve the time that a start takes.
build_rabbitmq() {
    docker build --tag "$rabbitmq" - <<END
FROM $python
RUN apt-get -q update && \\
    apt-get -q install -y --no-install-recommends rabbitmq-server && \\
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/lib/rabbitmq/mnesia /var/lib/rabbitmq/.erlang.cookie && \\
    echo '[rabbitmq_management,rabbitmq_prometheus].' >/etc/rabbitmq/enabled_plugins && \\
    mkdir -p /etc/rabbitmq/conf.d && \\
    echo 'loopback_users.guest = false' >/etc/rabbitmq/conf.d/10-defaults.conf
ENV HOME=/var/lib/rabbitmq RABBITMQ_LOGS=- RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD=very_short \\
    PATH=/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER rabbitmq
VOLUME /var/lib/rabbitmq
EXPOSE 4369 5672 15672 15692 25672
CMD ["rabbitmq-server"]
END
}

# As in the official image: the same user, folder and entry point.
build_prometheus() {
    docker build --tag "$prometheus" - <<END
FROM $python
RUN apt-get -q update && \\
    apt-get -q install -y --no-install-recommends prometheus && \\
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin && \\
    install -d -o nobody -g nogroup /prometheus
USER nobody
VOLUME /prometheus
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
END
}

if ! docker version >/dev/null 2>&1; then
    echo "local/images.sh: no container engine answers (docker version)" >&2
    exit 2
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ $# -gt 0 ] || set -- python rabbitmq
for name in "$@"; do
    image=${!name}
    if docker image inspect "$image" >/dev/null 2>&1; then
        echo "$image: exists"
        continue
    fi
    echo "$image: building from Debian 13 packages"
    "build_$name" >"$log" 2>&1 || {
        docker image rm --force "$image" >/dev/null 2>&1 || true # docker import makes an image of nothing as well
        cat "$log" >&2
        exit 1
    }
done
