/* `sinabro` in the image: starts the bundle with the Node beside it, for an image without a shell. The flags are those of agent/build.ts. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PLACE "/usr/lib/sinabro/"

int main(int argc, char **argv)
{
	static char *const flags[] = {
		PLACE "node", "--max-semi-space-size=2", "--optimize-for-size", PLACE "sinabro.mjs",
	};
	enum { FLAGS = sizeof(flags) / sizeof(flags[0]) };
	int own = argc > 0 ? argc - 1 : 0;
	char **args = calloc(FLAGS + own + 1, sizeof(*args));

	if (!args)
		return 1;
	/*
	 * Loading programs on four threads leaves each with an arena of 11 MiB, which glibc keeps for good: 80 MiB of anonymous memory
	 * with its defaults, 23 with one arena that is given back.
	 */
	setenv("MALLOC_ARENA_MAX", "1", 0);
	setenv("MALLOC_TRIM_THRESHOLD_", "65536", 0);
	for (int i = 0; i < FLAGS; i++)
		args[i] = flags[i];
	for (int i = 0; i < own; i++)
		args[FLAGS + i] = argv[i + 1];
	execv(args[0], args);
	perror("sinabro: " PLACE "node");
	return 1;
}
