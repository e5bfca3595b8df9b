// The same network under other conditions: filters instead of tcx, IPv6 between the nodes, one family, a small MTU, the bundle.
import { afterEach, describe, expect, test } from 'vitest'
import { captureOne, decodeVxlan } from '../lab/capture.ts'
import type { Lab } from '../lab/index.ts'
import { ping, serve, upload } from '../lab/talk.ts'
import { raiseWithPods, whatIsWrong } from './stage.ts'

const NAME = 'variants'
const BULK_BYTES = 16 << 20

const VARIANTS = [
  {
    what: 'clsact filters instead of tcx links',
    options: { agent: { args: ['--attach', 'clsact'] } },
    mtu: '1450',
    outer: 4,
  },
  {
    what: 'a tunnel over IPv6',
    options: { agent: { args: ['--tunnel-family', '6'] } },
    mtu: '1430',
    outer: 6,
  },
  { what: 'IPv4 alone', options: { families: 'ipv4' }, mtu: '1450', outer: 4 },
  { what: 'IPv6 alone', options: { families: 'ipv6' }, mtu: '1430', outer: 6 },
  { what: 'an underlay of 9000 bytes', options: { underlayMtu: 9000 }, mtu: '8950', outer: 4 },
  { what: 'the bundle that ships', options: { agent: { from: 'bundle' } }, mtu: '1450', outer: 4 },
] as const

let lab: Lab | undefined

afterEach(() => lab?.down())

describe.each(VARIANTS)('with $what', ({ options, mtu, outer }) => {
  test('pods talk on one node and across, at the right MTU', async () => {
    const { lab: raised, pods } = await raiseWithPods(NAME, options)
    lab = raised
    const { a, b, c } = pods
    const { stdout } = await a.exec(['ip', '-o', 'link', 'show', 'eth0'])
    expect(stdout).toContain(`mtu ${mtu} `)
    await Promise.all([b, c].map(serve))
    for (const target of [...b.addresses, ...c.addresses]) {
      expect(await ping(a, target), target).toBe(true)
      const report = await upload(a, target, BULK_BYTES)
      expect(report.received.sha256, target).toBe(report.sha256)
    }
    const [inside = ''] = c.addresses
    const packet = await captureOne(
      { machine: raised.underlay, device: 'p-node1', filter: 'udp' },
      (frame) => {
        const found = decodeVxlan(frame)
        return found?.inner.target === inside ? found : undefined
      },
      () => ping(a, inside),
    )
    expect(packet.outer.family).toBe(outer)
    for (const node of raised.nodes) expect(await whatIsWrong(node)).toEqual([])
  })
})
