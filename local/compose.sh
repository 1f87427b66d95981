#!/usr/bin/env bash
# Runs Compose, of whichever generation works here, with the files that OPTIONS names. It takes what docker-compose
# takes:
#
#   OPTIONS=cluster,metrics local/compose.sh ps
#
# OPTIONS comes from the environment or from .env. docker-compose.override.yaml, if there is one, counts last. Where
# `make up` had to build stand-ins for the base images, they are used.
set -euo pipefail
cd "$(dirname "$0")/.."
source local/machine.sh

case ${1:-} in
    config | version) ;; # which need no engine
    *) docker version >/dev/null 2>&1 ||
        fail "No container engine answers here (docker version). make local runs in its own terminal." ;;
esac
while read -r stand_in; do export "${stand_in?}"; done < <(stand_ins)

options=$(options) # the function of machine.sh
if [ -n "$options" ]; then
    files=docker-compose.yaml
    for option in ${options//,/ }; do
        case $option in
            accounts | challenger | cluster | history | metrics)
                [[ $files == *$option* ]] || files+=:docker-compose.$option.yaml ;;
            *) fail "OPTIONS=$options: takes accounts, challenger, cluster, history and metrics, separated by commas" ;;
        esac
    done
    case $files in
        *accounts*cluster* | *cluster*accounts*)
            fail "OPTIONS=$options: accounts and cluster cannot be combined, since both set AMQP_URL" ;;
        *accounts*challenger* | *challenger*accounts* | *accounts*history* | *history*accounts*)
            fail "OPTIONS=$options: accounts takes neither challenger nor history, since each sets AMQP_EXCHANGE" ;;
        *cluster*challenger* | *challenger*cluster* | *cluster*history* | *history*cluster*)
            fail "OPTIONS=$options: cluster takes neither challenger nor history, whose copies are on one node" ;;
    esac
    [ ! -e docker-compose.override.yaml ] || files+=:docker-compose.override.yaml
    given=$(setting COMPOSE_FILE)
    [ "${given:-$files}" = "$files" ] ||
        fail "OPTIONS=$options and COMPOSE_FILE=$given are both set: remove COMPOSE_FILE, which OPTIONS replaces"
    export COMPOSE_FILE=$files
fi

if docker compose version >/dev/null 2>&1; then
    exec docker compose "$@"
fi
exec docker-compose "$@"
