/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Uplink without Ethernet header, tc ingress: sb_from_uplink on packets that begin with IP. */
#define L2_LEN 0
#define sb_from_uplink sb_from_uplink_l3

#include "from_uplink.bpf.c"
