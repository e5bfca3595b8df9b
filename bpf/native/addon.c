/* SPDX-License-Identifier: Apache-2.0 */
/* Entry of the addon: hands JavaScript the functions of the other files, nothing else. */
#include "args.h"
#include "object.h"

static napi_value add(napi_env env, napi_value exports, const struct function *function)
{
	for (; function->name != NULL; function++) {
		napi_value value;

		if (napi_create_function(env, function->name, NAPI_AUTO_LENGTH, function->call,
					 NULL, &value) != napi_ok ||
		    napi_set_named_property(env, exports, function->name, value) != napi_ok)
			return NULL;
	}
	return exports;
}

NAPI_MODULE_INIT()
{
	static const struct function *const files[] = {
		constant_functions, descriptor_functions, link_functions,    load_functions,
		map_functions,	    object_functions,	  poll_functions,    probe_functions,
		program_functions,  read_functions,	  ring_functions,
	};
	size_t i;

	messages_init();
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (add(env, exports, files[i]) == NULL)
			return NULL;
	return exports;
}
