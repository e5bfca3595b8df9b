// The kernel's numbers of hooks and of what holds a program there, by our names. `enum bpf_attach_type`, `enum bpf_link_type`.

export type Direction = 'ingress' | 'egress'

/** `BPF_TCX_INGRESS`, `BPF_TCX_EGRESS`: Linux 6.6. */
export const tcxTypes: Readonly<Record<Direction, number>> = { ingress: 46, egress: 47 }

/**
 * `BPF_NETKIT_PEER`, `BPF_NETKIT_PRIMARY`: Linux 6.7. Directions are the primary end's: what the peer sends comes in by it. Both
 * hooks are asked for by the primary's ifindex.
 */
export const netkitTypes: Readonly<Record<Direction, number>> = { ingress: 55, egress: 54 }

export const BPF_XDP = 37

/** Hooks of a cgroup, called as libbpf calls their sections: SEC("cgroup/connect4"), SEC("sockops"). */
export const cgroupTypes = {
  ingress: 0,
  egress: 1,
  sock_create: 2,
  sock_ops: 3,
  bind4: 8,
  bind6: 9,
  connect4: 10,
  connect6: 11,
  post_bind4: 12,
  post_bind6: 13,
  sendmsg4: 14,
  sendmsg6: 15,
  recvmsg4: 19,
  recvmsg6: 20,
  getpeername4: 29,
  getpeername6: 30,
  getsockname4: 31,
  getsockname6: 32,
  sock_release: 34,
} as const
export type CgroupHook = keyof typeof cgroupTypes

/** What a map of sockets runs on their data. */
export const socketTypes = {
  stream_parser: 4,
  stream_verdict: 5,
  msg_verdict: 7,
  skb_verdict: 38,
} as const
export type SocketHook = keyof typeof socketTypes

export const linkTypes = { cgroup: 3, iterator: 4, xdp: 6, tcx: 11, netkit: 13 } as const

/** Undefined if the number is of none of these. */
export function nameOf<K extends string>(
  numbers: Readonly<Record<K, number>>,
  number: number,
): K | undefined {
  return (Object.keys(numbers) as K[]).find((name) => numbers[name] === number)
}
