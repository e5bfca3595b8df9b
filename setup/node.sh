#!/bin/sh
# Runs the project's own Node, whatever Node the machine has: node.sh FILE ARGUMENTS…
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
exec "$root/node_modules/node/bin/node" "$@"
