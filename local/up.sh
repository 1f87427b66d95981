#!/usr/bin/env bash
# `make up`: starts the pipeline in containers, on whatever this machine has.
set -euo pipefail
cd "$(dirname "$0")/.."

compose=local/compose.sh
alerts=/alerts

if ! docker version >/dev/null 2>&1 || ! $compose version >/dev/null 2>&1; then
    echo "No container engine with Compose answers here (docker version, docker-compose version)." >&2
    echo "Start or install one (Debian: apt-get install docker.io docker-compose), or run without: make local" >&2
    exit 2
fi

available() {
    docker image inspect "$1" >/dev/null 2>&1 || {
        echo "Looking for $1 on Docker Hub"
        docker pull "$1"
    }
}

# Who names base images knows where they are.
if [ -z "${PYTHON_IMAGE:-}${RABBITMQ_IMAGE:-}" ] && ! grep -qsE '^(PYTHON|RABBITMQ)_IMAGE=.' .env; then
    if ! { available python:3.13-slim && available rabbitmq:4-management; }; then
        echo "Docker Hub cannot be reached: making base images from Debian packages, once, in some two minutes"
        local/images.sh
        export PYTHON_IMAGE=pipeline-local/python:3.13 RABBITMQ_IMAGE=pipeline-local/rabbitmq:4-management
        if [[ $($compose config) == *"image: prom/prometheus:"* ]]; then
            local/images.sh prometheus
            export PROMETHEUS_IMAGE=pipeline-local/prometheus:2.53
            alerts=/classic/alerts # Debian's package has the older page only
        fi
    fi
fi

$compose build
$compose up -d

cat <<END

The pipeline runs.
  rows             logs/metric_log.csv, the first in a few seconds, then one every 10 s
  picture          logs/error_distribution.png, redrawn every 10 s
  page             logs/report.html, which opens in a browser and keeps itself current
  management page  http://$($compose port rabbitmq 15672) (guest / guest, unless .env says otherwise)
  what they say    make logs
  end              make down
END
if [[ $($compose config --services) == *prometheus* ]]; then
    echo "  alerts           http://$($compose port prometheus 9090)$alerts"
fi
