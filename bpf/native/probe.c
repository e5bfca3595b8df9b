/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the kernel what it has: helpers by their number, and anything else by loading a few
 * instructions that need it.
 */
#include "args.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

/* helperProbe(programType, helper): 1, 0, or -errno; 1 also where loading is refused as a whole */
static napi_value helper_probe(napi_env env, napi_callback_info info)
{
	struct args args;
	int type, helper;

	args_open(&args, env, info);
	type = args_int(&args, 0);
	helper = args_int(&args, 1);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, libbpf_probe_bpf_helper(type, helper, NULL));
}

/* programLoad(type, instructions): fd of a program without a name or maps */
static napi_value program_load(napi_env env, napi_callback_info info)
{
	struct bytes code;
	struct args args;
	int type;

	args_open(&args, env, info);
	type = args_int(&args, 0);
	code = args_bytes(&args, 1);
	if (args.is_bad || code.size == 0 || code.size % sizeof(struct bpf_insn) != 0)
		return answer(env, -EINVAL);
	return answer(env, bpf_prog_load(type, NULL, "GPL", code.data,
					 code.size / sizeof(struct bpf_insn), NULL));
}

const struct function probe_functions[] = {
	{ "helperProbe", helper_probe },
	{ "programLoad", program_load },
	{ NULL, NULL },
};
