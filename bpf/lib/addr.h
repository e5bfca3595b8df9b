/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Addresses of both families in one shape: making, comparing and classifying them. */
#pragma once

#include "bpf.h"

static __always_inline void addr__from_ipv4(struct addr *a, __be32 ipv4)
{
	a->w[0] = 0;
	a->w[1] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = ipv4;
}

static __always_inline bool addr__is_ipv4(const struct addr *a)
{
	return a->w[2] == bpf_htonl(0xffff) && !a->w[0] && !a->w[1];
}

static __always_inline bool addr__is_zero(const struct addr *a)
{
	return !(a->w[0] | a->w[1] | a->w[2] | a->w[3]);
}

static __always_inline bool addr__equal(const struct addr *a, const struct addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

/* fe80::/10. IPv4's 169.254/16 is not meant: it is routed to the node like any address. */
static __always_inline bool addr__is_link_local(const struct addr *a)
{
	return (a->w[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* 127/8 and ::1. A node that routes 127/8 (route_localnet) would take it in from outside. */
static __always_inline bool addr__is_loopback(const struct addr *a)
{
	if (addr__is_ipv4(a))
		return a->b[12] == 127;
	return !a->w[0] && !a->w[1] && !a->w[2] && a->w[3] == bpf_htonl(1);
}

/* Addresses no flow is kept for: they never leave the link or the host. */
static __always_inline bool addr__is_untracked(const struct addr *a)
{
	if (addr__is_ipv4(a))		/* 127/8, multicast, reserved, broadcast */
		return a->b[12] == 127 || a->b[12] >= 224;
	if (a->b[0] == 0xff || addr__is_link_local(a))
		return true;
	return !a->w[0] && !a->w[1] && !a->w[2] && bpf_ntohl(a->w[3]) <= 1;	/* :: and ::1 */
}

static __always_inline bool mac__equal(const __u8 *a, const __u8 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] &&
	       a[5] == b[5];
}
