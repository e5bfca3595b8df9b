// Masquerading by our programs beside the kernel's own connection tracking: services that it translates, protocols that we do not, and the tunnel, which nobody tracks.
import { ip, type Layer, packet, payload } from '@sinabro/libbpf-ts/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Pod } from '../lab/index.ts'
import type { KubernetesObject } from '../lab/manifests.ts'
import { greet, ping, serve, upload } from '../lab/talk.ts'
import { grown, linkOf, Sender } from './hostile-frames.ts'
import { countOf, FAMILIES, type MasqueradeStage, raiseMasquerading } from './masquerade-stage.ts'
import { whatIsWrong } from './stage.ts'

/** In --service-cidrs. */
const SERVICE = { 4: '10.96.0.10', 6: 'fd00:10:96::10' } as const
/** Of a Service object, outside of every range that the agent is told of. */
const LISTED = { 4: '198.18.0.10', 6: '2001:db8:18::10' } as const
/** Turned to a pod of the other node. */
const TO_POD = { 4: '10.96.0.11', 6: 'fd00:10:96::11' } as const
/** That our programs leave to the rules. */
const RAW = [
  { name: 'sctp', protocol: 132, content: sctpInit() },
  {
    name: 'esp',
    protocol: 50,
    content: Uint8Array.of(0, 0, 1, 0, 0, 0, 0, 1, ...Array(32).fill(7)),
  },
  { name: 'gre', protocol: 47, content: Uint8Array.of(0, 0, 8, 0, ...Array(32).fill(7)) },
] as const

let stage: MasqueradeStage
let pod: Pod
let remote: Pod
let sender: Sender

beforeAll(async () => {
  sender = new Sender()
  const args = ['--service-cidrs', '10.96.0.0/16,fd00:10:96::/112']
  stage = await raiseMasquerading('beside', 'ebpf', { nodes: 2, args })
  const { lab, far } = stage
  lab.manifests.write(service)
  pod = await lab.node(1).addPod('pod')
  remote = await lab.node(2).addPod('remote')
  await serve(remote)
  const turned = FAMILIES.flatMap((family) => {
    const [proto, nat] = family === 4 ? ['ip', 'ip'] : ['ip6', 'ip6']
    const target = (to: string) => `dnat ${nat} to ${to}`
    return [
      `${proto} daddr { ${SERVICE[family]}, ${LISTED[family]} } ${target(far.address(family))}`,
      `${proto} daddr ${TO_POD[family]} ${target(remote.address(family))}`,
    ]
  })
  // As kube-proxy has it, and as a firewall that believes connection tracking.
  await lab.node(1).exec(['nft', '-f', '-'], {
    input: `table inet beside {
      counter tracked { }
      chain services { type nat hook prerouting priority dstnat; ${turned.join('; ')}; }
      chain firewall {
        type filter hook forward priority filter
        ct state established,related accept
        ct state invalid drop
      }
      chain tunnel_in {
        type filter hook prerouting priority filter
        udp dport 8472 ct state != untracked counter name tracked
      }
      chain tunnel_out {
        type filter hook output priority filter
        udp dport 8472 ct state != untracked counter name tracked
      }
    }
    `,
  })
  const counters = RAW.map(({ name }) => `counter raw_${name} { }`)
  const rules = RAW.flatMap(({ name, protocol }) => [
    `ip saddr ${stage.nodeAddress(4)} meta l4proto ${protocol} counter name raw_${name}`,
    `ip6 saddr ${stage.nodeAddress(6)} meta l4proto ${protocol} counter name raw_${name}`,
  ])
  await lab.outside.exec(['nft', '-f', '-'], {
    input: `table inet probe {
      ${counters.join('\n')}
      chain raw { type filter hook prerouting priority raw; ${rules.join('; ')}; }
    }
    `,
  })
})

afterAll(async () => {
  for (const node of stage?.lab.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
  await stage?.lab.down()
  sender?.remove()
})

describe.each(FAMILIES)('IPv%i', (family) => {
  const client = () => stage.nodeAddress(family)

  test('a service whose end is outside is translated twice, by the kernel', async () => {
    const names = ['from_pod/out'] as const
    const counts = await grown(stage.lab.node(1), names, async () => {
      for (const address of [SERVICE[family], LISTED[family]]) {
        expect(await greet(pod, address)).toEqual({ server: 'far', client: client() })
        const report = await upload(pod, address, 1 << 20)
        expect(report.received.sha256).toBe(report.sha256)
      }
    })
    expect(counts).toEqual({ 'from_pod/out': 0 })
  })

  test('a service whose end is a pod sees the pod', async () => {
    expect(await greet(pod, TO_POD[family])).toEqual({
      server: 'remote',
      client: pod.address(family),
    })
  })

  test('what is no service goes our way past a firewall that tracks', async () => {
    const names = ['from_pod/out'] as const
    const counts = await grown(stage.lab.node(1), names, async () => {
      expect(await greet(pod, stage.far.address(family))).toEqual({
        server: 'far',
        client: client(),
      })
    })
    expect(counts['from_pod/out']).toBeGreaterThan(0)
  })

  test.each(RAW)('$name goes out under the node’s address', async ({ name, protocol, content }) => {
    const far = stage.far.address(family)
    await ping(pod, far)
    const { link } = await linkOf(pod)
    const of: Layer = { ...payload(content), protocol: () => protocol }
    const before = await countOf(stage.lab, `raw_${name}`)
    await sender.send(pod, [packet(link, ip({ src: pod.address(family), dst: far }), of)])
    await expect.poll(() => countOf(stage.lab, `raw_${name}`)).toBe(before + 1)
  })

  test('the tunnel is tracked by nobody, and nothing got out in the pod’s name', async () => {
    expect(await ping(pod, remote.address(family))).toBe(true)
    expect(await ping(remote, pod.address(family))).toBe(true)
    const { stdout } = await stage.lab
      .node(1)
      .exec(['nft', 'list', 'counters', 'table', 'inet', 'beside'])
    expect(stdout).toContain('packets 0 ')
    expect(await stage.leaks()).toBe(0)
  })
})

const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'listed', namespace: 'default' },
  spec: {
    clusterIP: LISTED[4],
    clusterIPs: [LISTED[4], LISTED[6]],
    ports: [{ port: 8080, protocol: 'TCP' }],
  },
} as KubernetesObject

/** An INIT from port 5000 to 6000, which is what makes a connection for who tracks them: RFC 9260 §3.3.2. */
function sctpInit(): Uint8Array {
  const bytes = new Uint8Array(32)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, 5000)
  view.setUint16(2, 6000)
  view.setUint8(12, 1)
  view.setUint16(14, 20)
  view.setUint32(16, 0x1234_5678)
  view.setUint32(20, 65_535)
  view.setUint16(24, 1)
  view.setUint16(26, 1)
  view.setUint32(28, 1)
  view.setUint32(8, crc32c(bytes), true)
  return bytes
}

function crc32c(bytes: Uint8Array): number {
  let sum = 0xffff_ffff
  for (const byte of bytes) {
    sum ^= byte
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0x82f6_3b78 : 0)
  }
  return ~sum >>> 0
}
