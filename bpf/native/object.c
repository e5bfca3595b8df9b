/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Object files through libbpf: open, look inside, set what may be set before loading, hand out
 * descriptors.
 */
#include "object.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static void finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	object_free(data);
	free(data);
}

void object_free(struct object *object)
{
	bpf_object__close(object->bpf);
	object->bpf = NULL;
	free(object->log);
	object->log = NULL;
}

struct object *object_from(struct args *args, int at, int *err)
{
	struct object *object = NULL;

	*err = -EINVAL;
	if (args->is_bad ||
	    napi_get_value_external(args->env, args->at[at], (void **)&object) != napi_ok)
		return NULL;
	*err = object->is_loading ? -EBUSY : object->bpf == NULL ? -EBADF : 0;
	return *err == 0 ? object : NULL;
}

/* objectOpen(path, messages): external. `messages` gets what libbpf has to say, NUL-terminated. */
static napi_value object_open(napi_env env, napi_callback_info info)
{
	struct object *object;
	struct bytes messages;
	struct bpf_map *map;
	struct text path;
	struct args args;
	napi_value value;
	int err = 0;

	args_open(&args, env, info);
	args_text(&args, 0, &path);
	messages = args_bytes(&args, 1);
	if (args.is_bad || messages.size == 0)
		return answer(env, -EINVAL);

	object = calloc(1, sizeof(*object));
	if (object == NULL)
		return answer(env, -ENOMEM);
	messages_begin(&object->messages);
	object->bpf = bpf_object__open_file(path.data, NULL);
	if (object->bpf == NULL)
		err = -errno;
	messages_end();
	if (err < 0) {
		strncpy(messages.data, object->messages.data, messages.size - 1);
		free(object);
		return answer(env, err);
	}
	/*
	 * Pinning is decided above, in one place; a pin path written in the C file would be a
	 * second one.
	 */
	bpf_object__for_each_map(map, object->bpf)
		bpf_map__set_pin_path(map, NULL);

	if (napi_create_external(env, object, finalize, NULL, &value) != napi_ok) {
		object_free(object);
		free(object);
		return answer(env, -ENOMEM);
	}
	return value;
}

/* objectClose(object): 0; every descriptor handed out stays */
static napi_value object_close(napi_env env, napi_callback_info info)
{
	struct object *object;
	struct args args;
	int err;

	args_open(&args, env, info);
	object = object_from(&args, 0, &err);
	if (object == NULL)
		return answer(env, err);
	object_free(object);
	return answer(env, 0);
}

static struct bpf_map *map_at(struct object *object, uint32_t at)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object->bpf)
		if (at-- == 0)
			return map;
	return NULL;
}

static struct bpf_program *program_at(struct object *object, uint32_t at)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, object->bpf)
		if (at-- == 0)
			return program;
	return NULL;
}

/* The map in argument 1 of the object in argument 0, or NULL and *err; -ENOENT past the last. */
static struct bpf_map *map_from(struct args *args, int *err)
{
	struct object *object = object_from(args, 0, err);
	uint32_t at = args_u32(args, 1);
	struct bpf_map *map;

	if (object == NULL)
		return NULL;
	if (args->is_bad) {
		*err = -EINVAL;
		return NULL;
	}
	map = map_at(object, at);
	*err = map == NULL ? -ENOENT : 0;
	return map;
}

static struct bpf_program *program_from(struct args *args, int *err)
{
	struct object *object = object_from(args, 0, err);
	uint32_t at = args_u32(args, 1);
	struct bpf_program *program;

	if (object == NULL)
		return NULL;
	if (args->is_bad) {
		*err = -EINVAL;
		return NULL;
	}
	program = program_at(object, at);
	*err = program == NULL ? -ENOENT : 0;
	return program;
}

/* objectMapName(object, at): text */
static napi_value object_map_name(napi_env env, napi_callback_info info)
{
	struct bpf_map *map;
	struct args args;
	int err;

	args_open(&args, env, info);
	map = map_from(&args, &err);
	return map == NULL ? answer(env, err) : answer_text(env, bpf_map__name(map));
}

/*
 * objectMapDefinition(object, at, into): 0; type, key size, value size, max entries, flags, is
 * libbpf's own: six __u32
 */
static napi_value object_map_definition(napi_env env, napi_callback_info info)
{
	struct bpf_map *map;
	struct args args;
	uint32_t *into;
	int err;

	args_open(&args, env, info);
	map = map_from(&args, &err);
	if (map == NULL)
		return answer(env, err);
	into = args_room(&args, 2, 6 * sizeof(*into));
	if (args.is_bad)
		return answer(env, -EINVAL);
	into[0] = bpf_map__type(map);
	into[1] = bpf_map__key_size(map);
	into[2] = bpf_map__value_size(map);
	into[3] = bpf_map__max_entries(map);
	into[4] = bpf_map__map_flags(map);
	into[5] = bpf_map__is_internal(map);
	return answer(env, 0);
}

/* objectSetMaxEntries(object, at, maxEntries): 0 */
static napi_value object_set_max_entries(napi_env env, napi_callback_info info)
{
	uint32_t max_entries;
	struct bpf_map *map;
	struct args args;
	int err;

	args_open(&args, env, info);
	map = map_from(&args, &err);
	if (map == NULL)
		return answer(env, err);
	max_entries = args_u32(&args, 2);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_map__set_max_entries(map, max_entries));
}

/* objectReuseMap(object, at, fd): 0; libbpf takes a copy of the descriptor */
static napi_value object_reuse_map(napi_env env, napi_callback_info info)
{
	struct bpf_map *map;
	struct args args;
	int fd, err;

	args_open(&args, env, info);
	map = map_from(&args, &err);
	if (map == NULL)
		return answer(env, err);
	fd = args_int(&args, 2);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_map__reuse_fd(map, fd));
}

static int copy_of(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? -errno : copy;
}

/* objectMapFd(object, at): a descriptor of the caller's own, after load */
static napi_value object_map_fd(napi_env env, napi_callback_info info)
{
	struct bpf_map *map;
	struct args args;
	int err;

	args_open(&args, env, info);
	map = map_from(&args, &err);
	return answer(env, map == NULL ? err : copy_of(bpf_map__fd(map)));
}

/* objectProgramName(object, at): text */
static napi_value object_program_name(napi_env env, napi_callback_info info)
{
	struct bpf_program *program;
	struct args args;
	int err;

	args_open(&args, env, info);
	program = program_from(&args, &err);
	return program == NULL ? answer(env, err) : answer_text(env, bpf_program__name(program));
}

/* objectProgramFd(object, at): a descriptor of the caller's own, after load */
static napi_value object_program_fd(napi_env env, napi_callback_info info)
{
	struct bpf_program *program;
	struct args args;
	int err;

	args_open(&args, env, info);
	program = program_from(&args, &err);
	return answer(env, program == NULL ? err : copy_of(bpf_program__fd(program)));
}

const struct function object_functions[] = {
	{ "objectOpen", object_open },
	{ "objectClose", object_close },
	{ "objectMapName", object_map_name },
	{ "objectMapDefinition", object_map_definition },
	{ "objectSetMaxEntries", object_set_max_entries },
	{ "objectReuseMap", object_reuse_map },
	{ "objectMapFd", object_map_fd },
	{ "objectProgramName", object_program_name },
	{ "objectProgramFd", object_program_fd },
	{ NULL, NULL },
};
