#!/usr/bin/env bash
# Builds stand-ins for the two base images from Debian 13 packages, for a machine that has a container engine but
# no way to Docker Hub. They have names of their own, so they never shadow the real ones:
#
#   local/images.sh
#   export PYTHON_IMAGE=pipeline-local/python:3.13 RABBITMQ_IMAGE=pipeline-local/rabbitmq:4-management
#   docker-compose up -d
#
# `local/images.sh prometheus` also makes the one that docker-compose.metrics.yaml needs (PROMETHEUS_IMAGE=
# pipeline-local/prometheus:2.53), in a quarter of a minute more.
#
# What exists already is kept; remove it with `docker image rm` to have it built anew. Takes one to two minutes.
set -euo pipefail

readonly PYTHON=pipeline-local/python:3.13
readonly RABBITMQ=pipeline-local/rabbitmq:4-management
readonly PROMETHEUS=pipeline-local/prometheus:2.53

need() {
    echo "local/images.sh: $1" >&2
    exit 2
}

# Where this machine's apt gets Debian from, since that is what can be reached from here; empty: debootstrap's default.
debian_mirror() {
    # shellcheck disable=SC2016  # apt is to expand it
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 2>/dev/null | head -n 1
}

# The settings by which this machine's pip reaches its packages. Paths mean nothing inside an image.
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

# build IMAGE PACKAGES FINISH CHANGE...: FINISH is a function that is given the root folder of the new system,
# each CHANGE a line of a Dockerfile.
build() {
    local image=$1 packages=$2 finish=$3 change changes=() root
    shift 3
    if docker image inspect "$image" >/dev/null 2>&1; then
        echo "$image: exists"
        return
    fi
    [ "$(id -u)" = 0 ] || need "making $image takes root, since debootstrap does: sudo $0"
    command -v debootstrap >/dev/null || apt-get install -y debootstrap ||
        need "debootstrap is missing: apt-get install debootstrap"
    echo "$image: being made from Debian 13 packages"
    for change in "$@"; do changes+=(--change "$change"); done
    root=$(mktemp -d)
    # shellcheck disable=SC2064  # the folder of now is meant
    trap "rm -rf --one-file-system '$root'" EXIT
    # shellcheck disable=SC2046  # no word, where there is no mirror to name
    debootstrap --variant=minbase --include="ca-certificates,$packages" trixie "$root" $(debian_mirror) |
        grep --line-buffered -E '^[EW]: |Retrieving (python3-venv|rabbitmq-server) |Unpacking (the base|required)|Configuring (python3-venv|rabbitmq-server)|successfully' ||
        { cat "$root/debootstrap/debootstrap.log" >&2; need "debootstrap failed; its log stands above"; }
    # A firewall that opens TLS is trusted here by a certificate of its own.
    if [ -f "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" ]; then
        cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$root/etc/ssl/certs/ca-certificates.crt"
    fi
    "$finish" "$root"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
    tar -C "$root" --one-file-system -c . | docker import "${changes[@]}" - "$image" >/dev/null
    rm -rf --one-file-system "$root"
    echo "$image: made, $(docker image inspect --format '{{.Size}}' "$image" | numfmt --to=si)B"
}

finish_python() {
    chroot "$1" python3 -m venv /usr/local # `python` and `pip` as in the official image, free of Debian's own modules
    pip_settings >"$1/etc/pip.conf"
}

finish_rabbitmq() {
    echo '[rabbitmq_management,rabbitmq_prometheus].' >"$1/etc/rabbitmq/enabled_plugins"
    mkdir -p "$1/etc/rabbitmq/conf.d"
    # As in the official image: guest may come from other containers; the ports are published on 127.0.0.1 only.
    echo 'loopback_users.guest = false' >"$1/etc/rabbitmq/conf.d/10-defaults.conf"
    rm -rf "$1"/var/lib/rabbitmq/{mnesia,.erlang.cookie} # nothing that one machine must not share with another
}

docker version >/dev/null 2>&1 || need "no container engine answers (docker version)"

build "$PYTHON" python3-venv finish_python \
    'ENV LANG=C.UTF-8' 'ENV PIP_ROOT_USER_ACTION=ignore' 'CMD ["python"]'

build "$RABBITMQ" rabbitmq-server finish_rabbitmq \
    'ENV LANG=C.UTF-8 HOME=/var/lib/rabbitmq RABBITMQ_LOGS=- PATH=/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    'USER rabbitmq' 'VOLUME /var/lib/rabbitmq' 'EXPOSE 4369 5672 15672 15692 25672' 'CMD ["rabbitmq-server"]'

# As in the official image: the same user, folder and entry point.
if [ "${1:-}" = prometheus ] && ! docker image inspect "$PROMETHEUS" >/dev/null 2>&1; then
    echo "$PROMETHEUS: being made from Debian 13's package"
    docker build -q -t "$PROMETHEUS" - <<END
FROM $PYTHON
RUN apt-get -q update && \\
    apt-get -q install -y --no-install-recommends prometheus && \\
    rm -rf /var/lib/apt/lists/* && \\
    install -d -o nobody -g nogroup /prometheus
USER nobody
VOLUME /prometheus
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
END
fi
