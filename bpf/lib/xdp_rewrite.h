/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Other addresses and ports in an XDP frame, and one hop less. Unlike in rewrite.h every checksum is whole: a
 * frame has no note beside it that a device is to finish one.
 */
#pragma once

#include "rewrite.h"

static __always_inline __u16 sum__fold16(__u64 sum)
{
	__u32 folded = sum__fold64(sum);

	folded = (folded & 0xffff) + (folded >> 16);
	return folded + (folded >> 16);
}

/* Where the transport's checksum is; both headers were there when the packet was parsed. */
static __always_inline __sum16 *xdp_rewrite__checksum(const struct packet *p, void *l4, const void *end)
{
	if (p->key.proto == IPPROTO_TCP)
		return l4 + sizeof(struct tcphdr) <= end ? &((struct tcphdr *)l4)->check : NULL;
	return l4 + sizeof(struct udphdr) <= end ? &((struct udphdr *)l4)->check : NULL;
}

static __always_inline void *xdp_rewrite__l4(const struct packet *p, void *l3)
{
	return l3 + (p->flags & PACKET_IPV6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
}

/*
 * Another host of the same machine (virtio, veth) may have summed the pseudo header only, and left the rest to a
 * device that there is none of. The kernel knows of such a packet, an XDP program is not told: but the field
 * is that sum then, and one packet in 65536 has it by chance.
 */
static __always_inline bool xdp_rewrite__is_summed(const struct packet *p, void *l3, const void *end)
{
	__sum16 *check = xdp_rewrite__checksum(p, xdp_rewrite__l4(p, l3), end);
	const struct addr *s = &p->key.saddr, *d = &p->key.daddr;
	__u64 sum = (__u64)s->w[3] + d->w[3] + bpf_htons(p->key.proto) + bpf_htons(p->l4_len);

	if (!check)
		return false;
	if (!*check)	/* which only IPv4's UDP has for none */
		return p->key.proto == IPPROTO_UDP && !(p->flags & PACKET_IPV6);
	if (p->flags & PACKET_IPV6)
		sum += (__u64)s->w[0] + s->w[1] + s->w[2] + d->w[0] + d->w[1] + d->w[2];
	return *check != sum__fold16(sum);
}

/* All of `to`, and one hop less: the transport's checksum, of which every packet has another. NULL if there is no
 * such packet at l3; then nothing was done. */
static __always_inline __sum16 *xdp_rewrite(void *l3, const void *end, const struct packet *p,
					    const struct translation *to)
{
	struct udphdr *ports = xdp_rewrite__l4(p, l3);
	__sum16 *check = xdp_rewrite__checksum(p, ports, end);
	__u64 gain;
	__sum16 sum;

	if (!check || (void *)(ports + 1) > end)
		return NULL;
	if (p->flags & PACKET_IPV6) {
		struct ipv6hdr *ip = l3;

		gain = (__u64)sum__gain_ipv6(&p->key.saddr, &to->saddr) +
		       sum__gain_ipv6(&p->key.daddr, &to->daddr);
		__builtin_memcpy(&ip->saddr, &to->saddr, sizeof(to->saddr));
		__builtin_memcpy(&ip->daddr, &to->daddr, sizeof(to->daddr));
		ip->hop_limit--;
	} else {
		struct iphdr *ip = l3;

		gain = (__u64)sum__gain_ipv4(p->key.saddr.w[3], to->saddr.w[3]) +
		       sum__gain_ipv4(p->key.daddr.w[3], to->daddr.w[3]);
		ip->saddr = to->saddr.w[3];
		ip->daddr = to->daddr.w[3];
		ip->ttl--;
		ip->check = sum__update(ip->check, sum__fold64(gain + (__u16)~bpf_htons(0x0100)));
	}
	gain += (__u64)sum__gain16(p->key.sport, to->sport) + sum__gain16(p->key.dport, to->dport);
	ports->source = to->sport;
	ports->dest = to->dport;
	if (p->key.proto == IPPROTO_UDP && !*check)
		return check;
	sum = sum__update(*check, sum__fold64(gain));
	*check = p->key.proto == IPPROTO_UDP && !sum ? 0xffff : sum;
	return check;
}
