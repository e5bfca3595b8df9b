/* SPDX-License-Identifier: Apache-2.0 */
/* For tests only: loads the smallest program a tc filter takes, so that filters can be tested without the BPF package. */
#define NAPI_VERSION 8
#include <errno.h>
#include <linux/bpf.h>
#include <node_api.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* load(verdict): fd or -errno of `r0 = verdict; exit` */
static napi_value load(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	size_t argc = 1;
	int32_t verdict;
	union bpf_attr attr;

	if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc < 1 ||
	    napi_get_value_int32(env, argv[0], &verdict) != napi_ok)
		return NULL;

	const struct bpf_insn program[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
	attr.insns = (__u64)(unsigned long)program;
	attr.insn_cnt = 2;
	attr.license = (__u64)(unsigned long)"GPL";

	long fd = syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));

	napi_create_int64(env, fd < 0 ? -errno : fd, &result);
	return result;
}

NAPI_MODULE_INIT()
{
	napi_value function;

	napi_create_function(env, "load", NAPI_AUTO_LENGTH, load, NULL, &function);
	napi_set_named_property(env, exports, "load", function);
	return exports;
}
