// Stands in for vitest in the guest: its own `expect`, and as much of `test` and `describe` as our tests use, in one process.
import { format } from 'node:util'
import { expect as vitestExpect } from 'vitest'

type Body = (...args: never[]) => unknown
type Hook = (context?: unknown) => unknown
/** Why a test is left out; empty where nobody has said. */
type Reason = string
export interface TestOptions {
  readonly timeout?: number
}
type Rest = Body | TestOptions | number

export interface Case {
  readonly name: string
  readonly body: Body
  readonly timeoutMs: number | undefined
  readonly skipped: Reason | undefined
}

export interface Group {
  readonly name: string
  /** For each of its tests that says nothing of its own. */
  readonly timeoutMs: number | undefined
  readonly parent: Group | undefined
  readonly skipped: Reason | undefined
  readonly members: (Case | Group)[]
  readonly beforeAll: Hook[]
  readonly afterAll: Hook[]
  readonly beforeEach: Hook[]
  readonly afterEach: Hook[]
}

/** What `ctx.skip()` throws. */
export class Skipped {
  readonly note: string | undefined
  constructor(note: string | undefined) {
    this.note = note
  }
}

let current: Group = newGroup('', undefined, undefined, undefined)
let finishers: Hook[] | undefined

function newGroup(
  name: string,
  parent: Group | undefined,
  skipped: Reason | undefined,
  timeoutMs: number | undefined,
): Group {
  const hooks = { beforeAll: [], afterAll: [], beforeEach: [], afterEach: [] }
  return { name, parent, skipped, timeoutMs, members: [], ...hooks }
}

/** `test` and `describe` take options, or a limit, before or behind the body. */
function bodyAndLimit(rest: readonly Rest[]): { body: Body; timeoutMs: number | undefined } {
  const body = rest.find((one) => typeof one === 'function') ?? (() => undefined)
  const limit = rest.find((one) => typeof one !== 'function')
  return { body, timeoutMs: typeof limit === 'number' ? limit : limit?.timeout }
}

/** Collects what a module declares while it is loaded. */
export async function collect(load: () => Promise<unknown>): Promise<Group> {
  const whole = newGroup('', undefined, undefined, undefined)
  current = whole
  await load()
  return whole
}

/** From here to its call, `onTestFinished` collects what runs when the test is over. */
export function collectFinishers(): Hook[] {
  finishers = []
  return finishers
}

function declareTest(skipped: Reason | undefined) {
  return (name: string, ...rest: readonly Rest[]): void => {
    const { body, timeoutMs = current.timeoutMs } = bodyAndLimit(rest)
    current.members.push({ name, body, timeoutMs, skipped })
  }
}

function declareGroup(skipped: Reason | undefined) {
  return (name: string, ...rest: readonly Rest[]): void => {
    const outer = current
    const { body, timeoutMs = outer.timeoutMs } = bodyAndLimit(rest)
    const group = newGroup(name, outer, outer.skipped ?? skipped, timeoutMs)
    outer.members.push(group)
    current = group
    if ((body as Hook)() instanceof Promise) throw new TypeError(`describe ${name} is asynchronous`)
    current = outer
  }
}

/** `%i`, `%s` … take the row's values in turn, `$key.key` those of a row that is an object. */
function title(name: string, row: unknown, at: number): string {
  const values = Array.isArray(row) ? row : [row]
  const marks = name.match(/%[sdifjoO]/g)?.length ?? 0
  const text = format(name.replaceAll('%#', String(at)), ...values.slice(0, marks))
  return text.replace(/\$([\w.]+)/g, (_, path: string) => {
    let value = row
    for (const key of path.split('.')) value = (value as Record<string, unknown> | undefined)?.[key]
    return typeof value === 'string' ? value : JSON.stringify(value)
  })
}

type Declare = (name: string, ...rest: readonly Rest[]) => void

function each(declare: Declare) {
  return (rows: readonly unknown[]) =>
    (name: string, ...rest: readonly Rest[]): void => {
      for (const [at, row] of rows.entries()) {
        const args = (Array.isArray(row) ? row : [row]) as never[]
        const bound = rest.map((one) => (typeof one === 'function' ? () => one(...args) : one))
        declare(title(name, row, at), ...bound)
      }
    }
}

/** Like `each`, but the row stays whole and the test's context comes after it. */
function forEach(declare: Declare) {
  return (rows: readonly unknown[]) =>
    (name: string, ...rest: readonly Rest[]): void => {
      for (const [at, row] of rows.entries()) {
        const bound = rest.map((one) =>
          typeof one === 'function' ? (ctx: never) => one(row as never, ctx) : one,
        )
        declare(title(name, row, at), ...bound)
      }
    }
}

/** What our conditions are made of is the reason. */
function api(declare: (skipped: Reason | undefined) => Declare) {
  const one = (skipped?: Reason) =>
    Object.assign(declare(skipped), {
      each: each(declare(skipped)),
      for: forEach(declare(skipped)),
    })
  const skipIf = (condition: unknown) => {
    if (!condition) return one()
    return one(typeof condition === 'string' ? condition : '')
  }
  return Object.assign(one(), { skipIf })
}

export const test = api(declareTest)
export const it = test
export const describe = api(declareGroup)
export const beforeAll = (hook: Hook) => void current.beforeAll.push(hook)
export const afterAll = (hook: Hook) => void current.afterAll.push(hook)
export const beforeEach = (hook: Hook) => void current.beforeEach.push(hook)
export const afterEach = (hook: Hook) => void current.afterEach.push(hook)
export const onTestFinished = (hook: Hook) => {
  if (finishers === undefined) throw new Error('onTestFinished outside of a test')
  finishers.push(hook)
}

const POLL_TIMEOUT_MS = 1000
const POLL_INTERVAL_MS = 50
/** Software emulation: what takes a second outside may take so many here. */
export const SLOWNESS = Number(process.env.SINABRO_SLOWNESS ?? 10)

interface PollOptions {
  readonly timeout?: number
  readonly interval?: number
}

/** `expect.poll(ask).not.toBe(1)`: the words after it are kept and said again until they hold. */
function poll(ask: () => unknown, options: PollOptions = {}): unknown {
  const words: string[] = []
  const until = async (args: readonly unknown[]): Promise<void> => {
    const end = performance.now() + (options.timeout ?? POLL_TIMEOUT_MS) * SLOWNESS
    for (;;) {
      try {
        let assertion: unknown = vitestExpect(await ask())
        for (const word of words.slice(0, -1))
          assertion = (assertion as Record<string, unknown>)[word]
        const matcher = words.at(-1) ?? ''
        await (assertion as Record<string, (...all: readonly unknown[]) => unknown>)[matcher]?.(
          ...args,
        )
        return
      } catch (error) {
        if (performance.now() > end) throw error
      }
      await new Promise((wake) => setTimeout(wake, options.interval ?? POLL_INTERVAL_MS))
    }
  }
  const chain: unknown = new Proxy(() => undefined, {
    get: (_, word) => {
      words.push(String(word))
      return chain
    },
    apply: (_, __, args: readonly unknown[]) => until(args),
  })
  return chain
}

export const expect: unknown = new Proxy(vitestExpect, {
  get: (target, key) => (key === 'poll' ? poll : Reflect.get(target, key)),
})
