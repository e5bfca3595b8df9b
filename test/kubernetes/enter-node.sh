#!/bin/sh
# Runs a command on a node: enter-node.sh PID CGROUP… -- COMMAND… joins the cgroups, then the namespaces and root of process PID.
pid=$1
shift
while [ "$1" != -- ]; do
	echo 0 >"$1/cgroup.procs" || exit 125
	shift
done
shift
exec nsenter --target "$pid" --mount --pid --uts --ipc --cgroup --net --root --wd=/ -- "$@"
