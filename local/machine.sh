# What the scripts in this folder need to know about the machine and its settings. To be sourced, in the repository's root.
# shellcheck shell=bash

fail() {
    echo "$1" >&2
    exit 2
}

# in_env NAME: its values in .env, written in any way that Compose takes.
in_env() {
    tr -d '\r' <.env | sed -nE "s/^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*=[[:space:]]*//p" |
        sed -E "s/[[:space:]]+#.*//; s/[\"']//g; s/[[:space:]]+\$//"
}

# Names in .env that are no setting of this project: misspelt, perhaps.
unknown_settings() {
    [ ! -f .env ] || sed -nE "s/^[[:space:]]*(export[[:space:]]+)?([A-Za-z0-9_]+)[[:space:]]*=.*/\2/p" .env |
        grep -vE '^(COMPOSE|DOCKER)_' | grep -vxFf <(sed -nE 's/^#([A-Z0-9_]+)=.*/\1/p' .env.example) || true
}

# setting NAME [DEFAULT]: the value from the environment, otherwise from .env; empty counts as not set.
setting() {
    local value=${!1:-}
    if [ -z "$value" ] && [ -f .env ]; then
        value=$(in_env "$1" | tail -n 1)
    fi
    echo "${value:-${2:-}}"
}

# The value of OPTIONS. Lines of .env add up, so that another option can be appended.
options() {
    local lines=
    [ ! -f .env ] || lines=$(in_env OPTIONS | paste -sd, -)
    echo "${OPTIONS:-$lines}"
}

# Whether a container engine answers and has Compose, of either generation.
has_compose() {
    docker version >/dev/null 2>&1 &&
        { docker compose version >/dev/null 2>&1 || docker-compose version >/dev/null 2>&1; }
}

listens() {
    (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

uses_metrics() {
    [[ $(options),$(setting COMPOSE_FILE) == *metrics* ]]
}

# The ports of 127.0.0.1 that the stack publishes: lines of a variable and its port.
ports() {
    echo "AMQP_PORT $(setting AMQP_PORT 5672)"
    echo "MANAGEMENT_PORT $(setting MANAGEMENT_PORT 15672)"
    ! uses_metrics || echo "PROMETHEUS_PORT $(setting PROMETHEUS_PORT 9090)"
}

# Who has a port that this stack does not have.
taker() {
    if [ -e .local/broker/pid ] && grep -qE "[:=] ?$1\$" .local/broker/rabbitmq.conf; then
        echo "make local in this folder"
    else
        echo "another program"
    fi
}

# The published ports that another program uses: a line for each, with the command that chooses free ones.
taken_ports() {
    local name port other ours suggested= choice= taken=
    # shellcheck disable=SC2016  # a template
    ours=" $(local/compose.sh ps -q 2>/dev/null | xargs -r docker inspect --format \
        '{{range .NetworkSettings.Ports}}{{range .}}{{.HostPort}} {{end}}{{end}}' 2>/dev/null | tr '\n' ' ') "
    while read -r name port; do
        if listens "$port" && [[ $ours != *" $port "* ]]; then
            other=$((port + 1))
            while listens "$other" || [[ $(ports)$suggested == *" $other"* ]]; do other=$((other + 1)); done
            suggested+=" $other" choice+="$name=$other " taken+=" $port"
        fi
    done < <(ports)
    for port in $taken; do
        echo "Port $port is taken by $(taker "$port"). End that, or choose another port: ${choice}make up"
    done
}

# The stand-ins that local/images.sh has built, as lines NAME=image, without those of which the public image is here, or
# for which somebody has named another one.
stand_ins() {
    local here name public own
    here=$'\n'$(docker image ls --format '{{.Repository}}:{{.Tag}}' 2>/dev/null)$'\n'
    while read -r name public own; do
        [ "$name" != PROMETHEUS_IMAGE ] || uses_metrics || continue
        if [[ -z $(setting "$name") && $here != *$'\n'$public$'\n'* && $here == *$'\n'$own$'\n'* ]]; then
            echo "$name=$own"
        fi
    done <<END
PYTHON_IMAGE python:3.13-slim pipeline-local/python:3.13
RABBITMQ_IMAGE rabbitmq:4-management pipeline-local/rabbitmq:4-management
PROMETHEUS_IMAGE prom/prometheus:v3.5.0 pipeline-local/prometheus:2.53
END
}

# Whether the stand-ins for both base images are to be used.
uses_stand_ins() {
    [ "$(stand_ins | grep -cE '^(PYTHON|RABBITMQ)_')" = 2 ]
}

# Whether somebody has named base images: whoever does knows where they are.
names_images() {
    [ -n "$(setting PYTHON_IMAGE)$(setting RABBITMQ_IMAGE)" ]
}
