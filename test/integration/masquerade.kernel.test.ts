// Pods talk to a host outside that knows no way back to them, in both modes of masquerading: every protocol, size and error that gets there and back.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NARROW_MTU } from '../lab/far-host.ts'
import type { Pod } from '../lab/index.ts'
import { download, echoUdp, greet, ping, serve, upload } from '../lab/talk.ts'
import {
  FAMILIES,
  knock,
  type MasqueradeStage,
  MODES,
  nodePlace,
  pingSays,
  raiseMasquerading,
  withAnnotation,
} from './masquerade-stage.ts'
import { whatIsWrong } from './stage.ts'

/** SINABRO_BULK_MIB: fewer, where the kernel is emulated. */
const BULK_BYTES = Number(process.env.SINABRO_BULK_MIB ?? 32) << 20
const PATIENTLY = { timeout: 20_000 }
const ROUTER = { 4: '172.18.0.254', 6: 'fd18::fe' } as const
/** Inside --non-masquerade-cidrs; nobody is there. */
const KEPT = { 4: '192.0.2.9', 6: '2001:db8:2::9' } as const

describe.each(MODES)('%s', (mode) => {
  let stage: MasqueradeStage
  let pod: Pod
  let remote: Pod

  beforeAll(async () => {
    stage = await raiseMasquerading(mode, mode, {
      nodes: 2,
      args: ['--non-masquerade-cidrs', '192.0.2.0/24,2001:db8:2::/64'],
    })
    const { lab } = stage
    pod = await lab.node(1).addPod('pod')
    remote = await lab.node(2).addPod('remote')
    await Promise.all([serve(pod), serve(nodePlace(lab, 1)), serve(nodePlace(lab, 2))])
  })

  afterAll(async () => {
    for (const node of stage?.lab.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
    await stage?.lab.down()
  })

  describe.each(FAMILIES)('IPv%i', (family) => {
    const far = () => stage.far.address(family)
    const narrow = () => stage.far.narrowAddress(family)

    test('TCP, and the far host sees the node', async () => {
      const client = stage.nodeAddress(family)
      expect(await greet(pod, far())).toEqual({ server: 'far', client })
    })

    test('ping', async () => expect(await ping(pod, far(), 3)).toBe(true))

    test('UDP, whole and in fragments each way', async () => {
      // An answer as long as the far host's link is too long for a pod: over IPv6 that host is told so, and the answer is lost.
      await pingSays(pod, far(), '-s', '1440', '-W', '0.5')
      expect(await pingSays(pod, far(), '-s', '1440')).toContain(' 0% ')
      for (const bytes of [1, 1400, 8000]) {
        const report = await echoUdp(pod, far(), 3, bytes)
        expect(report, `${bytes} bytes`).toEqual({ sent: 3, echoed: 3 })
      }
    })

    test('bulk each way, every byte checked', async () => {
      const report = await upload(pod, far(), BULK_BYTES)
      expect(report.received).toEqual({ bytes: BULK_BYTES, sha256: report.sha256 })
      const back = await download(pod, far(), BULK_BYTES)
      expect(back).toEqual({ bytes: BULK_BYTES, isWhole: true })
    })

    test('traceroute sees the routers on the way', async () => {
      expect(await pingSays(pod, far(), '-t', '2')).toMatch(
        new RegExp(`^From ${ROUTER[family]}.* (Time to live|Hop limit)`, 'm'),
      )
    })

    test('a datagram to a closed port is refused', async () => {
      expect(await knock(pod, far(), 9)).toContain('refused')
    })

    test('the path MTU is found', async () => {
      const said = await pingSays(pod, narrow(), '-M', 'do', '-s', String(NARROW_MTU))
      expect(said).toMatch(new RegExp(`mtu ?= ?${NARROW_MTU}`))
      const report = await upload(pod, narrow(), 4 << 20)
      expect(report.received.sha256).toBe(report.sha256)
    })

    test('its own node sees the pod itself, at every address', async () => {
      const client = pod.address(family)
      for (const address of [stage.nodeAddress(family), ownOf(family)]) {
        expect(await greet(pod, address)).toEqual({ server: 'node1', client })
      }
    })

    test('other nodes see the node, other pods the pod', async () => {
      expect(await greet(pod, stage.nodeAddress(family, 2))).toEqual({
        server: 'node2',
        client: stage.nodeAddress(family),
      })
      await expect(ping(pod, remote.address(family))).resolves.toBe(true)
    })

    test('answers to whoever called a pod are the pod’s own', async () => {
      for (const from of [remote, nodePlace(stage.lab, 2), nodePlace(stage.lab, 1)]) {
        expect((await greet(from, pod.address(family))).server).toBe('pod')
        expect(await ping(from, pod.address(family))).toBe(true)
      }
    })

    test('nothing of all that came to the router in the pod’s name', async () => {
      expect(await stage.leaks()).toBe(0)
    })
  })

  /** Whether a pod's own address comes out. */
  const isSeenAs = async (from: Pod, address: string): Promise<boolean> => {
    const before = await stage.leaks()
    await pingSays(from, address, '-W', '0.3')
    return (await stage.leaks()) > before
  }

  describe.each(FAMILIES)('IPv%i', (family) => {
    test('in the pod’s own name to ranges that are kept', async () => {
      expect(await isSeenAs(pod, KEPT[family])).toBe(true)
    })
  })

  test.each([
    ['Pod', 4],
    ['Namespace', 6],
  ] as const)('in the own name of pods whose %s says so, IPv%i', async (kind, family) => {
    const { lab, far } = stage
    const [namespace, name] = ['own-names', `says-${kind.toLowerCase()}`]
    const metadata = kind === 'Pod' ? { name, namespace } : { name: namespace }
    const plain = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace } }
    const object = withAnnotation(kind, metadata, 'false')
    for (const one of [plain, object]) lab.manifests.write(one)
    const keeps = await lab.node(1).addPod(name, { namespace })
    const address = far.address(family)
    const isAnswered = async () => (await pingSays(keeps, address, '-W', '0.3')).includes(' 0% ')
    try {
      await expect.poll(() => isSeenAs(keeps, address), PATIENTLY).toBe(true)
      lab.manifests.write(withAnnotation(kind, metadata, 'true'))
      await expect.poll(isAnswered, PATIENTLY).toBe(true)
    } finally {
      for (const one of [plain, object]) lab.manifests.remove(one)
      await keeps.remove()
    }
    expect(await isSeenAs(pod, address)).toBe(false)
  })
})

/** Of node1 in its range of pods. */
function ownOf(family: 4 | 6): string {
  return family === 4 ? '10.244.1.1' : 'fd00:10:244:1::1'
}
