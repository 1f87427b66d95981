#!/usr/bin/env bash
# Prints the stack for `docker stack deploy`, made from the same files that Compose takes. Needs Compose v2.
#
#   local/swarm.sh | docker stack deploy --compose-file - pipeline
set -euo pipefail
cd "$(dirname "$0")/.."
source local/machine.sh

[[ $(local/compose.sh version --short 2>/dev/null) != 1.* ]] ||
    fail "local/swarm.sh needs Compose v2 (docker compose); this machine has $(local/compose.sh version --short)"

local/compose.sh -f docker-compose.yaml -f docker-compose.cluster.yaml -f docker-compose.swarm.yaml \
    config --format json | python3 -c '
import json, sys

stack = json.load(sys.stdin)
del stack["name"]
stack["version"] = "3.9"  # Docker 20.10, as in Debian 12, wants one
for service in stack["services"].values():
    # No start order: the services wait automatically. No health checks for brokers: a Swarm hides the address of a
    # container that is not healthy yet, and brokers must find each other before that. No ports: a Swarm would publish
    # them on all addresses.
    for key in ("build", "depends_on", "healthcheck", "network_mode", "ports"):
        service.pop(key, None)
    for key in [key for key, value in service.items() if value is None]:
        del service[key]
    tmpfs = [{"type": "tmpfs", "target": path} for path in service.pop("tmpfs")]
    service["volumes"] = service.get("volumes", []) + tmpfs
    limits = {"memory": service.pop("mem_limit"), "pids": service.pop("pids_limit")}
    service.setdefault("deploy", {})["resources"] = {"limits": limits}
    if service.pop("restart") == "no":
        service["deploy"]["restart_policy"] = {"condition": "none"}
json.dump(stack, sys.stdout, indent=2)'
