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
  probeTcx,
  probeTunnelLocal,
} from '@sinabro/libbpf-ts'
import { ANY_COOKIE, NetlinkError, type RouteNetlink, SocketDiag } from '@sinabro/node-netlink'
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
  btf: () => existsSync('/sys/kernel/btf/vmlinux'),
  ring_buffer: probeRingBuffer,
  socket_lookup: () =>
    probeHelper('sched_cls', 'skc_lookup_tcp') && probeHelper('sched_cls', 'sk_lookup_udp'),
  socket_destroy: probeSocketDestroy,
  fib_lookup_src: probeFibSource,
  csum_ipv6: probeChecksumIpv6,
  loop: () => probeHelper('sched_cls', 'loop'),
  // What came with Linux 6.6 stands for that version: a crash cannot be tried (ADR 0092).
  xdp: () => probeTcx() && probeHelper('xdp', 'fib_lookup'),
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

/** On a socket of our own. */
async function probeSocketDestroy(): Promise<boolean> {
  const socket = createSocket('udp4')
  socket.on('error', () => {
    // It is aborted: that is the trial.
  })
  socket.bind({ port: 0, address: '127.0.0.1', exclusive: true })
  await once(socket, 'listening')
  using diag = SocketDiag.open()
  try {
    return await diag.destroy({
      family: 4,
      protocol: 'udp',
      local: socket.address(),
      remote: { address: '0.0.0.0', port: 0 },
      ifindex: 0,
      cookie: ANY_COOKIE,
    })
  } catch (error) {
    // Whatever it says: refused to the kernel or to us, it is not to be had.
    if (error instanceof NetlinkError) return false
    throw error
  } finally {
    socket.close()
  }
}
