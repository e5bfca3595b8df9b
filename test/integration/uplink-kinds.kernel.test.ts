// Nodes whose uplink is no plain Ethernet device: it is found, our program hangs on it, and pods talk across.
import { execFileSync } from 'node:child_process'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ping, serve, upload } from '../lab/talk.ts'
import { UPLINK_DEVICES } from '../lab/underlay.ts'
import { grown } from './hostile-frames.ts'
import { raiseWithPods, type Stage, whatIsWrong } from './stage.ts'

const NAME = 'uplink-kinds'
const BULK_BYTES = 2 << 20

/** What `ip link add` needs to make one; `hook` says whether the kernel shows our program an Ethernet header there. */
const KINDS = [
  { kind: 'vlan', probe: ['link', 'lo', 'type', 'vlan', 'id', '7'], hook: true },
  { kind: 'bond', probe: ['type', 'bond'], hook: true },
  { kind: 'bridge', probe: ['type', 'bridge'], hook: true },
  { kind: 'l3', probe: ['type', 'ip6tnl', 'mode', 'any', 'remote', '::2'], hook: false },
] as const

let stage: Stage | undefined
const missing = new Set<string>()

beforeAll(() => {
  for (const { kind, probe } of KINDS) {
    try {
      const add = ['ip', 'link', 'add', 'x0', ...probe]
      execFileSync('unshare', ['--net', ...add], { stdio: 'ignore' })
    } catch {
      missing.add(kind)
    }
  }
})

afterEach(async () => {
  await stage?.lab.down()
  stage = undefined
})

describe.each(KINDS)('an uplink of kind $kind', ({ kind, hook }) => {
  test('is found, and pods of two nodes talk over it', async ({ skip }) => {
    skip(missing.has(kind), `this kernel makes no ${kind} device`)
    stage = await raiseWithPods(NAME, { uplink: kind })
    const { lab, pods } = stage
    const { a, c } = pods
    await serve(c)
    const device = UPLINK_DEVICES[kind]
    const talk = async () => {
      for (const target of c.addresses) {
        expect(await ping(a, target), target).toBe(true)
        const report = await upload(a, target, BULK_BYTES)
        expect(report.received, target).toEqual({ bytes: BULK_BYTES, sha256: report.sha256 })
      }
    }
    if (hook) {
      const counts = await grown(lab.node(2), ['from_uplink/tunnel'], talk)
      expect(counts['from_uplink/tunnel']).toBeGreaterThan(0)
    } else {
      await talk()
      expect(JSON.stringify(await lab.node(2).agent.get('/v1/status'))).toContain(
        `${device} has no Ethernet header`,
      )
    }
    const { stdout } = await lab.node(1).exec(['ip', '-o', 'route', 'get', '172.18.0.2'])
    expect(stdout).toContain(`dev ${device} `)
    for (const node of lab.nodes) expect(await whatIsWrong(node)).toEqual([])
  })
})
