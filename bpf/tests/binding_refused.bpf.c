/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * For the binding's own tests: one program the verifier takes, and one it must not: it reads the
 * packet unchecked.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int refused_not(struct __sk_buff *skb)
{
	return skb->len > 100 ? TC_ACT_OK : TC_ACT_UNSPEC;
}

SEC("tc")
int refused_read(struct __sk_buff *skb)
{
	__u8 *data = (void *)(long)skb->data;

	return data[0];
}

char _license[] SEC("license") = "Dual BSD/GPL";
