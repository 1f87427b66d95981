# Runs once in a container, for docker-compose.challenger.yaml and docker-compose.history.yaml; `make local` does the same
# (local/__main__.py). What exists already stays as it is.
set -eu
cd /definitions
rabbitmqctl import_definitions samples.json
if [ -e challenger.json ]; then
    rabbitmqctl import_definitions challenger.json
    rabbitmqctl set_permissions --vhost challenger "$RABBITMQ_DEFAULT_USER" ".*" ".*" ".*"
fi
if [ -e history.json ]; then
    rabbitmqctl import_definitions history.json
    rabbitmqctl set_policy --apply-to queues history "^history$" \
        "{\"max-age\": \"$HISTORY_MAX_AGE\", \"max-length-bytes\": $HISTORY_MAX_BYTES}"
fi
