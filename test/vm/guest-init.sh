#!/bin/sh
# PID 1 of the guest's initrd: the host's root, read-only, under a writable overlay in memory; then guest-run.sh from there.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
	insmod "/modules/$module" || echo "insmod $module failed"
done </load
setting() {
	sed -n "s/.* sinabro\.$1=\([^ ]*\).*/\1/p" /proc/cmdline
}
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288 root /low || {
	echo 'no root by 9p'
	poweroff -f
}
mount -t tmpfs -o size=1g tmpfs /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/low,upperdir=/rw/upper,workdir=/rw/work overlay /new
script=$(setting script) work=$(setting work) modules=$(setting modules) interactive=$(setting interactive)
for folder in proc sys dev; do mount -o move /$folder /new/$folder; done
exec switch_root /new /bin/sh "$script" "$work" "$modules" "$interactive"
