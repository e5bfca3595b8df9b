// Numbers of linux/netlink.h and asm-generic/socket.h that sockets and messages need, under the kernel's own names.

export const NETLINK_ROUTE = 0
export const NETLINK_GENERIC = 16

export const SOL_SOCKET = 1
export const SO_RCVBUF = 8
export const SO_RCVBUFFORCE = 33
export const SO_NETNS_COOKIE = 71

export const SOL_NETLINK = 270
export const NETLINK_ADD_MEMBERSHIP = 1
export const NETLINK_LISTEN_ALL_NSID = 8
export const NETLINK_CAP_ACK = 10
export const NETLINK_EXT_ACK = 11
export const NETLINK_GET_STRICT_CHK = 12

export const NLMSG_NOOP = 1
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3
export const NLMSG_OVERRUN = 4
export const NLMSG_HDRLEN = 16

export const NLM_F_REQUEST = 0x1
export const NLM_F_MULTI = 0x2
export const NLM_F_ACK = 0x4
/** The kernel tells the sender what it tells everybody. */
export const NLM_F_ECHO = 0x8
export const NLM_F_DUMP_INTR = 0x10
export const NLM_F_DUMP = 0x300
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
export const NLM_F_APPEND = 0x800
/** On an error: the request is not repeated in it. */
export const NLM_F_CAPPED = 0x100
/** On an error or the end of a dump: attributes follow. */
export const NLM_F_ACK_TLVS = 0x200
