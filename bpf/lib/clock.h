/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Time in flow rows: ticks of 256 jiffies. Jiffies cost 1 to 3 ns to read where the coarse clock costs
 * 15 to 20 (ADR 0013), and a busy row is written once a tick. How long a jiffy is, only the sweep
 * must know.
 */
#pragma once

#include "bpf.h"

#define CLOCK_TICK_SHIFT 8
#define NS_PER_SEC 1000000000ULL

static __always_inline __u32 clock__now(void)
{
	return bpf_jiffies64() >> CLOCK_TICK_SHIFT;
}

/*
 * CONFIG_HZ, from what both clocks say: 64-bit kernels start jiffies at 2^32 - 300 * HZ
 * (INITIAL_JIFFIES) when CLOCK_MONOTONIC starts at 0, so they pass 2^32 after 300 s whatever HZ is,
 * and from there on, or until then, their number per second tells. Around that moment it does not,
 * and the highest HZ makes idle times too long rather than too short.
 */
static __always_inline __u32 clock__hz(void)
{
	__u64 ms = bpf_ktime_get_ns() / 1000000, jiffies = bpf_jiffies64(), hz;

	if (ms > 302000 && jiffies > 1ULL << 32)
		hz = (jiffies - (1ULL << 32)) * 1000 / (ms - 300000);
	else if (ms < 298000 && jiffies < 1ULL << 32)
		hz = ((1ULL << 32) - jiffies) * 1000 / (300000 - ms);
	else
		return 1000;
	return hz < 175 ? 100 : hz < 275 ? 250 : hz < 650 ? 300 : 1000;
}

static __always_inline __u32 clock__ticks(__u32 sec, __u32 hz)
{
	return (__u64)sec * hz >> CLOCK_TICK_SHIFT;
}
