/* SPDX-License-Identifier: Apache-2.0 */
/* How every function of the addon reads its arguments and hands back a number; no protocol, no strings, no objects. */
#ifndef NETLINK_BINDING_H
#define NETLINK_BINDING_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	uint8_t *data;
	size_t length;
};

/* Reads exactly `count` arguments; on false a JavaScript exception is pending. */
bool binding__args(napi_env env, napi_callback_info info, napi_value *argv, size_t count);
bool binding__i32(napi_env env, napi_value value, int32_t *out);
bool binding__bytes(napi_env env, napi_value value, struct bytes *out);
napi_value binding__number(napi_env env, int64_t number);

napi_value socket__open(napi_env env, napi_callback_info info);
napi_value socket__bind(napi_env env, napi_callback_info info);
napi_value socket__send(napi_env env, napi_callback_info info);
napi_value socket__receive(napi_env env, napi_callback_info info);
napi_value socket__set_option(napi_env env, napi_callback_info info);
napi_value socket__get_option(napi_env env, napi_callback_info info);
napi_value socket__close(napi_env env, napi_callback_info info);

napi_value aside__send(napi_env env, napi_callback_info info);

napi_value poll__start(napi_env env, napi_callback_info info);
napi_value poll__stop(napi_env env, napi_callback_info info);

napi_value namespace__open_file(napi_env env, napi_callback_info info);
napi_value namespace__create(napi_env env, napi_callback_info info);
napi_value namespace__type(napi_env env, napi_callback_info info);
napi_value namespace__of_socket(napi_env env, napi_callback_info info);

/* Made inside the namespace; returns a file descriptor or -errno. */
int namespace__socket(int netns_fd, int protocol);

#endif
