// What masquerading costs: new connections, round trips and bytes between a pod and a host outside per second of one CPU that both
// ends share; ours by eBPF beside ours by nftables, and beside pods of the ptp plug-in behind a plain masquerade rule.
import { type Bench, LAB_NAME } from './bench.ts'
import { compile } from './compile.ts'
import { ownStand, type PodStand, routedStand } from './pod-stands.ts'
import { drive, type Kind, kinds } from './pod-to-pod.ts'
import { compare, type MetricInfo, type Side } from './row.ts'

/** The least there is: whatever a pod sends out by the uplink. */
export const masqueradeRules = (verdict: string) => `table ip leaving {
  chain out {
    type nat hook postrouting priority srcnat
    oifname eth0 ip saddr 10.244.0.0/16 ${verdict}
  }
}
`

/** How long the peers' tables remember a connection that has ended, in seconds. */
const TIME_WAIT = 'net.netfilter.nf_conntrack_tcp_timeout_time_wait'
/** How many connections that have ended the host outside remembers. */
const REMEMBERED = 'net.ipv4.tcp_max_tw_buckets'
const KINDS = Object.keys(kinds) as Kind[]

export const masqueradeRate: Bench = {
  name: 'masquerade-rate',
  async run({ dir, runs, say }) {
    const load = await compile('load', dir)
    await using ebpf = await ownStand(`${LAB_NAME}-ebpf`, dir, ['--masquerade', 'ebpf'])
    await using rules = await ownStand(`${LAB_NAME}-nft`, dir, ['--masquerade', 'nftables'])
    await using routed = await routedStand(`${LAB_NAME}-ptp`, dir)
    await routed.loadRules(masqueradeRules('masquerade'))
    for (const stand of [ebpf, rules, routed]) await stand.serve(load)
    // Else the peers' tables remember every connection for two minutes, and what is measured is how they look for a free port.
    for (const stand of [rules, routed]) await stand.set(`${TIME_WAIT}=1`)
    // And else whoever comes from a random port sooner or later meets one that the host outside remembers, and waits a second.
    for (const { outside } of [ebpf, rules, routed]) {
      await outside.exec(['sysctl', '-qw', `${REMEMBERED}=0`])
    }
    say('from a pod to the router of its node, which knows no way to pods; IPv4')
    const ours = side('sinabro --masquerade ebpf', ebpf, load)
    return [
      ...(await compare(
        'masquerade-rate',
        METRICS,
        {
          ours,
          peer: side('sinabro --masquerade nftables', rules, load),
        },
        runs,
      )),
      ...(await compare(
        'masquerade-rate',
        METRICS,
        {
          ours,
          peer: side('ptp, kernel routes, nft masquerade', routed, load),
        },
        runs,
      )),
    ]
  },
}

const METRICS: Readonly<Record<string, MetricInfo>> = Object.fromEntries(
  KINDS.map((kind) => [kinds[kind].name, { unit: kinds[kind].unit, better: 'higher' }]),
)

function side(name: string, stand: PodStand, load: string): Side {
  return {
    name,
    measure: async () => {
      const figures: Record<string, number> = {}
      for (const kind of KINDS) {
        figures[kinds[kind].name] = await drive(stand.routes.outside, load, kind)
      }
      return figures
    },
  }
}
