/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Time in flow rows: cheap to read, coarse enough that a busy row is written once a unit. */
#pragma once

#include "bpf.h"

#define CLOCK_UNIT_SHIFT 30		/* 2^30 ns = 1.07 s; 32 bits last for 146 years */

static __always_inline __u32 clock__now(void)
{
	return bpf_ktime_get_coarse_ns() >> CLOCK_UNIT_SHIFT;
}

/* The same clock, for programs that are denied the coarse one (SEC("syscall")). */
static __always_inline __u32 clock__now_precise(void)
{
	return bpf_ktime_get_ns() >> CLOCK_UNIT_SHIFT;
}

static __always_inline __u32 clock__units(__u32 sec)
{
	return (__u64)sec * 1000000000 >> CLOCK_UNIT_SHIFT;
}
