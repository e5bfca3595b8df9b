#!/bin/sh
# PID 1 of a cluster node: a machine's usual mounts for kubelet and containerd in fresh namespaces; says `ready PID`, then reaps.
# Called as node-init.sh CLUSTER_DIR NAME inside new net, mount, pid, uts, ipc and cgroup namespaces. Order matters.
set -eu
own=$1/machines/$2 name=$2

# Still the host's /proc: our number and our hierarchies as the host counts them.
read -r pid _ </proc/self/stat
hierarchies=$(cut -d: -f2 /proc/self/cgroup)

mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 run "$own/run"
mkdir -p "$own/run/netns" "$own/run/containerd" "$own/run/lock" "$own/run/.layers"
mount --rbind "$own/run" /run

# A sysfs that shows this network namespace, a bpffs, and the cgroups of this node alone.
umount -l /sys 2>/dev/null || true
# A kubelet takes the first hierarchy it finds, so one mounted elsewhere (a chroot's) must not be seen: it is the whole machine's.
while read -r _ point type _; do
	case $type in cgroup*) umount -l "$point" ;; esac
done </proc/mounts
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
if [ -z "$hierarchies" ]; then
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
	mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
	for controllers in $hierarchies; do
		case $controllers in
		name=*) options=none,$controllers directory=${controllers#name=} ;;
		*) options=$controllers directory=$controllers ;;
		esac
		mkdir "/sys/fs/cgroup/$directory"
		mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$directory"
		for one in $(echo "$directory" | tr , ' '); do
			[ -e "/sys/fs/cgroup/$one" ] || ln -s "$directory" "/sys/fs/cgroup/$one"
		done
	done
	mkdir /sys/fs/cgroup/unified
	mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
fi

# Mount points that the host may not have and shall not get: a writable layer over their parents.
for parent in /etc /opt /var/lib /var/log; do
	layer=/run/.layers/$(echo "$parent" | tr / _)
	mkdir -p "$layer/upper" "$layer/work"
	mount -t overlay -o "lowerdir=$parent,upperdir=$layer/upper,workdir=$layer/work" overlay "$parent"
done
# The node's disk: it outlives a reboot.
for directory in var/lib/containerd var/lib/kubelet var/lib/cni var/lib/sinabro var/log/pods var/log/containers \
	etc/cni/net.d opt/cni/bin; do
	mkdir -p "$own/disk/$directory" "/$directory"
	mount --bind "$own/disk/$directory" "/$directory"
done
mount --make-rshared /

hostname "$name"
printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n' "$name" >/etc/hosts
ip link set lo up

echo "ready $pid"
exec >/dev/null
while :; do
	sleep 1000000 &
	wait $!
done
