/* `sinabro-mount-bpffs`: mounts a BPF file system on /sys/fs/bpf unless there is one; the only thing of ours that needs a privileged container. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#define WHERE "/sys/fs/bpf"
/* BPF_FS_MAGIC, include/uapi/linux/magic.h */
#define BPF_FS 0xcafe4a11

int main(void)
{
	struct statfs found;

	if (statfs(WHERE, &found)) {
		fprintf(stderr, WHERE ": %s; is the kernel built with CONFIG_BPF_SYSCALL?\n", strerror(errno));
		return 1;
	}
	if ((unsigned int)found.f_type == BPF_FS)
		return 0;
	if (mount("bpf", WHERE, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME, "mode=700")) {
		fprintf(stderr, "mount " WHERE ": %s; this needs a privileged container\n", strerror(errno));
		return 1;
	}
	printf("mounted a BPF file system on " WHERE "\n");
	return 0;
}
