#!/usr/bin/env bash
# `make doctor`: what this machine has, what is missing, and what `make up` and `make local` would do. Changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
source local/machine.sh

line() {
    printf '%-16s %s\n' "$1" "$2"
}

cure() { # for missing packages
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "make installs it"
    else
        echo "sudo apt-get install $*"
    fi
}

version() { # of a program whose first line of output ends in it
    "$@" 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1
}

missing=() # for make local and the tests
if ! command -v docker >/dev/null; then
    line Docker "missing"
elif ! docker version >/dev/null 2>&1; then
    line Docker "installed, but its engine does not answer: start it (as root: dockerd), or join the group docker"
else
    line Docker "$(docker version --format '{{.Server.Version}}')"
fi
if docker compose version >/dev/null 2>&1; then
    line Compose "$(version docker compose version) (docker compose)"
elif docker-compose version >/dev/null 2>&1; then
    line Compose "$(version docker-compose version) (docker-compose)"
else
    line Compose "missing"
fi
if timeout 5 bash -c ': </dev/tcp/registry-1.docker.io/443' 2>/dev/null; then
    hub=yes
    line "Docker Hub" "answers"
else
    hub=no
    line "Docker Hub" "does not answer directly (the engine's own proxy is not visible here)"
fi
python=${PYTHON:-python3}
old_python=
if "$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    line Python "$(version "$python" --version)"
elif "$python" -c 'import sys; sys.exit(sys.version_info >= (3, 11))' 2>/dev/null; then
    old_python="$(version "$python" --version) is too old: install 3.11 or later, and name it: make PYTHON=python3.12 ..."
    line Python "$old_python"
else
    line Python "3.11 or later with venv is missing"
    missing+=(python3-venv)
fi
rabbitmq_image=$(stand_ins | sed -n 's/^RABBITMQ_IMAGE=//p')
: "${rabbitmq_image:=$(setting RABBITMQ_IMAGE rabbitmq:4-management)}"
if [ -n "$(PATH=/usr/lib/rabbitmq/bin:$PATH command -v rabbitmq-server)" ]; then
    line RabbitMQ "installed, for make local and the tests"
elif [ "$(id -u)" != 0 ] && docker image inspect "$rabbitmq_image" >/dev/null 2>&1; then
    line RabbitMQ "$rabbitmq_image, for make local and the tests"
else
    line RabbitMQ "missing, for make local and the tests"
    missing+=(rabbitmq-server)
fi
command -v git >/dev/null || line git "missing: sudo apt-get install git"
line "Disk" "$(df -hP . | awk 'NR == 2 { print $4 }') free here; images take about 1 GB, .venv 0.6 GB"
taken=$(taken_ports)
ports | while read -r name port; do
    state=free
    ! listens "$port" || state="published by this stack"
    [[ $taken != *"Port $port "* ]] || state="taken by $(taker "$port")"
    line "Port $port" "$state ($name)"
done
if [ -e logs/metric_log.csv ]; then
    line logs/ "has $(($(wc -l <logs/metric_log.csv) - 1)) rows; the owner is $(stat -c %U logs)"
fi
[ -z "$(options)" ] || line OPTIONS "$(options)"
unknown=$(unknown_settings | paste -sd' ' -)
[ -z "$unknown" ] || line .env "$unknown: no setting of this project, see .env.example"
for name in COMPOSE_FILE DATASET MODEL_PATH; do
    [ -z "$(setting "$name")" ] || line "$name" "$(setting "$name")"
done

echo
if ! has_compose; then
    line "make up" "would stop: no container engine with Compose. Debian: sudo apt-get install docker.io docker-compose"
elif ! problem=$(local/compose.sh config --quiet 2>&1); then
    line "make up" "would stop: $problem"
elif [ -n "$taken" ]; then
    line "make up" "would stop: $taken"
elif names_images; then
    line "make up" "would use $(setting PYTHON_IMAGE python:3.13-slim) and $(setting RABBITMQ_IMAGE rabbitmq:4-management)"
elif docker image inspect python:3.13-slim rabbitmq:4-management >/dev/null 2>&1; then
    line "make up" "would use python:3.13-slim and rabbitmq:4-management"
elif uses_stand_ins; then
    line "make up" "would use the stand-ins for the base images that are here: pipeline-local/*"
elif [ "$hub" = yes ]; then
    line "make up" "would use python:3.13-slim and rabbitmq:4-management from Docker Hub"
else
    line "make up" "would build stand-ins for the base images from Debian packages, if Docker Hub does not answer"
    command -v mmdebstrap >/dev/null || line "" "with mmdebstrap, which is missing: $(cure mmdebstrap)"
fi
if [ -n "$old_python" ]; then
    line "make local" "would stop: Python $old_python"
elif [ "${#missing[@]}" -eq 0 ]; then
    line "make local" "would start"
else
    line "make local" "would miss ${missing[*]}: $(cure "${missing[@]}")"
fi
