/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The kernel's headers that every file here needs, and the few words they lack. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "outcomes.h"
#include "types.h"

/* A step of a program answers with an outcome, or with this when the next step should go on. */
#define CONTINUE (-1)

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

/* A function of its own, to keep what is rare out of the fast path's instructions and stack. Global, so
 * that the verifier walks it once and not again for each caller; the price is that it knows nothing of
 * the arguments, so each pointer is checked. ADR 0012. */
#define __rare __attribute__((noinline))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* linux/if_packet.h; a program needs this one value. */
#define PACKET_HOST 0
