#!/usr/bin/env bash
# `make clean`: removes the containers, the broker's data (of all its nodes) and the images of the services, and lists what
# it leaves.
set -euo pipefail
cd "$(dirname "$0")/.."

# The files of all options, so that all volumes are removed. The values of required variables do not matter here.
files=(-f docker-compose.yaml)
for option in cluster metrics challenger history; do files+=(-f "docker-compose.$option.yaml"); done
if docker version >/dev/null 2>&1; then
    RABBITMQ_COOKIE=none CHALLENGER_MODEL_PATH=none local/compose.sh "${files[@]}" \
        down --remove-orphans --volumes --rmi local 2>&1 |
        sed -E '/\.\.\.[[:space:]]*$/d; $!N; /^Removing .*\n.* not found\.$/d; P; D' # what was never there is no news
else
    echo "No container engine answers here (docker version): containers and images are not looked at."
fi

echo "Left behind, to be removed with the command on the right:"
if [ -e logs/metric_log.csv ]; then
    echo "  rows, state, picture and page       rm -r logs/*"
fi
for image in $(docker image ls --format '{{.Repository}}:{{.Tag}}' 2>/dev/null |
    grep -E '^(pipeline-local/.*|python:3.13-slim|rabbitmq:4-management|prom/prometheus:.*)$'); do
    echo "  base image                          docker image rm $image"
done
if docker version >/dev/null 2>&1; then
    echo "  layers that no image has any more   docker image prune"
fi
if docker buildx version >/dev/null 2>&1; then
    echo "  what builds have kept               docker builder prune"
fi
for folder in .venv .local; do
    [ ! -e "$folder" ] || printf '  %-35s rm -r %s\n' "of make local and make test" "$folder"
done
for file in .env docker-compose.override.yaml; do
    [ ! -e "$file" ] || printf '  %-35s rm %s\n' "your settings" "$file"
done
