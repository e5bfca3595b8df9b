// Every mark we leave in the kernel and on disk, in one place: what carries none of these is not ours and is never touched (docs/marks.md).

/** Protocol number of every route we add (`ip route show proto 91`); systemd-networkd must be told to keep them. */
export const ROUTE_PROTOCOL = 91

/** Filter preference and handle under clsact; with tcx the pinned link is the mark. */
export const TC_PRIORITY = 91
export const TC_HANDLE = 0x5b

/** Bit of the packet mark that says "finished": set by our programs, cleared by the next one of ours (bpf/lib). */
export const SB_DONE = 0x20_0000

/** Bit of the packet mark that says "as a pod sent it, and still to be translated at the uplink": what carries it is not tracked. */
export const SB_TO_TRANSLATE = 0x10_0000

/** Bit of the packet mark that says "for a service without endpoints": our rules answer such a packet. */
export const SB_REFUSE = 0x40_0000

/** Bit of the packet mark that says "from outside, for a pod of another node": our rules lend such a packet an address of this node. */
export const SB_LEND = 0x80_0000

/** Start of the alias of every device of ours. Device names start with `sb`, but the alias is what we go by. */
export const ALIAS_PREFIX = 'sinabro:'
export const OVERLAY_ALIAS = `${ALIAS_PREFIX}overlay`
export const POD_ALIAS_PREFIX = `${ALIAS_PREFIX}pod/`

/** Device group of a pod's host end from its creation until it first comes up: nothing ever moved through it (ADR 0048). */
export const UNBORN_GROUP = 91

export const OVERLAY_DEVICE = 'sb-vxlan'
/** Without a tunnel: a bridge without ports, which has the node's own addresses in the pod network. */
export const OWN_DEVICE = 'sb0'

/** The first file a runtime reads wins: containerd sorts by name. */
export const CONFLIST_FILE = '05-sinabro.conflist'
export const CNI_PLUGIN = 'sinabro-cni'
/** Name of the network in the conflist, and so the first part of every allocation's key. */
export const NETWORK_NAME = 'sinabro'

/** What a pod sees as its gateways: on-link, link-local, answered by a permanent neighbour entry. */
export const POD_GATEWAY_IPV4 = '169.254.1.1'
export const POD_GATEWAY_IPV6 = 'fe80::1'

/** Tables of family inet that hold all our nftables rules: of masquerading, of services, and of those with SCTP. */
export const NFT_TABLE = 'sinabro'
export const NFT_SERVICES_TABLE = 'sinabro-services'
export const NFT_SCTP_TABLE = 'sinabro-sctp'

/** Table of family inet whose one chain does nothing: while it is there, connections that kube-proxy has translated go on. */
export const NFT_NAT_TABLE = 'sinabro-nat'
