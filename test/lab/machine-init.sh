#!/bin/sh
# PID 1 of a lab machine: gives its fresh namespaces mounts of their own, says `ready PID`, then only reaps orphans.
# Called as machine-init.sh LAB_DIR NAME TREE inside new net, mount, pid, uts, ipc and cgroup namespaces.
set -eu
lab=$1 name=$2 tree=$3
own=$lab/machines/$name

# Still the host's /proc: our number as the host counts.
read -r pid _ </proc/self/stat

mount --make-rprivate /
mount -t proc proc /proc

# /run is fresh; the lab's own folder is carried over into it.
mount -t tmpfs -o mode=755 run "$own/run"
mkdir -p "$own/run/netns" "$own/run/lock" "$own/run$(echo "$lab" | sed 's|^/run||')" "$own/run/.layers"
mount --bind "$lab" "$own/run$(echo "$lab" | sed 's|^/run||')"
mount --rbind "$own/run" /run

# A sysfs that shows this network namespace, a bpffs and the cgroup2 directory of this machine alone.
umount -l /sys 2>/dev/null || true
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup

# What follows needs mount points that the host may not have and shall not get: a writable layer over their parents.
for parent in /etc /opt /var/lib; do
	layer=/run/.layers/$(echo "$parent" | tr / _)
	mkdir -p "$layer/upper" "$layer/work"
	mount -t overlay -o "lowerdir=$parent,upperdir=$layer/upper,workdir=$layer/work" overlay "$parent"
done
mkdir -p /etc/cni/net.d /opt/cni/bin /var/lib/sinabro /var/lib/cni
mount --bind "$own/cni-conf" /etc/cni/net.d
mount --bind "$own/cni-bin" /opt/cni/bin
mount --bind "$own/state" /var/lib/sinabro
if ! [ -e "$tree/package.json" ]; then
	echo "$tree cannot be seen from the machine: it lies on a mount of its own below /etc, /opt or /var/lib" >&2
	exit 1
fi

hostname "$name"
printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n' "$name" >/etc/hosts
ip link set lo up

echo "ready $pid"
exec >/dev/null
while :; do
	sleep 1000000 &
	wait $!
done
