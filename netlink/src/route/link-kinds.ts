// What is particular to a kind of device (IFLA_INFO_DATA): a descriptor each, and the way between it and the public options.
import { attrs } from '../codec/attrs.ts'
import { be16, bool8, flag, type Infer, ip, named, u8, u16, u32 } from '../codec/codec.ts'
import { struct } from '../codec/struct.ts'
import { compact } from './compact.ts'
import type { VxlanOptions } from './link.ts'

/** IFLA_VXLAN_* of linux/if_link.h. */
export const vxlanAttrs = attrs('vxlan', {
  vni: [1, u32],
  remote: [2, ip],
  device: [3, u32],
  local: [4, ip],
  ttl: [5, u8],
  tos: [6, u8],
  learning: [7, bool8],
  agingSec: [8, u32],
  limit: [9, u32],
  sourcePorts: [10, struct('ifla_vxlan_port_range', { low: be16, high: be16 })],
  port: [15, be16],
  remote6: [16, ip],
  local6: [17, ip],
  udpChecksum: [18, bool8],
  udp6ZeroChecksumTx: [19, bool8],
  udp6ZeroChecksumRx: [20, bool8],
  gbp: [23, flag],
  collectMetadata: [25, bool8],
})

/** IFLA_BR_* of linux/if_link.h. */
export const bridgeAttrs = attrs('bridge', {
  forwardDelayCs: [1, u32],
  helloTimeCs: [2, u32],
  maxAgeCs: [3, u32],
  agingTimeCs: [4, u32],
  stpState: [5, u32],
  priority: [6, u16],
  vlanFiltering: [7, bool8],
  groupForwardMask: [9, u16],
  multicastSnooping: [23, bool8],
})

/** IFLA_MACVLAN_* of linux/if_link.h. */
export const macvlanAttrs = attrs('macvlan', {
  mode: [1, named(u32, { private: 1, vepa: 2, bridge: 4, passthru: 8, source: 16 })],
  flags: [2, u16],
})

/** IFLA_VLAN_* of linux/if_link.h; protocols are those of linux/if_ether.h. */
export const vlanAttrs = attrs('vlan', {
  id: [1, u16],
  protocol: [5, named(be16, { '802.1q': 0x8100, '802.1ad': 0x88a8 })],
})

/** IFLA_BOND_* of linux/if_link.h. */
export const bondAttrs = attrs('bond', {
  mode: [
    1,
    named(u8, {
      'balance-rr': 0,
      'active-backup': 1,
      'balance-xor': 2,
      broadcast: 3,
      '802.3ad': 4,
      'balance-tlb': 5,
      'balance-alb': 6,
    }),
  ],
  activePort: [2, u32],
  miimonMs: [3, u32],
})

/** IFLA_VRF_* of linux/if_link.h. */
export const vrfAttrs = attrs('vrf', { table: [1, u32] })

/** IFLA_NETKIT_* of linux/if_link.h; the other end is described beside them (link-message.ts). */
export const netkitAttrs = {
  isPrimary: [2, bool8],
  policy: [3, netkitPolicy()],
  peerPolicy: [4, netkitPolicy()],
  mode: [5, named(u32, { l2: 0, l3: 1 })],
} as const

function netkitPolicy() {
  return named(u32, { pass: 0, blackhole: 2 })
}

type VxlanWire = Infer<typeof vxlanAttrs>

/** The wire has one attribute per family for what is one option to people. */
export function vxlanToWire({ local, remote, ...same }: VxlanOptions): VxlanWire {
  return {
    ...same,
    ...(local === undefined ? {} : local.includes(':') ? { local6: local } : { local }),
    ...(remote === undefined ? {} : remote.includes(':') ? { remote6: remote } : { remote }),
  }
}

export function vxlanFromWire({ local6, remote6, ...same }: VxlanWire): VxlanOptions {
  return compact({
    ...same,
    local: same.local ?? local6,
    remote: same.remote ?? remote6,
  })
}
