#!/bin/sh
# Runs the project's own Node, whatever Node the machine has: node.sh FILE ARGUMENTS…
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
node=$root/node_modules/node/bin/node

# In a chroot `/` is usually no mount point, and what is none has no propagation to change: `unshare --mount` and `ip netns exec`
# fail there. So root goes on in a mount namespace of its own, below a copy of `/` that is one. The copy lies on a tmpfs over
# /proc (the one mount point that every chroot has), made private first, so that nothing of this is seen outside.
own_root='
	cwd=$PWD
	mount --make-private /proc && mount -t tmpfs tmpfs /proc && mkdir /proc/root &&
		mount --rbind / /proc/root && mount --make-rprivate /proc/root && umount /proc/root/proc || exit 1
	exec chroot /proc/root sh -c '\''cd "$0" && exec "$@"'\'' "$cwd" "$@"'
if [ "$(id -u)" = 0 ] && [ -r /proc/self/mountinfo ] &&
	! grep -q '^[^ ]* [^ ]* [^ ]* [^ ]* / ' /proc/self/mountinfo; then
	exec unshare --mount --propagation unchanged sh -c "$own_root" sh "$node" "$@"
fi
exec "$node" "$@"
