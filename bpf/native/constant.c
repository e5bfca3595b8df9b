/* SPDX-License-Identifier: Apache-2.0 */
/* Read-only data of an object before it is loaded: `const volatile` variables, found by name. */
#include "object.h"

#include <bpf/btf.h>
#include <errno.h>
#include <string.h>

/*
 * Writes `value` over the variable if it lives in this section. -ENOENT: it does not; -EMSGSIZE:
 * other size.
 */
static int set_in_section(struct bpf_map *map, const struct btf *btf, const char *name,
			  struct bytes value)
{
	const struct btf_type *section = btf__type_by_id(btf, bpf_map__btf_value_type_id(map));
	size_t size;
	char *data = (char *)bpf_map__initial_value(map, &size);
	int i;

	if (data == NULL || section == NULL || !btf_is_datasec(section) ||
	    strncmp(btf__name_by_offset(btf, section->name_off), ".rodata", 7) != 0)
		return -ENOENT;
	for (i = 0; i < btf_vlen(section); i++) {
		const struct btf_var_secinfo *place = &btf_var_secinfos(section)[i];
		const struct btf_type *variable = btf__type_by_id(btf, place->type);

		if (strcmp(btf__name_by_offset(btf, variable->name_off), name) != 0)
			continue;
		if (place->size != value.size || (size_t)place->offset + place->size > size)
			return -EMSGSIZE;
		memcpy(data + place->offset, value.data, value.size);
		return 0;
	}
	return -ENOENT;
}

/*
 * objectSetConstant(object, name, value): 0; -ENOENT: no such `const volatile`; -EMSGSIZE: it has
 * another size
 */
static napi_value object_set_constant(napi_env env, napi_callback_info info)
{
	struct object *object;
	struct bytes value;
	struct bpf_map *map;
	struct text name;
	struct args args;
	int err;

	args_open(&args, env, info);
	object = object_from(&args, 0, &err);
	if (object == NULL)
		return answer(env, err);
	args_text(&args, 1, &name);
	value = args_bytes(&args, 2);
	if (args.is_bad)
		return answer(env, -EINVAL);
	err = -ENOENT;
	bpf_object__for_each_map(map, object->bpf) {
		if (!bpf_map__is_internal(map))
			continue;
		err = set_in_section(map, bpf_object__btf(object->bpf), name.data, value);
		if (err != -ENOENT)
			break;
	}
	return answer(env, err);
}

const struct function constant_functions[] = {
	{ "objectSetConstant", object_set_constant },
	{ NULL, NULL },
};
