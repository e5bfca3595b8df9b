/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Run by the agent now and then: removes expired flow rows inside the kernel, where nothing races. */
#include "bpf.h"
#include "flows.h"

SEC("syscall")
int sb_sweep(struct sweep *context)
{
	struct expiry expiry = { .sweep = *context };

	expiry.sweep.rows = 0;
	expiry.sweep.removed = 0;
	expiry__run(&expiry);
	context->rows = expiry.sweep.rows;
	context->removed = expiry.sweep.removed;
	context->now = expiry.now;
	context->hz = expiry.hz;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
