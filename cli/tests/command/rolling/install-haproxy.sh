#!/bin/sh
# Installs Debian's HAProxy where it is missing and this may be done. Exit code 0: it is there.
set -eu
command -v haproxy >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "no haproxy, and it cannot be installed: neither root nor apt-get alone is enough" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends haproxy >&2 || {
    apt-get update >&2
    apt-get install -y --no-install-recommends haproxy >&2
}
