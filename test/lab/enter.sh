#!/bin/sh
# Runs a command on a lab machine: enter.sh CGROUP PID NETNS COMMAND… joins the cgroup first, then the machine's namespaces
# and root (those of process PID), with the network namespace at path NETNS, or the machine's own if that is empty.
# `sinabro` of this tree is in PATH there, as it is on an installed node.
cgroup=$1 pid=$2 netns=${3:-/proc/$2/ns/net}
shift 3
export PATH="$PATH:${0%/test/lab/enter.sh}/agent/build"
echo 0 >"$cgroup/cgroup.procs" || exit 125
exec nsenter --target "$pid" --mount --pid --uts --ipc --cgroup --net="$netns" --root --wd=/ -- "$@"
