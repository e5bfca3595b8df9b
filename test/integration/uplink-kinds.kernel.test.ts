// Nodes whose uplink is no plain Ethernet device: it is found, our program hangs on it, and pods talk across.
import { execFileSync } from 'node:child_process'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Lab } from '../lab/index.ts'
import { ping, serve, upload } from '../lab/talk.ts'
import { UPLINK_DEVICES } from '../lab/underlay.ts'
import { grown } from './hostile-frames.ts'
import { raise, whatIsWrong } from './stage.ts'

const NAME = 'uplink-kinds'
const BULK_BYTES = 2 << 20

/** What `ip link add` needs to make one; a tun device is made by other means. */
const KINDS = [
  { kind: 'vlan', probe: 'link v0 type vlan id 7' },
  { kind: 'bond', probe: 'type bond' },
  { kind: 'bridge', probe: 'type bridge' },
  { kind: 'l3', probe: undefined },
] as const

let lab: Lab | undefined
const missing = new Set<string>()

beforeAll(() => {
  for (const { kind, probe } of KINDS) {
    try {
      const tun = 'tuntap add mode tun name x0'
      // Not on lo: that one refuses a VLAN everywhere.
      const device = `link add v0 type veth peer name v1\nlink add x0 ${probe}`
      const input = `${probe === undefined ? tun : device}\n`
      execFileSync('unshare', ['--net', 'ip', '-batch', '-'], { input, stdio: 'pipe' })
    } catch {
      missing.add(kind)
    }
  }
})

afterEach(async () => {
  await lab?.down()
  lab = undefined
})

describe.each(KINDS)('an uplink of kind $kind', ({ kind }) => {
  test('is found, and pods of two nodes talk over it', async ({ skip }) => {
    skip(missing.has(kind), `this kernel makes no ${kind} device`)
    lab = await raise(NAME, { uplink: kind })
    const [one, two] = [lab.node(1), lab.node(2)]
    const [a, c] = await Promise.all([one.addPod('a'), two.addPod('c')])
    await serve(c)
    const device = UPLINK_DEVICES[kind]
    const talk = async () => {
      for (const target of c.addresses) {
        expect(await ping(a, target), target).toBe(true)
        const report = await upload(a, target, BULK_BYTES)
        expect(report.received, target).toEqual({ bytes: BULK_BYTES, sha256: report.sha256 })
      }
    }
    const counts = await grown(two, ['from_uplink/tunnel'], talk)
    expect(counts['from_uplink/tunnel']).toBeGreaterThan(0)
    const { stdout } = await one.exec(['ip', '-o', 'route', 'get', '172.18.0.2'])
    expect(stdout).toContain(`dev ${device} `)
    for (const node of lab.nodes) expect(await whatIsWrong(node)).toEqual([])
  })
})
