/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading an object through the verifier, on the thread pool, and everything that is said on the
 * way.
 */
#include "object.h"
#include "work.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The largest that every kernel takes. Memory is touched only if the verifier has so much to say.
 */
#define LOG_SIZE (UINT_MAX >> 8)

static _Thread_local struct messages *collecting;

static int print(enum libbpf_print_level level, const char *format, va_list list)
{
	struct messages *messages = collecting;
	size_t room;
	int size;

	if (messages == NULL || level != LIBBPF_WARN)
		return 0;
	room = sizeof(messages->data) - messages->size;
	size = vsnprintf(messages->data + messages->size, room, format, list);
	if (size > 0)
		messages->size += (size_t)size < room ? (size_t)size : room - 1;
	return 0;
}

void messages_init(void)
{
	libbpf_set_print(print);
}

void messages_begin(struct messages *messages)
{
	memset(messages, 0, sizeof(*messages));
	collecting = messages;
}

void messages_end(void)
{
	collecting = NULL;
}

struct load {
	struct work work;
	struct object *object;
};

/* libbpf asks for a log only after a refusal: a second try, with level 1. */
static int64_t load_run(struct work *work)
{
	struct object *object = ((struct load *)work)->object;
	struct bpf_program *program;
	int err;

	object->log = malloc(LOG_SIZE);
	if (object->log == NULL)
		return -ENOMEM;
	object->log[0] = '\0';
	/* One buffer for all: libbpf stops at the first program that is refused. */
	bpf_object__for_each_program(program, object->bpf)
		bpf_program__set_log_buf(program, object->log, LOG_SIZE);
	messages_begin(&object->messages);
	err = bpf_object__load(object->bpf);
	messages_end();
	if (err == 0) {
		free(object->log);
		object->log = NULL;
	}
	return err;
}

static void load_done(struct work *work)
{
	((struct load *)work)->object->is_loading = false;
}

/*
 * objectLoad(object): promise of 0 or -errno; afterwards objectLog() and objectMessages() tell why
 */
static napi_value object_load(napi_env env, napi_callback_info info)
{
	struct object *object;
	struct load *load;
	struct args args;
	int err;

	args_open(&args, env, info);
	object = object_from(&args, 0, &err);
	if (object == NULL)
		return answer(env, err);
	load = calloc(1, sizeof(*load));
	if (load == NULL)
		return answer(env, -ENOMEM);
	load->work.run = load_run;
	load->work.done = load_done;
	load->object = object;
	object->is_loading = true;
	return work_start(env, &load->work, "sinabro bpf load", args.at[0]);
}

/* objectLog(object, maxBytes): the end of the verifier's log; empty if it was never asked */
static napi_value object_log(napi_env env, napi_callback_info info)
{
	struct object *object;
	uint32_t max_bytes;
	struct args args;
	size_t size;
	int err;

	args_open(&args, env, info);
	object = object_from(&args, 0, &err);
	if (object == NULL)
		return answer(env, err);
	max_bytes = args_u32(&args, 1);
	if (args.is_bad)
		return answer(env, -EINVAL);
	if (object->log == NULL)
		return answer_text(env, "");
	size = strnlen(object->log, LOG_SIZE);
	return answer_text(env, object->log + (size > max_bytes ? size - max_bytes : 0));
}

/* objectMessages(object): libbpf's warnings of the last load */
static napi_value object_messages(napi_env env, napi_callback_info info)
{
	struct object *object;
	struct args args;
	int err;

	args_open(&args, env, info);
	object = object_from(&args, 0, &err);
	return object == NULL ? answer(env, err) : answer_text(env, object->messages.data);
}

const struct function load_functions[] = {
	{ "objectLoad", object_load },
	{ "objectLog", object_log },
	{ "objectMessages", object_messages },
	{ NULL, NULL },
};
