/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the arguments of a call from JavaScript: numbers, texts, bytes; the first bad one spoils
 * the call.
 */
#ifndef SINABRO_ARGS_H
#define SINABRO_ARGS_H

#include <limits.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_ARGS 9

struct args {
	napi_env env;
	napi_value at[MAX_ARGS];
	bool is_bad; /* sticky: set by any reader that did not find what it was asked for */
};

/* Memory of a Uint8Array, or {NULL, 0} for null and undefined. Valid until the call returns. */
struct bytes {
	void *data;
	size_t size;
};

struct text {
	char data[PATH_MAX];
};

void args_open(struct args *args, napi_env env, napi_callback_info info);
int32_t args_int(struct args *args, int at);
uint32_t args_u32(struct args *args, int at);
struct bytes args_bytes(struct args *args, int at);
/* Bytes that must be there, at least `size` of them. */
void *args_room(struct args *args, int at, size_t size);
void args_text(struct args *args, int at, struct text *text);

/* A count, a descriptor, or -errno. */
napi_value answer(napi_env env, int64_t value);
napi_value answer_text(napi_env env, const char *text);

/* Each file's functions, by the name JavaScript calls them. */
struct function {
	const char *name;
	napi_callback call;
};

extern const struct function constant_functions[];
extern const struct function descriptor_functions[];
extern const struct function link_functions[];
extern const struct function map_functions[];
extern const struct function object_functions[];
extern const struct function load_functions[];
extern const struct function poll_functions[];
extern const struct function probe_functions[];
extern const struct function program_functions[];
extern const struct function read_functions[];
extern const struct function ring_functions[];

#endif
