#!/usr/bin/env bash
# Installs the given Debian packages as root; otherwise it prints the command and exits with code 2.
set -euo pipefail

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Missing on this machine: $*. Install it with: sudo apt-get install $*" >&2
    exit 2
fi
echo "Installing $*"
apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"
