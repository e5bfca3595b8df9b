// Routes per second through our netlink library, beside iproute2, at 100,000 routes in a namespace of their own.
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { run } from '../lab/command.ts'
import { type Bench, LAB_NAME } from './bench.ts'
import { compare, type Side } from './row.ts'

const PREFIX = `sinabro-${LAB_NAME}-`
const ROUTES = 100_000
/** Changes handed over together; the library makes datagrams of them. */
const BATCH = 1_000
const LOOPBACK = 1
const PROTOCOL = 91
const TIMEOUT_MS = 300_000

export const netlink: Bench = {
  name: 'netlink',
  async run({ runs, dir, say }) {
    await removeNamespaces((pid) => !existsSync(`/proc/${pid}`))
    const name = `${PREFIX}${process.pid}`
    await run(['ip', 'netns', 'add', name])
    try {
      await run(['ip', '-n', name, 'link', 'set', 'lo', 'up'])
      say(`${ROUTES} IPv4 routes over lo; both sides make, list and remove the same ones`)
      using netns = NetworkNamespace.open(`/run/netns/${name}`)
      using socket = RouteNetlink.open({ netns })
      const metrics = {
        'routes added': { unit: '/s', better: 'higher' as const },
        'routes added one by one': { unit: '/s', better: 'higher' as const },
        // Ours are objects either way; the peer's text is thrown away first, then read as what it is.
        'routes listed, peer text': { unit: '/s', better: 'higher' as const },
        'routes listed, peer parsed': { unit: '/s', better: 'higher' as const },
        'routes deleted': { unit: '/s', better: 'higher' as const },
      }
      return await compare(
        'netlink',
        metrics,
        { ours: ours(socket), peer: iproute2(name, dir) },
        runs,
      )
    } finally {
      await run(['ip', 'netns', 'del', name])
    }
  },
}

/** Those that a bench of such a process id has made and left. */
export async function removeNamespaces(isOver: (pid: number) => boolean): Promise<void> {
  const { stdout } = await run(['ip', '-j', 'netns', 'list'])
  const names = stdout.trim() === '' ? [] : (JSON.parse(stdout) as { name: string }[])
  for (const { name } of names) {
    const pid = Number(name.startsWith(PREFIX) ? name.slice(PREFIX.length) : Number.NaN)
    if (Number.isInteger(pid) && isOver(pid)) {
      await run(['ip', 'netns', 'del', name], { canFail: true })
    }
  }
}

function ours(socket: RouteNetlink): Side {
  const specs = destinations().map((dst) => ({
    ...{ dst, index: LOOPBACK, protocol: PROTOCOL },
    scope: 'link' as const,
  }))
  const inBatches = async (
    change: (routes: RouteNetlink['routes'], i: number) => Promise<unknown>,
  ) => {
    for (let first = 0; first < ROUTES; first += BATCH) {
      const outcomes = await socket.batch(({ routes }) =>
        Array.from({ length: BATCH }, (_, i) => change(routes, first + i)),
      )
      const failed = outcomes.find((outcome) => outcome.status === 'rejected')
      if (failed !== undefined) throw failed.reason
    }
  }
  const add = (routes: RouteNetlink['routes'], i: number) => {
    const spec = specs[i]
    if (spec === undefined) throw new Error('unreachable')
    return routes.add(spec)
  }
  const del = (routes: RouteNetlink['routes'], i: number) => {
    const spec = specs[i]
    if (spec === undefined) throw new Error('unreachable')
    return routes.del(spec)
  }
  return {
    name: 'node-netlink',
    async measure() {
      const added = await perSec(() => inBatches(add))
      const listed = await perSec(async () => {
        const found = await socket.routes.list({ family: 4, protocol: PROTOCOL })
        if (found.length !== ROUTES) throw new Error(`listed ${found.length} routes`)
      })
      const deleted = await perSec(() => inBatches(del))
      const single = await perSec(async () => {
        for (const spec of specs) await socket.routes.add(spec)
      })
      await inBatches(del)
      return figures({ added, single, listed, parsed: listed, deleted })
    },
  }
}

function iproute2(name: string, dir: string): Side {
  const file = (verb: 'add' | 'del') => {
    const path = join(dir, `routes-${verb}`)
    const lines = destinations().map(
      (dst) => `route ${verb} ${dst} dev lo proto ${PROTOCOL} scope link\n`,
    )
    writeFileSync(path, lines.join(''))
    return path
  }
  const [adding, deleting] = [file('add'), file('del')]
  const ip = (...args: string[]) =>
    run(['ip', '-n', name, ...args], { timeoutMs: TIMEOUT_MS }).then(() => undefined)
  return {
    name: 'ip -batch, ip -j',
    async measure() {
      const added = await perSec(() => ip('-batch', adding))
      const list = ['sh', '-c', `ip -n ${name} -j -4 route show proto ${PROTOCOL} >/dev/null`]
      const listed = await perSec(() => run(list, { timeoutMs: TIMEOUT_MS }))
      const parsed = await perSec(async () => {
        const argv = ['ip', '-n', name, '-j', '-4', 'route', 'show', 'proto', String(PROTOCOL)]
        const { stdout } = await run(argv, { timeoutMs: TIMEOUT_MS })
        const found: unknown = JSON.parse(stdout)
        if (!Array.isArray(found) || found.length !== ROUTES) throw new Error('routes are missing')
      })
      const deleted = await perSec(() => ip('-batch', deleting))
      return figures({ added, single: added, listed, parsed, deleted })
    },
  }
}

interface PerSec {
  readonly added: number
  readonly single: number
  readonly listed: number
  readonly parsed: number
  readonly deleted: number
}

function figures({ added, single, listed, parsed, deleted }: PerSec) {
  return {
    'routes added': added,
    'routes added one by one': single,
    'routes listed, peer text': listed,
    'routes listed, peer parsed': parsed,
    'routes deleted': deleted,
  }
}

async function perSec(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return ROUTES / ((performance.now() - start) / 1000)
}

function destinations(): string[] {
  return Array.from({ length: ROUTES }, (_, i) => `10.${i >> 16}.${(i >> 8) & 0xff}.${i & 0xff}/32`)
}
