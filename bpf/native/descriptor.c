/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of any kind: pinned, found at a pin, asked what they are, copied, closed. */
#include "args.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* pin(fd, path): 0 */
static napi_value pin(napi_env env, napi_callback_info info)
{
	struct text path;
	struct args args;
	int fd;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	args_text(&args, 1, &path);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_obj_pin(fd, path.data));
}

/* getPinned(path): fd */
static napi_value get_pinned(napi_env env, napi_callback_info info)
{
	struct text path;
	struct args args;

	args_open(&args, env, info);
	args_text(&args, 0, &path);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_obj_get(path.data));
}

/* info(fd, into): how many bytes the kernel filled in */
static napi_value object_info(napi_env env, napi_callback_info info)
{
	struct args args;
	struct bytes into;
	__u32 size;
	int fd, err;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	into = args_bytes(&args, 1);
	if (args.is_bad)
		return answer(env, -EINVAL);
	size = into.size;
	err = bpf_obj_get_info_by_fd(fd, into.data, &size);
	return answer(env, err < 0 ? err : (int64_t)size);
}

/* copyFd(fd): another descriptor of the same, for an owner of its own */
static napi_value copy_fd(napi_env env, napi_callback_info info)
{
	struct args args;
	int fd, copy;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	if (args.is_bad)
		return answer(env, -EINVAL);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return answer(env, copy < 0 ? -errno : copy);
}

/* close(fd): 0 */
static napi_value close_fd(napi_env env, napi_callback_info info)
{
	struct args args;
	int fd;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, close(fd) < 0 ? -errno : 0);
}

const struct function descriptor_functions[] = {
	{ "pin", pin },
	{ "getPinned", get_pinned },
	{ "info", object_info },
	{ "copyFd", copy_fd },
	{ "close", close_fd },
	{ NULL, NULL },
};
