/* SPDX-License-Identifier: Apache-2.0 */
/* Entry point of the addon: names its functions and holds the argument readers they all use. */
#include "binding.h"

bool binding__args(napi_env env, napi_callback_info info, napi_value *argv, size_t count)
{
	size_t given = count;

	if (napi_get_cb_info(env, info, &given, argv, NULL, NULL) != napi_ok)
		return false;
	if (given < count) {
		napi_throw_type_error(env, NULL, "too few arguments");
		return false;
	}
	return true;
}

bool binding__i32(napi_env env, napi_value value, int32_t *out)
{
	if (napi_get_value_int32(env, value, out) == napi_ok)
		return true;
	napi_throw_type_error(env, NULL, "a number is expected");
	return false;
}

bool binding__bytes(napi_env env, napi_value value, struct bytes *out)
{
	napi_typedarray_type type;
	void *data;

	if (napi_get_typedarray_info(env, value, &type, &out->length, &data, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array) {
		napi_throw_type_error(env, NULL, "a Uint8Array is expected");
		return false;
	}
	out->data = data;
	return true;
}

napi_value binding__number(napi_env env, int64_t number)
{
	napi_value value;

	return napi_create_int64(env, number, &value) == napi_ok ? value : NULL;
}

NAPI_MODULE_INIT()
{
	const napi_property_descriptor functions[] = {
		{ "open", NULL, socket__open, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "bind", NULL, socket__bind, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "send", NULL, socket__send, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "sendAside", NULL, aside__send, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "receive", NULL, socket__receive, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "setOption", NULL, socket__set_option, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "getOption", NULL, socket__get_option, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "close", NULL, socket__close, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "pollStart", NULL, poll__start, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "pollStop", NULL, poll__stop, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "openFile", NULL, namespace__open_file, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "createNamespace", NULL, namespace__create, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "namespaceType", NULL, namespace__type, NULL, NULL, NULL, napi_enumerable, NULL },
		{ "namespaceOf", NULL, namespace__of_socket, NULL, NULL, NULL, napi_enumerable, NULL },
	};

	if (napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions) !=
	    napi_ok)
		return NULL;
	return exports;
}
