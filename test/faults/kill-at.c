// kill-at CALL[,CALL…] PROGRAM [ARGUMENT…]: runs the program and kills it as it is about to make the last of these system calls,
// each the first of its name after the one before. Its exit status is the program's, 137 if it was killed.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/ptrace.h>

static const struct {
	const char *name;
	unsigned long long number;
} calls[] = {
	{"read", SYS_read},
	{"write", SYS_write},
	{"openat", SYS_openat},
	{"connect", SYS_connect},
	{"sendto", SYS_sendto},
	{"fsync", SYS_fsync},
	{"exit_group", SYS_exit_group},
#ifdef SYS_rename // not on arm64
	{"mkdir", SYS_mkdir},
	{"rename", SYS_rename},
	{"poll", SYS_poll},
#else
	{"mkdir", SYS_mkdirat},
	{"rename", SYS_renameat},
	{"poll", SYS_ppoll},
#endif
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "kill-at: %s: %s\n", what, strerror(errno));
	exit(125);
}

static unsigned long long number_of(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (strcmp(calls[i].name, name) == 0)
			return calls[i].number;
	errno = EINVAL;
	fail(name);
}

int main(int argc, char **argv)
{
	unsigned long long steps[16];
	size_t count = 0, reached = 0;
	int status;

	if (argc < 3) {
		fprintf(stderr, "usage: kill-at CALL[,CALL...] PROGRAM [ARGUMENT...]\n");
		return 125;
	}
	for (char *name = strtok(argv[1], ","); name; name = strtok(NULL, ",")) {
		if (count == sizeof(steps) / sizeof(*steps)) {
			errno = E2BIG;
			fail(name);
		}
		steps[count++] = number_of(name);
	}
	pid_t child = fork();
	if (child < 0)
		fail("fork");
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execv(argv[2], argv + 2);
		fail(argv[2]);
	}
	if (waitpid(child, &status, 0) != child)
		fail("waitpid");
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	// The program ends with us: whoever kills us, on a deadline say, means both.
	if (ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0)
		fail("ptrace");
	for (int deliver = 0;;) {
		if (ptrace(PTRACE_SYSCALL, child, NULL, deliver) != 0 && errno != ESRCH)
			fail("ptrace");
		if (waitpid(child, &status, 0) != child)
			fail("waitpid");
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			return 128 + WTERMSIG(status);
		deliver = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
		if (deliver != 0)
			continue;
		struct ptrace_syscall_info info;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) <= 0)
			fail("ptrace");
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY || info.entry.nr != steps[reached])
			continue;
		if (++reached == count)
			kill(child, SIGKILL);
	}
}
