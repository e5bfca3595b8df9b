/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What running any program at a connect() costs, with the clock around it: subtracted from what ours take. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("cgroup/connect4")
int bench_empty4(struct bpf_sock_addr *ctx)
{
	return 1;
}

SEC("cgroup/connect6")
int bench_empty6(struct bpf_sock_addr *ctx)
{
	return 1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
