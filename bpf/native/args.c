/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of JavaScript arguments; they know types and sizes, never a meaning. */
#include "args.h"

#include <string.h>

void args_open(struct args *args, napi_env env, napi_callback_info info)
{
	size_t count = MAX_ARGS;

	memset(args, 0, sizeof(*args));
	args->env = env;
	/* Arguments that were not given read as undefined. */
	if (napi_get_cb_info(env, info, &count, args->at, NULL, NULL) != napi_ok)
		args->is_bad = true;
}

/* Node-API's own integers cut and wrap what does not fit: 1.5 would be descriptor 1. */
static double args_number(struct args *args, int at, double min, double max)
{
	double value = 0;

	if (args->is_bad || napi_get_value_double(args->env, args->at[at], &value) != napi_ok ||
	    !(value >= min && value <= max) || value != (double)(int64_t)value) {
		args->is_bad = true;
		return 0;
	}
	return value;
}

int32_t args_int(struct args *args, int at)
{
	int32_t value = args_number(args, at, INT32_MIN, INT32_MAX);

	return args->is_bad ? -1 : value;
}

uint32_t args_u32(struct args *args, int at)
{
	return args_number(args, at, 0, UINT32_MAX);
}

struct bytes args_bytes(struct args *args, int at)
{
	struct bytes bytes = { NULL, 0 };
	napi_typedarray_type type;
	napi_valuetype kind;

	if (args->is_bad)
		return bytes;
	if (napi_typeof(args->env, args->at[at], &kind) == napi_ok &&
	    (kind == napi_undefined || kind == napi_null))
		return bytes;
	if (napi_get_typedarray_info(args->env, args->at[at], &type, &bytes.size, &bytes.data, NULL,
				     NULL) != napi_ok ||
	    type != napi_uint8_array) {
		args->is_bad = true;
		return (struct bytes){ NULL, 0 };
	}
	return bytes;
}

void *args_room(struct args *args, int at, size_t size)
{
	struct bytes bytes = args_bytes(args, at);

	if (bytes.data == NULL || bytes.size < size)
		args->is_bad = true;
	return bytes.data;
}

void args_text(struct args *args, int at, struct text *text)
{
	size_t length = 0;

	text->data[0] = '\0';
	if (args->is_bad)
		return;
	if (napi_get_value_string_utf8(args->env, args->at[at], NULL, 0, &length) != napi_ok ||
	    length >= sizeof(text->data) ||
	    napi_get_value_string_utf8(args->env, args->at[at], text->data, sizeof(text->data),
				       &length) != napi_ok ||
	    strlen(text->data) != length) /* a NUL inside would name something else */
		args->is_bad = true;
}

napi_value answer(napi_env env, int64_t value)
{
	napi_value result = NULL;

	napi_create_int64(env, value, &result);
	return result;
}

napi_value answer_text(napi_env env, const char *text)
{
	napi_value result = NULL;

	napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &result);
	return result;
}
