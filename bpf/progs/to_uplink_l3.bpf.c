/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Uplink without Ethernet header, tc egress: sb_to_uplink on packets that begin with IP. */
#define L2_LEN 0
#define sb_to_uplink sb_to_uplink_l3

#include "to_uplink.bpf.c"
