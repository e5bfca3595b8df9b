/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who may be sent what other nodes would take for a packet of the tunnel: pods, and backends that are such. */
#pragma once

#include "config.h"
#include "endpoints.h"
#include "ipcache.h"
#include "parse.h"

/*
 * A packet for the tunnel's port may go to pods only. Masqueraded by this node it would come to another
 * node from a node's address, and what is inside would be believed. A node that has no device at that port
 * sends what it likes there, but not to other nodes in its own name: pods keep theirs towards them. CONTINUE or
 * DROP_TUNNEL_PORT.
 */
__rare int guard__tunnel_port(const struct packet *p, const struct config *config)
{
	if (!p || !config)
		return DROP_NOT_READY;
	if (p->key.proto != IPPROTO_UDP || !config->tunnel_port || p->key.dport != config->tunnel_port)
		return CONTINUE;
	if (endpoint__is_pod(endpoint__find(&p->key.daddr)) ||
	    ipcache__remote_node(&p->key.daddr, config->own_node))
		return CONTINUE;
	if (!config__has_vxlan(config) &&
	    (!node__id_of(&p->key.daddr) || endpoint__is_pod(endpoint__find(&p->key.saddr))))
		return CONTINUE;
	return DROP_TUNNEL_PORT;
}
