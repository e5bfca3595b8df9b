// How each feature is found: by trying it, in the kernel, on nothing that anybody uses.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import {
  probeBatch,
  probeChecksumIpv6,
  probeFibSource,
  probeHelper,
  probeNetkit,
  probeRingBuffer,
  probeRunStatistics,
  probeTcx,
  probeTunnelLocal,
} from '@sinabro/libbpf-ts'
import {
  NetlinkClient,
  NetlinkError,
  NetlinkSocket,
  type RouteNetlink,
} from '@sinabro/node-netlink'
import type { FeatureName } from './table.ts'

/** `netlink` is in a namespace of its own, made for this. */
export type Probe = (netlink: RouteNetlink) => boolean | Promise<boolean>

export const PROBES: Readonly<Record<FeatureName, Probe>> = {
  redirect_peer: () => probeHelper('sched_cls', 'redirect_peer'),
  redirect_neigh: () => probeHelper('sched_cls', 'redirect_neigh'),
  tunnel_local_ip: probeTunnelLocal,
  for_each_map_elem: () => probeHelper('syscall', 'for_each_map_elem'),
  jiffies64: () => probeHelper('sched_cls', 'jiffies64'),
  veth: ({ links }) => takes(links.add({ kind: 'veth', name: 'veth0', peer: { name: 'veth1' } })),
  vxlan_metadata: ({ links }) =>
    takes(links.add({ kind: 'vxlan', name: 'vxlan0', port: 8472, collectMetadata: true })),
  clsact: ({ qdiscs }) => takes(qdiscs.replace({ index: LOOPBACK_INDEX, kind: 'clsact' })),
  tcx: probeTcx,
  netkit: probeNetkit,
  map_batch: probeBatch,
  run_statistics: probeRunStatistics,
  btf: () => existsSync('/sys/kernel/btf/vmlinux'),
  ring_buffer: probeRingBuffer,
  socket_lookup: () =>
    probeHelper('sched_cls', 'skc_lookup_tcp') && probeHelper('sched_cls', 'sk_lookup_udp'),
  socket_destroy: probeSocketDestroy,
  fib_lookup_src: probeFibSource,
  csum_ipv6: probeChecksumIpv6,
  loop: () => probeHelper('sched_cls', 'loop'),
  cgroup2: () => / cgroup2 /.test(readFileSync('/proc/self/mounts', 'utf8')),
}

/** LOOPBACK_IFINDEX of include/net/flow.h: the same in every namespace. */
const LOOPBACK_INDEX = 1

async function takes(request: Promise<unknown>): Promise<boolean> {
  try {
    await request
    return true
  } catch (error) {
    if (isDenied(error) || !(error instanceof NetlinkError)) throw error
    return false
  }
}

/** A refusal of this process, which says nothing about the kernel. */
function isDenied(error: unknown): boolean {
  return error instanceof NetlinkError && (error.code === 'EPERM' || error.code === 'EACCES')
}

/** NETLINK_SOCK_DIAG and SOCK_DESTROY of linux/sock_diag.h. */
const SOCK_DIAG = 4
const SOCK_DESTROY = 21
const AF_INET = 2
const IPPROTO_UDP = 17

/** On a socket of our own: of one that is not there the kernel says the same as of a command it does not have. */
async function probeSocketDestroy(): Promise<boolean> {
  const socket = createSocket('udp4')
  socket.on('error', () => {
    // It is aborted: that is the trial.
  })
  socket.bind({ port: 0, address: '127.0.0.1', exclusive: true })
  await once(socket, 'listening')
  const client = new NetlinkClient(new NetlinkSocket({ protocol: SOCK_DIAG }))
  try {
    return await takes(
      client.change({
        type: SOCK_DESTROY,
        op: 'SOCK_DESTROY',
        encode: (writer) => writer.bytes(destroyRequest(socket.address().port)),
      }),
    )
  } catch (error) {
    if (isDenied(error)) return false
    throw error
  } finally {
    client.close()
    socket.close()
  }
}

/** `struct inet_diag_req_v2` for whatever UDP socket is bound to this port of 127.0.0.1. */
function destroyRequest(port: number): Uint8Array {
  const bytes = new Uint8Array(56)
  const view = new DataView(bytes.buffer)
  bytes[0] = AF_INET
  bytes[1] = IPPROTO_UDP
  // States: all. Cookie: none.
  bytes.fill(0xff, 4, 8)
  bytes.fill(0xff, 48, 56)
  view.setUint16(8, port)
  bytes.set([127, 0, 0, 1], 12)
  return bytes
}
