/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Another address and port in a packet, with every checksum that covers them: IPv4's header, the transport's
 * over the pseudo header, and the sum of all bytes that the device may have made (CHECKSUM_COMPLETE).
 *
 * What the transport's checksum field holds depends on skb->ip_summed (whole, or of the pseudo header only),
 * which a program cannot read: so that field is the kernel's to change, or to leave alone.
 */
#pragma once

#include "config.h"
#include "parse.h"

static __always_inline __u32 sum__fold64(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return sum + (sum >> 32);
}

/* What a ones' complement sum gains when one address takes the place of another (RFC 1624). */
static __always_inline __u32 sum__gain_ipv6(const struct addr *from, const struct addr *to)
{
	__u64 sum = (__u64)to->w[0] + to->w[1] + to->w[2] + to->w[3];

	sum += (__u64)~from->w[0] & 0xffffffff;
	sum += (__u64)~from->w[1] & 0xffffffff;
	sum += (__u64)~from->w[2] & 0xffffffff;
	sum += (__u64)~from->w[3] & 0xffffffff;
	return sum__fold64(sum);
}

static __always_inline __u32 sum__gain_ipv4(__be32 from, __be32 to)
{
	return sum__fold64((__u64)to + (__u32)~from);
}

static __always_inline __u32 sum__gain16(__u16 from, __u16 to)
{
	return (__u32)to + (__u16)~from;
}

/* A checksum over data that gained that much. */
static __always_inline __sum16 sum__update(__sum16 check, __u32 gain)
{
	__u32 sum = (__u16)~check + (gain & 0xffff) + (gain >> 16);

	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

/* Where the transport's checksum is, from p->l4; 0 if it has none that we know. */
static __always_inline __u32 rewrite__checksum_at(const struct packet *p)
{
	switch (p->key.proto) {
	case IPPROTO_TCP:
		return offsetof(struct tcphdr, check);
	case IPPROTO_UDP:
		return offsetof(struct udphdr, check);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return offsetof(struct icmp_header, checksum);
	}
	return 0;
}

/* A port, or an id, alone. */
__rare int rewrite__port(struct __sk_buff *skb, const struct packet *p, __be16 from, __be16 to,
			 bool is_source)
{
	__u64 flags = sizeof(to);
	__u32 at, check;
	__sum16 sum = 0;

	if (!p)
		return DROP_TRUNCATED;
	at = p->l4 + (is_source ? offsetof(struct udphdr, source) : offsetof(struct udphdr, dest));
	if (p->key.proto == IPPROTO_ICMP || p->key.proto == IPPROTO_ICMPV6)
		at = p->l4 + offsetof(struct icmp_header, id);
	if (p->key.proto == IPPROTO_UDP)
		flags |= BPF_F_MARK_MANGLED_0;
	check = p->l4 + rewrite__checksum_at(p);
	if (bpf_l4_csum_replace(skb, check, from, to, flags) ||
	    bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0) ||
	    bpf_skb_load_bytes(skb, check, &sum, sizeof(sum)))
		return DROP_TRUNCATED;
	if (p->key.proto == IPPROTO_UDP && !sum)	/* nothing else makes up for the port */
		bpf_csum_update(skb, sum__gain16(from, to));
	return CONTINUE;
}

static __always_inline bool rewrite__has_transport(const struct packet *p)
{
	return !(p->flags & PACKET_FRAGMENT_LATER) && rewrite__checksum_at(p);
}

static __always_inline int rewrite__address(struct __sk_buff *skb, const struct packet *p,
					    const struct config *config, const struct addr *addr,
					    bool is_source)
{
	const struct addr *old = is_source ? &p->key.saddr : &p->key.daddr;
	bool has_transport = rewrite__has_transport(p);
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u64 flags = BPF_F_PSEUDO_HDR;
	__u32 gain;

	if (p->flags & PACKET_IPV6) {
		struct ipv6hdr *ip = data + L2_LEN;

		if (unlikely((void *)(ip + 1) > end))
			return DROP_TRUNCATED;
		gain = sum__gain_ipv6(old, addr);
		__builtin_memcpy(is_source ? &ip->saddr : &ip->daddr, addr, sizeof(*addr));
		/* No checksum of IPv6's own makes up for the address: the transport's does, and the sum
		 * of all bytes stays. Older kernels take the pseudo header out of that sum, as is right
		 * for IPv4 only. UDP need not have a checksum, and then none is touched. */
		if (has_transport && p->key.proto != IPPROTO_UDP &&
		    config->flags & CONFIG_CSUM_IPV6)
			flags |= BPF_F_IPV6;
		else
			bpf_csum_update(skb, gain);
	} else {
		struct iphdr *ip = data + L2_LEN;

		if (unlikely((void *)(ip + 1) > end))
			return DROP_TRUNCATED;
		gain = sum__gain_ipv4(old->w[3], addr->w[3]);
		if (is_source)
			ip->saddr = addr->w[3];
		else
			ip->daddr = addr->w[3];
		ip->check = sum__update(ip->check, gain);
	}
	if (unlikely(!has_transport))
		return CONTINUE;
	if (p->key.proto == IPPROTO_UDP)
		flags |= BPF_F_MARK_MANGLED_0;
	if (likely(p->key.proto != IPPROTO_ICMP) &&	/* which has no pseudo header */
	    unlikely(bpf_l4_csum_replace(skb, p->l4 + rewrite__checksum_at(p), 0, gain, flags)))
		return DROP_TRUNCATED;
	return CONTINUE;
}

static __always_inline int rewrite(struct __sk_buff *skb, const struct packet *p,
				   const struct config *config, const struct addr *addr,
				   __be16 port, bool is_source)
{
	__be16 old_port = is_source ? p->key.sport : p->key.dport;
	int outcome = rewrite__address(skb, p, config, addr, is_source);

	if (outcome != CONTINUE || port == old_port || !rewrite__has_transport(p))
		return outcome;
	return rewrite__port(skb, p, old_port, port, is_source);
}

/*
 * Each: CONTINUE or DROP_TRUNCATED, and pointers into the packet are stale afterwards. `p` is left as it
 * was parsed, with the old address and port.
 */
static __always_inline int rewrite__source(struct __sk_buff *skb, const struct packet *p,
					   const struct config *config,
					   const struct translation *to)
{
	return rewrite(skb, p, config, &to->saddr, to->sport, true);
}

static __always_inline int rewrite__destination(struct __sk_buff *skb, const struct packet *p,
						const struct config *config,
						const struct translation *to)
{
	return rewrite(skb, p, config, &to->daddr, to->dport, false);
}

/* Whichever differs, of whatever kind of packet. */
__rare int rewrite__addresses(struct __sk_buff *skb, const struct packet *p, const struct config *config,
			      const struct translation *to)
{
	int outcome = CONTINUE;

	if (!p || !config || !to)
		return DROP_TRUNCATED;
	if (!addr__equal(&to->saddr, &p->key.saddr))
		outcome = rewrite__address(skb, p, config, &to->saddr, true);
	if (outcome == CONTINUE && !addr__equal(&to->daddr, &p->key.daddr))
		outcome = rewrite__address(skb, p, config, &to->daddr, false);
	return outcome;
}

/*
 * Both ends of TCP and UDP in place, and one call for all that the checksum covers: helpers are what costs.
 *
 * Told that it is no pseudo header that has changed, the kernel leaves a checksum alone that is of the pseudo header
 * only. So one that has not changed is such a one, and only the addresses go into it. A gain of zero would not
 * tell: false, with nothing done, as for every packet that is not like this.
 */
static __always_inline bool rewrite__at_once(struct __sk_buff *skb, const struct packet *p,
					     const struct translation *to, int *outcome)
{
	bool is_ipv6 = p->flags & PACKET_IPV6, is_udp = p->key.proto == IPPROTO_UDP;
	__u32 at = L2_LEN + (is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct udphdr *ports;		/* TCP has its ports there, too */
	__sum16 *check, before;
	__u32 gain, all;

	if ((!is_udp && p->key.proto != IPPROTO_TCP) || p->flags & PACKET_FRAGMENT_LATER || p->l4 != at ||
	    data + at + sizeof(*ports) > end)
		return false;
	ports = data + at;
	check = is_udp ? &ports->check : data + at + offsetof(struct tcphdr, check);
	if ((void *)(check + 1) > end)
		return false;
	before = *check;
	if (is_ipv6)
		gain = sum__fold64((__u64)sum__gain_ipv6(&p->key.saddr, &to->saddr) +
				   sum__gain_ipv6(&p->key.daddr, &to->daddr));
	else
		gain = sum__fold64((__u64)sum__gain_ipv4(p->key.saddr.w[3], to->saddr.w[3]) +
				   sum__gain_ipv4(p->key.daddr.w[3], to->daddr.w[3]));
	all = sum__fold64((__u64)gain + sum__gain16(p->key.sport, to->sport) +
			  sum__gain16(p->key.dport, to->dport));
	if (unlikely(all % 0xffff == 0 || (is_udp && !before)))
		return false;
	if (is_ipv6) {
		struct ipv6hdr *ip = data + L2_LEN;

		if ((void *)(ip + 1) > end)	/* as older verifiers have forgotten */
			return false;
		__builtin_memcpy(&ip->saddr, &to->saddr, sizeof(to->saddr));
		__builtin_memcpy(&ip->daddr, &to->daddr, sizeof(to->daddr));
	} else {
		struct iphdr *ip = data + L2_LEN;

		ip->saddr = to->saddr.w[3];
		ip->daddr = to->daddr.w[3];
		ip->check = sum__update(ip->check, gain);
	}
	ports->source = to->sport;
	ports->dest = to->dport;
	at += is_udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check);
	*outcome = DROP_TRUNCATED;
	if (unlikely(bpf_l4_csum_replace(skb, at, 0, all, is_udp ? BPF_F_MARK_MANGLED_0 : 0)))
		return true;
	check = (void *)(long)skb->data + at;
	if (unlikely((void *)(check + 1) > (void *)(long)skb->data_end))
		return true;
	*outcome = CONTINUE;
	if (*check == before) {
		*check = ~sum__update(~before, gain);
		if (is_udp && !*check)
			*check = 0xffff;
	} else if (!is_ipv6) {
		bpf_csum_update(skb, ~gain);	/* IPv4's own checksum has made up for the addresses already */
	}
	return true;
}

/* A service has another port than its backend, mostly. */
static __always_inline int rewrite__both(struct __sk_buff *skb, const struct packet *p,
					 const struct config *config,
					 const struct translation *to)
{
	int outcome = CONTINUE;

	if (likely(rewrite__at_once(skb, p, to, &outcome)))
		return outcome;
	outcome = rewrite__addresses(skb, p, config, to);
	if (outcome != CONTINUE || !rewrite__has_transport(p))
		return outcome;
	if (to->sport != p->key.sport)
		outcome = rewrite__port(skb, p, p->key.sport, to->sport, true);
	if (outcome == CONTINUE && to->dport != p->key.dport)
		outcome = rewrite__port(skb, p, p->key.dport, to->dport, false);
	return outcome;
}
