/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object file between open and load; once loaded its descriptors are handed out and it is
 * closed.
 */
#ifndef SINABRO_OBJECT_H
#define SINABRO_OBJECT_H

#include "args.h"

#include <bpf/libbpf.h>

/* What libbpf printed as warnings during one call: bounded, the rest is cut. */
struct messages {
	char data[8192];
	size_t size;
};

/* Owned by a JavaScript external: freed by objectClose() or, failing that, by its finalizer. */
struct object {
	struct bpf_object *bpf; /* NULL once closed */
	struct messages messages;
	char *log; /* of the verifier; there only after a load that failed */
	bool is_loading; /* a thread of the pool has it: every other call says -EBUSY */
};

/* Installs the process-wide print function of libbpf: silent but for the thread that collects. */
void messages_init(void);
/* From here until messages_end() this thread's warnings go into `messages`. */
void messages_begin(struct messages *messages);
void messages_end(void);

/* The object in argument `at`, or NULL and *err. */
struct object *object_from(struct args *args, int at, int *err);
void object_free(struct object *object);

#endif
