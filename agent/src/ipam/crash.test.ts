// Random lives of an address store: allocate, release, change ranges, die at any durable write, start again; nothing doubled, nothing lost.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { codeOf, silentLog } from '../runtime/log.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import type { Allocation, AttachmentKey } from './allocation.ts'
import { IPAM_CRASH_POINTS } from './crash-point.ts'
import { Ipam } from './ipam.ts'

/** Deterministic, so that a failure can be run again (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * A process that dies at its n-th crash point. The next one lives on a copy of the folder made in that moment, because what the
 * dead one had under way goes on here as it would not after a kill.
 */
class Life {
  readonly dir: string
  readonly died = Promise.withResolvers<'died'>()
  readonly points = new Set<string>()
  /** Whether the disk refuses at this point. */
  isRefused: () => boolean = () => false
  #left: number

  constructor(dir: string, crashAfter: number) {
    this.dir = dir
    this.#left = crashAfter
  }

  get heir(): string {
    return `${this.dir}+`
  }

  crashPoint = (name: string): Promise<void> | void => {
    this.points.add(name)
    if (this.#left-- > 0) {
      if (this.isRefused()) throw Object.assign(new Error('full'), { code: 'ENOSPC' })
      return
    }
    if (this.#left === -1) {
      copy(this.dir, this.heir)
      this.died.resolve('died')
    }
    return new Promise(() => undefined)
  }
}

/** Files may come and go under way; then it starts again, so that the copy is of one moment. */
function copy(from: string, to: string): void {
  for (;;) {
    try {
      cpSync(from, to, { recursive: true })
      return
    } catch {
      rmSync(to, { recursive: true, force: true })
    }
  }
}

const ASKED = ['10.1.0.3', '10.1.0.5', '10.2.0.9', 'fd00:1::2', 'fd00:1::abcd:1', '192.0.2.1']
const REFUSALS = [
  ...['pool-exhausted', 'disk-full'],
  ...['address-outside', 'address-taken', 'address-differs'],
]
let bootTimeUs = 0

const RANGES = [['10.1.0.0/29', 'fd00:1::/64'], ['10.1.0.0/29'], ['fd00:1::/64', '10.2.0.0/28']]

/** What callers were told: the only truth that counts. */
class Promises {
  readonly held = new Map<string, Allocation>()
  /** Asked and not answered: either outcome is right. */
  readonly open = new Set<string>()
  readonly incarnations = new Map<number, string>()

  given(id: string, allocation: Allocation): void {
    const before = this.held.get(id)
    if (before !== undefined) expect(identityOf(allocation)).toEqual(identityOf(before))
    const owner = this.incarnations.get(allocation.incarnation)
    const identity = `${id} ${allocation.createdAt}`
    expect(owner ?? identity).toBe(identity)
    this.incarnations.set(allocation.incarnation, identity)
    this.held.set(id, allocation)
  }
}

/** All but what a later ADD of the same attachment renews. */
function identityOf({ sequence: _, netns: __, ...identity }: Allocation): unknown {
  return identity
}

function check(ipam: Ipam, promises: Promises): void {
  const owners = new Map<string, string>()
  const endpointIds = new Set<number>()
  const listed = new Map(ipam.list().map((one) => [one.key.containerId, one]))
  for (const [id, { addresses, endpointId }] of listed) {
    for (const address of addresses) {
      expect(owners.get(address), `${address} of ${id}`).toBeUndefined()
      owners.set(address, id)
    }
    expect(endpointIds.has(endpointId)).toBe(false)
    endpointIds.add(endpointId)
  }
  for (const [id, allocation] of promises.held) {
    if (!promises.open.has(id)) expect(listed.get(id), `${id} was promised`).toEqual(allocation)
  }
  for (const id of listed.keys()) {
    expect(promises.held.has(id) || promises.open.has(id), `${id} was never asked for`).toBe(true)
  }
  expect(ipam.quarantined()).toEqual([])
}

async function live(start: string, random: () => number, clock: FakeClock): Promise<Set<string>> {
  const promises = new Promises()
  const points = new Set<string>()
  let dir = start
  for (let lifeNumber = 0; lifeNumber < 12; lifeNumber++) {
    const isLast = lifeNumber === 11
    const life = new Life(dir, isLast ? Number.POSITIVE_INFINITY : Math.floor(random() * 40))
    const { crashPoint } = life
    const opened = Ipam.open({ dir, clock, log: silentLog, crashPoint, historySlackLines: -8 })
    const ipam = await Promise.race([opened, life.died.promise])
    if (ipam !== 'died') {
      ipam.setRanges(RANGES[Math.floor(random() * RANGES.length)] ?? [])
      check(ipam, promises)
      // A pod whose ADD was never answered: kept by whoever asks again, given back by whoever deletes.
      for (const id of promises.open)
        if (ipam.get(keyOf(id)) === undefined) promises.held.delete(id)
      for (const one of ipam.list()) promises.given(one.key.containerId, one)
      promises.open.clear()
      life.isRefused = () => random() < 0.03
      const end = await Promise.race([act(ipam, promises, random), life.died.promise])
      if (end !== 'died') check(ipam, promises)
      else dir = life.heir
    } else {
      dir = life.heir
    }
    for (const point of life.points) points.add(point)
    await clock.advance(1000)
  }
  return points
}

function keyOf(containerId: string): AttachmentKey {
  return { network: 'n', containerId, ifname: 'eth0' }
}

/** Up to eight calls at once, of which some are for one key. */
async function act(ipam: Ipam, promises: Promises, random: () => number): Promise<void> {
  for (let step = 0; step < 30; step++) {
    const batch = Array.from({ length: 1 + Math.floor(random() * 8) }, () => {
      const id = `c${Math.floor(random() * 18)}`
      const isAsking = random() < 0.3
      const asked = ASKED[Math.floor(random() * ASKED.length)] ?? ''
      return { id, isRelease: random() < 0.45, addresses: isAsking ? [asked] : [] }
    })
    const once = [...new Map(batch.map((one) => [one.id, one])).values()]
    await Promise.all(
      once.map(async ({ id, isRelease, addresses }) => {
        const wasOpen = promises.open.has(id)
        promises.open.add(id)
        try {
          if (isRelease) {
            await ipam.release(keyOf(id))
            promises.held.delete(id)
          } else {
            const sequence = { bootId: 'b', bootTimeUs: ++bootTimeUs }
            const request = { key: keyOf(id), netns: `/run/${bootTimeUs}`, sequence, addresses }
            promises.given(id, await ipam.allocate(request))
          }
        } catch (error) {
          const code = codeOf(error)
          if (code === undefined || !REFUSALS.includes(code)) throw error
          // Not known before the next start, as after a death.
          if (code === 'disk-full' || wasOpen) return
        }
        promises.open.delete(id)
      }),
    )
  }
}

test('Ipam keeps its promises through random deaths at every durable write', async () => {
  const points = new Set<string>()
  const anywhere = ['set-aside', 'mended', 'quarantine']
  const reachable = IPAM_CRASH_POINTS.filter(
    (point) => !anywhere.some((what) => point.startsWith(`ipam.${what}.`)),
  )
  // Twenty lives, and more until every point was passed: which ones a life meets depends on the disk's time too.
  const isCovered = () => reachable.every((point) => points.has(point))
  for (let seed = 1; seed <= 20 || (!isCovered() && seed <= 200); seed++) {
    const dir = mkdtempSync(join(tmpdir(), 'sinabro-crash-'))
    try {
      const start = join(dir, 'state')
      for (const point of await live(start, randomFrom(seed), new FakeClock())) points.add(point)
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    } finally {
      rmSync(dir, { recursive: true })
    }
  }
  expect([...points].sort()).toEqual(reachable.toSorted())
}, 120_000)

test.each(['set-aside', 'mended', 'quarantine'])(
  'a death while a damaged record is dealt with loses none of its addresses: %s',
  async (what) => {
    const points = IPAM_CRASH_POINTS.filter((point) => point.startsWith(`ipam.${what}.`))
    expect(points).toHaveLength(2)
    for (const point of points) {
      const root = mkdtempSync(join(tmpdir(), 'sinabro-crash-'))
      try {
        const dir = join(root, 'state')
        const options = { dir, clock: new FakeClock(), log: silentLog }
        const before = await Ipam.open(options)
        before.setRanges(['10.1.0.0/29'])
        const { addresses } = await before.allocate({ key: keyOf('a'), netns: '/n' })
        const [name = ''] = readdirSync(join(dir, 'allocations'))
        const text = readFileSync(join(dir, 'allocations', name), 'utf8')
        writeFileSync(join(dir, 'allocations', name), 'damaged')
        if (what !== 'set-aside') await Ipam.open(options)
        if (what === 'mended') writeFileSync(join(dir, 'quarantine', name), text)

        const died = Promise.withResolvers<void>()
        const crashPoint = (at: string): Promise<void> | undefined => {
          if (at !== point) return undefined
          copy(dir, `${dir}+`)
          died.resolve()
          return new Promise(() => undefined)
        }
        const life = Ipam.open({ ...options, crashPoint }).then((ipam) => ipam.release(keyOf('a')))
        await Promise.race([died.promise, life])

        const after = await Ipam.open({ ...options, dir: `${dir}+` })
        after.setRanges(['10.1.0.0/29'])
        const kept = [
          ...after.list().flatMap((one) => one.addresses),
          ...after.quarantined().flatMap((one) => one.addresses),
        ]
        // Released is released: its file was removed before the death.
        expect(kept, point).toEqual(what === 'quarantine' ? [] : addresses)
        const next = await after.allocate({ key: keyOf('b'), netns: '/n' })
        if (what !== 'quarantine') expect(next.addresses).not.toEqual(addresses)
      } finally {
        rmSync(root, { recursive: true })
      }
    }
  },
)
