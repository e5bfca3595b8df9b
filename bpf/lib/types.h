/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every struct that programs share with user space, and nothing else.
 *
 * Padding is explicit and always zero; sizes are asserted here. bpf/src/layouts.ts has one codec per
 * struct and a test compares both with the BTF of the objects. A change of any of them is a new
 * layout version: it moves the pin path (docs/packet-path.md, "Maps").
 */
#pragma once

#include <linux/types.h>

/* One address shape for both families: IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2). */
struct addr {
	union {
		__u8 b[16];
		__be32 w[4];
	};
};
_Static_assert(sizeof(struct addr) == 16, "addr");

/* Largest number of rows in sb_nodes; node ids are 1 … NODES_MAX - 1, and 0 means "no node". */
#define NODES_MAX 16384

/* -- sb_config: array of one row. Written by the agent, read by every program. --------------- */

enum config_flag {
	CONFIG_READY = 1 << 0,		/* the other maps were filled once; until then all is dropped */
	CONFIG_TUNNEL_IPV6 = 1 << 1,	/* most outer packets are IPv6: which tunnel key to try first */
	CONFIG_NATIVE = 1 << 2,		/* no tunnel: pods' packets are on the wire as they are */
	CONFIG_MASQUERADE = 1 << 3,	/* new flows of pods to the outside are translated by us */
	CONFIG_TRANSLATED = 1 << 4,	/* sb_flows may have translated rows: uplinks look for them */
	CONFIG_FIB_SOURCE = 1 << 5,	/* routes say their source address (BPF_FIB_LOOKUP_SRC, 6.7) */
	CONFIG_CSUM_IPV6 = 1 << 6,	/* bpf_l4_csum_replace takes BPF_F_IPV6 (6.16) */
	CONFIG_SERVICES = 1 << 7,	/* service addresses are ours to translate */
	CONFIG_DSR = 1 << 8,		/* who asks from outside is answered by the backend's node itself */
	CONFIG_MAGLEV = 1 << 10,	/* some service is of SERVICE_MAGLEV */
};

/* config.vni ^ this is the VNI of what nodes are asked from outside and send on untranslated. */
#define DSR_VNI 0x800000

struct config {
	/* Bumped after a change of sb_ipcache, or of ids in sb_nodes and sb_node_ids. Flow rows of an
	 * older generation are judged again. Not bumped when a node's tunnel address, MAC or MTU
	 * changes, nor for endpoints: their incarnation does that. */
	__u32 generation;
	__u32 flags;			/* enum config_flag */
	__u32 own_node;			/* this node's id in sb_nodes */
	__u32 overlay_ifindex;		/* the VXLAN device; 0 = none. With CONFIG_NATIVE for direct return alone */
	__u32 vni;
	__u8 overlay_mac[6];		/* of the overlay device: inner source of what we send */
	__be16 tunnel_port;		/* outer UDP port, here or of other nodes; 0 = not known yet */
	__u32 uplink_ifindex;		/* the link that nodes with NODE_ON_UPLINK are on; 0 = none */
	struct addr tunnel_local4;	/* outer source towards IPv4 peers; all zero = kernel's choice */
	struct addr tunnel_local6;	/* outer source towards IPv6 peers; all zero = kernel's choice */
	__u16 port_min;			/* ports and echo ids that masqueraded flows may get */
	__u16 port_max;			/* the last of them */
	__u32 pad;
};
_Static_assert(sizeof(struct config) == 72, "config");

/* -- sb_uplinks: hash, ifindex (__u32) → uplink. Written by the agent. ----------------------- */

enum uplink_flag {
	UPLINK_L3 = 1 << 0,		/* its packets have no Ethernet header */
};

struct uplink {
	struct addr source4;		/* whose name pods speak in, where routes do not say; 0 = none */
	struct addr source6;
	__u32 mtu;
	__u32 flags;			/* enum uplink_flag */
};
_Static_assert(sizeof(struct uplink) == 40, "uplink");

/* -- sb_reserved: array of 1024 __u64, one bit per port that no masqueraded flow gets. --------- */
/* Written by the agent. Bit port % 64 of row port / 64. */

#define RESERVED_ROWS 1024

/* -- sb_endpoints: hash, addr → endpoint. Written by the agent. ------------------------------ */

enum endpoint_flag {
	ENDPOINT_LOCAL_POD = 1 << 0,	/* behind ifindex, by redirect to its peer */
	ENDPOINT_NODE_OWN = 1 << 1,	/* an address of this node: delivered by the kernel's stack */
	ENDPOINT_SHAPED = 1 << 2,	/* a pod held to a rate by a qdisc on ifindex: goes through it */
	ENDPOINT_NETKIT = 1 << 3,	/* a pod whose pair is netkit: programs run where packets are sent */
	ENDPOINT_KEEPS_ADDRESS = 1 << 4, /* a pod that is not masqueraded */
};

struct endpoint {
	__u32 ifindex;			/* host end of the pod's pair; 0 for NODE_OWN */
	__u32 id;			/* endpoint id, names the pod in events */
	/* Another number each time the address is given out, never 0 for a pod. 0 for NODE_OWN. */
	__u32 incarnation;
	__u32 flags;			/* enum endpoint_flag */
	__u8 pod_mac[6];
	__u8 host_mac[6];
	__u32 mtu;			/* of the pod's device, bytes of IP packet; 0 = not checked */
};
_Static_assert(sizeof(struct endpoint) == 32, "endpoint");

/* -- sb_nodes: array, node id → node; sb_node_ids: hash, addr → node id (__u32). ------------- */
/* Written by the agent. sb_node_ids holds every InternalIP of every other node. */

enum node_flag {
	NODE_VALID = 1 << 0,		/* tunnel address and MAC are usable */
	NODE_ON_UPLINK = 1 << 1,	/* without a tunnel: its pods are behind config.uplink_ifindex */
	NODE_TAKES_DSR = 1 << 2,	/* without a tunnel: it has a device for what others are asked */
};

struct node {
	struct addr tunnel;		/* outer destination */
	__u8 mac[6];			/* of its overlay device: inner destination */
	__u8 pad[2];
	__u32 mtu;			/* largest IP packet that the way to its pods carries; 0 = not checked */
	__u32 flags;			/* enum node_flag */
};
_Static_assert(sizeof(struct node) == 32, "node");

/* -- sb_ipcache: LPM trie, prefix → who is behind it. Written by the agent. ------------------ */

struct prefix_key {
	__u32 prefix_len;		/* bits of addr: an IPv4 prefix length plus 96 */
	struct addr addr;
};
_Static_assert(sizeof(struct prefix_key) == 20, "prefix_key");

enum ipcache_flag {
	IPCACHE_OWN_RANGE = 1 << 0,	/* this node's pods; node is 0 */
	IPCACHE_STACK = 1 << 1,		/* left to the kernel: destinations that see pods' own addresses,
					 * or that somebody else translates */
	IPCACHE_SERVICES = 1 << 2,	/* a range of service addresses: nothing is behind those that no
					 * service has */
};

struct ipcache_entry {
	__u32 node;			/* id in sb_nodes; 0 = on no other node */
	__u32 identity;			/* of the pods behind it; 0 = none yet */
	__u32 flags;			/* enum ipcache_flag */
	__u32 pad;
};
_Static_assert(sizeof(struct ipcache_entry) == 16, "ipcache_entry");

/* -- sb_flows: hash, 5-tuple as seen on the wire at that place → flow. ----------------------- */
/* Written by the programs, emptied by sb_sweep, read by the agent for show. One row per direction. */

enum icmp_class {
	ICMP_CLASS_NONE = 0,		/* not ICMP */
	ICMP_CLASS_ECHO = 1,		/* request and reply; sport = dport = id */
	ICMP_CLASS_TIMESTAMP = 2,	/* request and reply; sport = dport = id */
	ICMP_CLASS_OTHER = 3,		/* anything that is neither these nor an error; no ports */
};

struct flow_key {
	struct addr saddr;
	struct addr daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;			/* IPPROTO_*; of the last header we could walk to */
	__u8 icmp_class;		/* enum icmp_class */
	__u8 pad[2];
};
_Static_assert(sizeof(struct flow_key) == 40, "flow_key");

/* The way of a flow is one 64-bit word, so that it is read and written at once: bits 63–56 enum
 * way_kind, bits 55–32 node id or ifindex, bits 31–0 config generation it was chosen in. */
enum way_kind {
	WAY_LOCAL = 1,			/* redirect to the local pod that has daddr */
	WAY_NODE = 2,			/* tunnel to the node */
	WAY_STACK = 3,			/* the kernel's; the node id, if any, is where sb_to_overlay sends */
	WAY_UPLINK = 4,			/* out of config.uplink_ifindex to the node, without a tunnel */
	WAY_OUT = 5,			/* out of the uplink with this ifindex, translated */
	WAY_DSR = 6,			/* tunnel to the node, which translates and answers */
};

enum flow_flag {
	FLOW_SEEN = 1 << 0,		/* a packet of this direction has passed */
	FLOW_FIN = 1 << 1,		/* TCP FIN of this direction has passed */
	FLOW_FIN_REPLY = 1 << 2,	/* … of the other direction */
	FLOW_RST = 1 << 3,		/* TCP RST of either direction has passed */
	FLOW_OPENER = 1 << 4,		/* this direction's source sent the first packet of the flow */
	FLOW_TRANSLATED = 1 << 5,	/* packets leave with the addresses and ports in `to` */
	FLOW_SERVICE = 1 << 6,		/* … because a service's backend took its place; also in the
					 * answers' row */
};

/* What a packet's addresses and ports are rewritten to. */
struct translation {
	struct addr saddr;
	struct addr daddr;
	__be16 sport;
	__be16 dport;
};
_Static_assert(sizeof(struct translation) == 36, "translation");

struct flow {
	__u64 way;
	__u32 source_incarnation;	/* of the local pod that has saddr; 0 = none has it */
	__u32 target_incarnation;	/* of the local pod that has daddr; 0 = none has it */
	__u32 source_node;		/* node that may bring these packets from outside; 0 = none may */
	__u32 flags;			/* enum flow_flag; written by several CPUs without a lock: hints */
	__u32 seen;			/* last packet, in ticks of 256 jiffies (clock.h) */
	__u32 created;			/* first packet, same unit */
	/* Of a FLOW_TRANSLATED row; all zero else. The other direction's row has this, turned round, as
	 * its key, and this row's key, turned round, as its `to`: either one rebuilds the other. */
	struct translation to;
	__u32 mtu;			/* of the uplink of WAY_OUT; 0 = not checked */
};
_Static_assert(sizeof(struct flow) == 72, "flow");

/* -- sb_lent: LRU hash, flow_key of the answers → whose name an error gets. Programs only. ------- */

struct lent {
	struct translation to;
	__u32 seen;			/* in ticks (clock.h) */
};
_Static_assert(sizeof(struct lent) == 40, "lent");

/* -- sb_services: hash, service_key → service. Written by the agent. --------------------------- */

/*
 * port 0 and proto 0: the address itself, which some service has: other ports of it are refused, not unknown.
 * An address of all zero (IPv4: ::ffff:0.0.0.0) stands for those of this node in sb_node_addrs.
 */
struct service_key {
	struct addr addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
};
_Static_assert(sizeof(struct service_key) == 20, "service_key");

enum service_flag {
	SERVICE_AFFINITY = 1 << 0,	/* a client keeps its backend */
	SERVICE_SOURCE_RANGES = 1 << 1,	/* only for sources in sb_src_ranges */
	SERVICE_INTERNAL_LOCAL = 1 << 2, /* `internal` has backends of this node only */
	SERVICE_EXTERNAL_LOCAL = 1 << 3, /* `external` likewise: clients keep their address */
	SERVICE_HOST_PORT = 1 << 4,	/* a pod's hostPort, not a node port */
	SERVICE_ADDRESS = 1 << 5,	/* the row of port 0: nobody is behind it */
	SERVICE_MAGLEV = 1 << 6,	/* from outside: backends by sb_maglev */
	SERVICE_NOT_NODE = 1 << 7,	/* with SERVICE_SOURCE_RANGES: the node's own addresses are in none */
};

struct service {
	__u32 id;			/* of the Service's port, on this node; 0 for SERVICE_ADDRESS */
	__u32 flags;			/* enum service_flag */
	__u32 internal;			/* list of backends for pods and processes of this node */
	__u32 external;			/* list of backends for what comes by an uplink */
	__u32 affinity_sec;
	__u32 pad;
};
_Static_assert(sizeof(struct service) == 24, "service");

/* -- sb_slots: hash, slot_key → slot. Written by the agent. ------------------------------------ */

/*
 * Slot 0 says how many follow, from 1 without a gap. A list that shrinks has its last slot copied over the one
 * that goes, then fewer slots, then no last one: a reader of the old number still finds all but that. */

/* | backend id: this list has that backend. Of services with affinity or of SERVICE_MAGLEV, and of UDP. */
#define SLOT_MEMBER 0x80000000u

struct slot_key {
	__u32 list;			/* 0 = no list, has no slots */
	__u32 slot;
};
_Static_assert(sizeof(struct slot_key) == 8, "slot_key");

struct slot {
	__u32 backend;			/* its id, never 0; of slot 0: how many slots; of SLOT_MEMBER: its slot */
	__u32 weight;			/* not looked at yet */
};
_Static_assert(sizeof(struct slot) == 8, "slot");

/* -- sb_maglev: hash of arrays, service id (__u32) → table. Written by the agent. --------------- */

/* Backend ids in one row of a table: a cache line. Of row 0 the first is how many entries the table has. */
#define MAGLEV_ROW 16

/* -- sb_backends: hash, backend id (__u32) → backend. Written by the agent. --------------------- */
/* Ids do not come again before a million others have: what still names an old one finds nothing. */

enum backend_flag {
	BACKEND_TERMINATING = 1 << 0,
};

struct backend {
	struct addr addr;
	__be16 port;
	__u8 proto;
	__u8 flags;			/* enum backend_flag */
};
_Static_assert(sizeof(struct backend) == 20, "backend");

/* -- sb_node_addrs: hash, addr → node_addr_flag (__u32). Written by the agent. ------------------ */
/* Addresses of this node, loopback ones too, where its services are asked for. */

enum node_addr_flag {
	NODE_ADDR_NODE_PORTS = 1 << 0,
	NODE_ADDR_HOST_PORTS = 1 << 1,
};

/* -- sb_src_ranges: LPM trie, source_range_key → 1 (__u32). Written by the agent. --------------- */

struct source_range_key {
	__u32 prefix_len;		/* 32 + bits of addr, an IPv4 prefix length plus 96 */
	__u32 service;			/* id */
	struct addr addr;
};
_Static_assert(sizeof(struct source_range_key) == 24, "source_range_key");

/* -- sb_affinity: LRU hash, affinity_key → affinity. Written by the programs. ------------------- */

enum client_kind {
	CLIENT_ADDRESS = 0,
	CLIENT_NETNS = 1,		/* a socket's namespace, whose cookie is the first 8 bytes of addr */
};

struct affinity_key {
	struct addr client;
	__u32 kind;			/* enum client_kind */
	__u32 service;			/* id */
};
_Static_assert(sizeof(struct affinity_key) == 24, "affinity_key");

struct affinity {
	__u32 backend;
	__u32 seen;			/* last new connection, in ticks (clock.h) */
};
_Static_assert(sizeof(struct affinity) == 8, "affinity");

/* -- sb_sock: socket storage → sock_peer. Written by the programs. ------------------------------- */

/*
 * Of a connected socket: whom it talks to, and whom its process believes that it talks to. Of an unconnected UDP
 * socket: of the services it asks the first; the others are in sb_sock_further. Ports of 0: none of these any more.
 */
struct sock_peer {
	struct addr service;
	struct addr backend;
	__be16 service_port;
	__be16 backend_port;
	__u32 service_id;
	__u32 backend_id;
};
_Static_assert(sizeof(struct sock_peer) == 44, "sock_peer");

/* -- Record of sb_stale: a connected UDP socket whose backend is none any more. ------------------- */

struct stale_socket {
	__u64 netns;			/* cookie of its namespace */
	__u64 cookie;			/* of the socket */
	struct addr local;
	struct addr remote;
	__be16 local_port;
	__be16 remote_port;
	__u32 ifindex;			/* it is bound to; 0 = none */
	__u16 family;			/* AF_INET or AF_INET6, whose addresses may be IPv4 */
	__u8 pad[6];
};
_Static_assert(sizeof(struct stale_socket) == 64, "stale_socket");

/* -- sb_svc_config: array of one row. Written by the agent. ------------------------------------- */

struct service_config {
	__u64 host_netns;		/* cookie of the node's own namespace */
	struct addr source4;		/* whose name the node's own asking has: its address in the pod */
	struct addr source6;		/* … network; all zero = none */
};
_Static_assert(sizeof(struct service_config) == 40, "service_config");

/* -- sb_pools: LRU hash, pool → use. Written by the programs, read by the agent for show. -------- */
/* The ports of one address of the node towards one address, port and protocol. */

struct pool_key {
	struct addr saddr;
	struct addr daddr;
	__be16 dport;			/* 0 for ICMP */
	__u8 proto;
	__u8 pad;
};
_Static_assert(sizeof(struct pool_key) == 36, "pool_key");

struct pool {
	__u32 used;			/* ports in use when the table was last walked */
	__u32 recount;			/* as far as a walk has come */
	__u32 full;			/* when it was last found full, in ticks (clock.h); 0 = never */
	__u32 failed;			/* new flows that got no port, ever */
};
_Static_assert(sizeof(struct pool) == 16, "pool");

/* -- sb_openers: hash, opener → its flows; sb_opened: array of one row, all flows. -------------- */
/* Written and read by the programs only. */

enum opener_kind {
	OPENER_POD = 1,			/* a pod of this node, by its incarnation: one for both families */
	OPENER_REMOTE = 2,		/* came by the tunnel, by its address: the sending node vouches for it */
	OPENER_OUTSIDE = 3,		/* everybody else who comes by the stack, together */
	OPENER_CLIENT = 4,		/* who asks for services from outside, together */
};

struct opener {
	__u32 kind;			/* enum opener_kind */
	__u32 incarnation;
	struct addr addr;
};
_Static_assert(sizeof(struct opener) == 24, "opener");

struct opener_flows {
	__u32 flows;			/* pairs of rows; signed: below zero until a walk corrects it */
	__u32 recount;			/* pairs a walk has met so far, less `flows` at its beginning */
};
_Static_assert(sizeof(struct opener_flows) == 8, "opener_flows");

struct opened {
	__u32 flows;			/* pairs of rows, the node's own too */
	__u32 recount;
};
_Static_assert(sizeof(struct opened) == 8, "opened");

/* -- sb_fragments: LRU hash, IP fragment id → ports of its first fragment. ------------------- */
/* Written and read by the programs only. */

struct fragment_key {
	struct addr saddr;
	struct addr daddr;
	__be32 id;			/* IPv4's 16 bits in the low half */
	__u8 proto;			/* 0 for IPv6, whose later fragments do not tell */
	__u8 pad[3];
};
_Static_assert(sizeof(struct fragment_key) == 40, "fragment_key");

struct fragment_ports {
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 icmp_class;
	__u8 icmp_type;			/* a request and its reply have the same ports */
	__u8 pad;
};
_Static_assert(sizeof(struct fragment_ports) == 8, "fragment_ports");

/* -- sb_counters: per-CPU array, place * OUTCOMES_MAX + outcome → counter (outcomes.h). ------ */
/* Written by the programs, read by the agent. */

struct counter {
	__u64 packets;
	__u64 bytes;			/* skb->len: with the Ethernet header, GSO packets as one */
};
_Static_assert(sizeof(struct counter) == 16, "counter");

/* -- sb_timeouts: array of one row. Written by the agent, read by whoever removes rows. ---------- */
/* Seconds without a packet in either direction after which both rows of a flow go. Those of the stack way are
 * above the kernel's own in conntrack: such a flow must not lose its mark while the kernel still translates it. */

struct timeouts {
	__u32 tcp_opening;		/* no answer seen yet */
	__u32 tcp_established;
	__u32 tcp_closing;		/* one side has finished */
	__u32 tcp_closed;		/* both have, or one has reset; on the stack way */
	__u32 tcp_closed_short;		/* … on any other, and of translated flows */
	__u32 tcp_closed_pressed;	/* … of these when the table is all but full */
	__u32 udp_brief;		/* no answer, or all of it within UDP_BRIEF_SEC: a question and its answer */
	__u32 udp_stream;
	__u32 icmp;
	__u32 other;
};
_Static_assert(sizeof(struct timeouts) == 40, "timeouts");

/* -- sb_sweep: array of one row, the pass of sb_sweep under way. Written and read by that program. ---- */
/* Whoever reads the iterator gets it as it is after every so many rows, and last at the end of the pass. */

struct sweep {
	__u64 session;			/* which pass: a later one takes over */
	__u32 rows;			/* that were there, as far as it has come */
	__u32 removed;			/* of them */
	__u32 translated;		/* kept; rows, not pairs */
	__u32 closed;			/* kept */
	__u32 now;			/* in the ticks of flow rows */
	__u32 hz;			/* jiffies per second; a tick is 256 of them */
	__u32 is_pressed;		/* the table was all but full at the beginning */
	__u32 is_done;			/* nothing comes after this */
};
_Static_assert(sizeof(struct sweep) == 40, "sweep");

/* -- sb_reclaim: array of one row. Written and read by programs that find the table full. ----------- */

struct reclaim {
	__u32 last;			/* when it was done, in ticks (clock.h) */
	__u32 cursor;			/* rows to pass over at the next time */
};
_Static_assert(sizeof(struct reclaim) == 8, "reclaim");
