#!/bin/sh
# PID 1 of the guest after its initrd: guest-run.sh WORK MODULES [INTERACTIVE] mounts what a machine has, runs WORK/command, says
# `@@exit STATUS` on the second serial line, where the command's output goes too.
work=$1 modules=$2 interactive=${3-}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
release=$(uname -r)
mkdir -p "/usr/lib/modules/$release"
mount --bind "$modules" "/usr/lib/modules/$release"
mount -t tmpfs tmpfs /run
mkdir -p /dev/pts /run/netns
mount -t devpts devpts /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
# Nothing asks for it: its device file comes with it.
modprobe tun
# Else every namespace made after the first tunnel device has an ip6tnl0 of its own, which tests take for somebody's.
echo 2 >/proc/sys/net/core/fb_tunnels_only_for_init_net
if [ -n "$interactive" ]; then
	# A session of its own on that line, so that ^C and job control work; the end of the shell is the end of the machine.
	TERM=linux setsid -c sh "$work/command" <>/dev/ttyS1 >&0 2>&1
	echo o >/proc/sysrq-trigger
	while :; do sleep 1; done
fi
exec >/dev/ttyS1 2>&1
stty raw 2>/dev/null <&1
sh "$work/command"
# Begins with a line end: the command may have left its line open.
printf '\n@@exit %s\n' $?
# The host ends the machine when it has read that.
while :; do sleep 1; done
