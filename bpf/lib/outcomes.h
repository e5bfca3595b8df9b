/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What can become of a packet, and where: the two numbers a counter row is found by.
 *
 * Append only: numbers are on disk in dashboards and alerts. bpf/src/drop-reasons.ts mirrors this
 * file and a test compares them; every drop has a vector in bpf/tests that causes it.
 */
#pragma once

/* The hook that counted. */
enum place {
	PLACE_FROM_POD = 0,
	PLACE_TO_POD = 1,
	PLACE_FROM_OVERLAY = 2,
	PLACE_TO_OVERLAY = 3,
	PLACE_FROM_UPLINK = 4,
	PLACE_TO_UPLINK = 5,
	PLACE_SOCKET = 6,		/* all hooks of the cgroup: counts calls, not packets */
	PLACE_XDP_UPLINK = 7,		/* what it passes on is counted where that goes */
	PLACES_MAX = 8,
};

enum outcome {
	/* Passed on. */
	PASS_LOCAL = 0,			/* redirected into a local pod */
	PASS_NODE = 1,			/* sent to another node through the tunnel */
	PASS_STACK = 2,			/* given to the kernel's stack, or came from it: the flow's way */
	PASS_DONE = 3,			/* finished by an earlier program of ours (SB_DONE) */
	PASS_NEIGHBOUR = 4,		/* honest ARP or ND, left to the kernel */
	PASS_UNTRACKED = 5,		/* multicast, broadcast, loopback, link-local: no flow row */
	PASS_STACK_TTL = 6,		/* short way, but TTL ran out: the stack says so to the sender */
	PASS_STACK_MTU = 7,		/* short way, but above the MTU: the stack says so or fragments */
	PASS_STACK_FRAGMENT = 8,	/* later fragment whose first was not seen: ports unknown */
	PASS_STACK_ERROR = 9,		/* ICMP error about a flow we have no row of */
	PASS_UPLINK = 10,		/* sent to another node by an uplink, without a tunnel */
	PASS_TUNNEL = 11,		/* our tunnel's packet, on its way to the overlay device */
	PASS_FOREIGN = 12,		/* not of the pod network: the node's own business */
	PASS_GATEWAY = 13,		/* asked for the gateway's MAC, and was sent back with it */
	PASS_OUT = 14,			/* left by an uplink under the node's address */
	PASS_TRANSLATED = 15,		/* the node's own, under another port because a pod has it */

	/* Dropped: something is wrong with the packet. */
	DROP_FIRST = 16,
	DROP_TRUNCATED = 16,		/* ends before its headers do */
	DROP_BAD_HEADER = 17,		/* a version or length that cannot be */
	DROP_EXTENSION_HEADERS = 18,	/* more IPv6 extension headers than we follow */
	DROP_NOT_IP = 19,		/* neither IPv4, IPv6 nor ARP */

	/* Dropped: claims to be somebody else. */
	DROP_SPOOFED_SOURCE = 20,	/* source address is not this pod's */
	DROP_SPOOFED_ARP = 21,		/* ARP for an address or MAC that is not this pod's */
	DROP_SPOOFED_ND = 22,		/* ND for an address or MAC that is not this pod's */
	DROP_ROUTER_ADVERTISEMENT = 23,	/* router advertisement or ICMPv6 redirect from a pod */
	DROP_UNKNOWN_NODE = 24,		/* outer source is no node's address */
	DROP_FOREIGN_SOURCE = 25,	/* inner source does not belong to the node that sent it */
	DROP_WRONG_VNI = 26,		/* tunnel packet of another network */

	/* Dropped: normal noise, quiet. */
	DROP_DAD = 27,			/* duplicate address detection, IPv6 or ARP probe */
	DROP_MULTICAST_LISTENER = 28,	/* MLD report, query or done */
	DROP_LINK_LOCAL = 29,		/* IPv6 link-local source: router solicitation, ND, the rest */
	DROP_OVERLAY_MULTICAST = 30,	/* multicast, broadcast or ARP towards or from the overlay */

	/* Dropped: nowhere to go. */
	DROP_NOT_READY = 31,		/* the agent has not filled the maps yet */
	DROP_NO_ENDPOINT = 32,		/* came by the tunnel for an address no local pod has */
	DROP_NO_NODE = 33,		/* no node is known for the destination, or it is not usable */
	DROP_NO_TUNNEL_KEY = 34,	/* tunnel metadata is missing or was refused */
	DROP_FLOWS_FULL = 35,		/* no room for a new flow */

	/* Dropped: what a pod may not say, besides who it is. */
	DROP_TUNNEL_PORT = 36,		/* for the tunnel's UDP port of what may be a node */
	DROP_FOREIGN_ERROR = 37,	/* ICMP error about a packet that was not for this pod */
	DROP_LOOPBACK = 38,		/* to a loopback address, which is the node's own business */

	/* Dropped: who sends it has enough. */
	DROP_FLOW_SHARE = 39,		/* another flow, and as many are open to its sender as are free */

	/* Dropped: pods' packets where they cannot be. */
	DROP_NATIVE_SOURCE = 40,	/* in a pod's name, and came neither from it nor by the tunnel */
	DROP_NATIVE_TARGET = 41,	/* to a pod's address past the tunnel */

	/* Dropped: cannot leave under the node's address. */
	DROP_NO_PORT = 42,		/* every port towards that destination is in use */
	DROP_FRAGMENT_ORDER = 43,	/* later fragment whose first was not seen: nobody knows its flow */
	DROP_TRANSLATION_TAKEN = 44,	/* its other tuple is another flow's by now */

	/* Dropped: for a service, and nobody may serve it. */
	DROP_SERVICE_ADDRESS = 45,	/* in a range of service addresses, and nobody is there */
	DROP_SOURCE_RANGE = 46,		/* the service is not for this source */
	DROP_NO_LOCAL_BACKEND = 47,	/* none on this node, where its backends must be */

	DROP_LAST = 47,			/* of these; DROP_MORE goes on */

	/* Passed on, again. */
	PASS_SERVICE = 48,		/* a socket's peer is a backend in place of a service; at an uplink: the
					 * node's own backend answers in its service's name */
	PASS_REFUSED = 49,		/* nobody serves it: who asks is told so */

	/* Dropped, again. */
	DROP_MORE = 50,
	DROP_NOT_BACKEND = 50,		/* another node was asked, for what no pod here is a backend of */
	DROP_NO_ROUTE = 51,		/* between a client outside and its backend, and no route leads there */
	DROP_MORE_LAST = 51,

	OUTCOMES_MAX = 64,
};
