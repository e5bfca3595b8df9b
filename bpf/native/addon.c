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
	messages_init();
	if (add(env, exports, map_functions) == NULL || add(env, exports, link_functions) == NULL ||
	    add(env, exports, object_functions) == NULL ||
	    add(env, exports, constant_functions) == NULL ||
	    add(env, exports, load_functions) == NULL ||
	    add(env, exports, program_functions) == NULL)
		return NULL;
	return exports;
}
