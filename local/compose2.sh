#!/usr/bin/env bash
# Fetches Compose v2 into the given folder, for machines that package 1.29.2 only: the tests try both generations.
# Debian 13's docker-compose is one static binary, so it runs on any Linux. Takes the stand-in of local/images.sh.
set -euo pipefail
exec 9<"$0" && flock 9 # one at a time

folder=$(realpath -m "${1:?usage: local/compose2.sh FOLDER}")
mkdir -p "$folder"
[ -e "$folder/docker-compose" ] || docker run --rm -v "$folder:/folder" pipeline-local/python:3.13 sh -euc '
    cd /tmp
    apt-get -q update
    apt-get -q download docker-compose
    dpkg-deb -x docker-compose_*.deb .
    cp usr/libexec/docker/cli-plugins/docker-compose /folder/docker-compose.new
    mv /folder/docker-compose.new /folder/docker-compose'
"$folder/docker-compose" version
