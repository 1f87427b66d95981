#!/usr/bin/env bash
# `make up`: starts the pipeline in containers, with or without access to Docker Hub, and waits for the first row.
set -euo pipefail
trap 'exit 130' INT
cd "$(dirname "$0")/.."
source local/machine.sh

compose=local/compose.sh
csv=logs/metric_log.csv
header=32 # bytes
alerts=/alerts

has_compose || fail "\
No container engine with Compose answers here (docker version, docker-compose version).
Start or install one (Debian: apt-get install docker.io docker-compose), or run without containers: make local"
$compose config --quiet # reports wrong settings before anything is started
taken=$(taken_ports)
[ -z "$taken" ] || fail "$taken"

bytes() {
    wc -c 2>/dev/null <"$csv" || echo 0
}

available() {
    docker image inspect "$1" >/dev/null 2>&1 || {
        echo "Looking for $1 on Docker Hub"
        docker pull --quiet "$1"
    }
}

if ! names_images && ! uses_stand_ins && ! { available python:3.13-slim && available rabbitmq:4-management; }; then
    echo "No access to Docker Hub: the base images are built from Debian packages, once, in about a minute"
    local/images.sh python
    local/images.sh rabbitmq & # meanwhile the services are built
    broker_image=$!
fi
prometheus=$($compose config | sed -n 's/^ *image: \(prom\/prometheus:.*\)/\1/p')
if [ -n "$prometheus" ] && ! available "$prometheus"; then
    local/images.sh prometheus
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Building the images of the services; the first time it takes about half a minute"
$compose build >"$log" 2>&1 || { cat "$log"; fail "The images could not be built; the log is above."; }
[ -z "${broker_image:-}" ] || wait "$broker_image"
before=$(bytes)
$compose up -d || {
    ! $compose logs --tail=300 rabbitmq 2>&1 | grep -q no_such_user || fail "\
The broker's data are from before OPTIONS=accounts. make clean deletes them, with the messages that wait; then: make up"
    exit 1
}

# The first row comes within seconds. The log of a service that keeps ending explains why.
for ((second = 0; second < 60; second++)); do
    now=$(bytes)
    [ "$now" = "$before" ] || [ "$now" -le "$header" ] || break
    # shellcheck disable=SC2016  # a template
    for service in $($compose ps -q | xargs docker inspect --format \
        '{{if .State.Restarting}}{{index .Config.Labels "com.docker.compose.service"}}{{end}}'); do
        $compose logs --tail=3 "$service" >&2
        fail "$service does not start, see above. Once that is fixed: make up"
    done
    sleep 1
done

rhythm=$(setting INTERVAL 10 | awk '
    $1 == 0 { print "then as many as the broker takes"; next }
    $1 < 1 { printf "then %g per second\n", 1 / $1; next }
    { printf "then one every %g s\n", $1 }')
login="guest / guest"
[ -z "$(setting RABBITMQ_PASSWORD)" ] || login="user $(setting RABBITMQ_USER guest), password RABBITMQ_PASSWORD"
[[ $(options) != *accounts* ]] || login="user admin, password RABBITMQ_PASSWORD"
echo
if [ "$second" -lt 60 ]; then
    echo "The pipeline is running."
else
    echo "All services run, but no row has come within a minute: see make logs and make ps."
fi
cat <<END
  rows             $csv, $rhythm
  picture          logs/error_distribution.png, redrawn every $(setting PLOT_INTERVAL 10) s
  page             logs/report.html, which opens in a browser and refreshes itself
  management page  http://$($compose port rabbitmq 15672) ($login)
  service logs     make logs
  stop             make down
END
if [[ $(options) == *challenger* ]]; then
    echo "  challenger       logs/challenger, with the same files"
fi
if [[ $($compose config --services) == *prometheus* ]]; then
    # Debian's package has the older page only.
    [[ $($compose config) != *pipeline-local/prometheus* ]] || alerts=/classic/alerts
    echo "  alerts           http://$($compose port prometheus 9090)$alerts"
fi
if [ -n "$(stand_ins)" ]; then
    echo "  docker-compose   takes the same images with these lines in .env; make and local/compose.sh need none:"
    stand_ins | sed 's/^/                   /'
fi
if [ -n "$(options)" ]; then
    echo "  OPTIONS          $(options): use local/compose.sh instead of docker-compose"
fi
