// Runs test files one after the other in this process and says what became of each test, as lines that begin with `@@test`.
import { writeSync } from 'node:fs'
import { inspect } from 'node:util'
import { keepLoaded } from '../../../bpf/testing/loaded.ts'
import { type Case, collect, collectFinishers, type Group, Skipped, SLOWNESS } from './vitest.ts'

export interface TestFile {
  readonly path: string
  readonly load: () => Promise<unknown>
}

export interface TestResult {
  readonly file: string
  readonly name: string
  readonly state: 'passed' | 'failed' | 'skipped'
  readonly ms: number
  /** Why it was skipped, what went wrong, or that it took a second try. */
  readonly note?: string
}

/** Of tests and hooks that say nothing of their own: as the longest of the levels has it. */
const TEST_TIMEOUT_MS = 120_000
const NOTE_LENGTH = 3000

function tell(result: TestResult): void {
  // Begins with a line end: whatever was printed before may have left its line open.
  writeSync(1, `\n@@test ${JSON.stringify(result)}\n`)
}

export async function runFiles(
  files: readonly TestFile[],
  only: RegExp | undefined,
): Promise<void> {
  keepLoaded()
  for (const { path, load } of files) {
    const stray: unknown[] = []
    const keep = (error: unknown) => stray.push(error)
    process.on('uncaughtException', keep).on('unhandledRejection', keep)
    try {
      await runGroup(path, await collect(load), [], only)
    } catch (error) {
      tell({ file: path, name: 'the file as a whole', state: 'failed', ms: 0, note: words(error) })
    }
    for (const error of stray) {
      tell({ file: path, name: 'outside of any test', state: 'failed', ms: 0, note: words(error) })
    }
    process.off('uncaughtException', keep).off('unhandledRejection', keep)
  }
}

async function runGroup(
  file: string,
  group: Group,
  outer: readonly Group[],
  only: RegExp | undefined,
): Promise<void> {
  const path = [...outer, group]
  const names = path.map(({ name }) => name).filter(Boolean)
  const chosen = (one: Case | Group, within: readonly Group[]): boolean =>
    'members' in one
      ? one.members.some((member) => chosen(member, [...within, one]))
      : (only?.test(`${file} ${[...within, one].map(({ name }) => name).join(' ')}`) ?? true)
  const members = group.members.filter((member) => chosen(member, path))
  const runs = members.some((one) => (one.skipped ?? group.skipped) === undefined)
  let broken: unknown
  try {
    if (runs) for (const hook of group.beforeAll) await limited(hook(), TEST_TIMEOUT_MS)
  } catch (error) {
    broken = error
  }
  for (const member of members) {
    if ('members' in member) {
      if (broken === undefined) await runGroup(file, member, path, only)
      else tellBroken(file, [...names, member.name], broken)
    } else if (broken !== undefined) tellBroken(file, [...names, member.name], broken)
    else await runCase(file, [...names, member.name].join(' › '), member, path)
  }
  try {
    if (runs) for (const hook of group.afterAll.toReversed()) await limited(hook(), TEST_TIMEOUT_MS)
  } catch (error) {
    tellBroken(file, [...names, 'afterAll'], error)
  }
}

function tellBroken(file: string, names: readonly string[], error: unknown): void {
  tell({ file, name: names.join(' › '), state: 'failed', ms: 0, note: words(error) })
}

async function runCase(
  file: string,
  name: string,
  one: Case,
  path: readonly Group[],
): Promise<void> {
  const startMs = performance.now()
  const done = (state: TestResult['state'], note?: string): void => {
    const ms = Math.round(performance.now() - startMs)
    tell({ file, name, state, ms, ...(note === undefined ? {} : { note }) })
  }
  const skipped = one.skipped ?? path.at(-1)?.skipped
  if (skipped !== undefined) return done('skipped', skipped)
  let first: string | undefined
  for (const isLast of [false, true]) {
    try {
      await tryCase(one, path)
      return done('passed', first === undefined ? undefined : `second try; first: ${first}`)
    } catch (error) {
      if (error instanceof Skipped) return done('skipped', error.note)
      if (isLast) return done('failed', words(error))
      first = words(error)
    }
  }
}

async function tryCase(one: Case, path: readonly Group[]): Promise<void> {
  const finishers = collectFinishers()
  const timeoutMs = one.timeoutMs ?? TEST_TIMEOUT_MS
  const context = { skip, annotate: () => undefined }
  let failure: { readonly error: unknown } | undefined
  const step = async (run: () => unknown): Promise<void> => {
    try {
      await limited(run(), timeoutMs)
    } catch (error) {
      failure ??= { error }
    }
  }
  for (const group of path) for (const hook of group.beforeEach) await step(() => hook(context))
  if (failure === undefined) await step(() => (one.body as (ctx: unknown) => unknown)(context))
  for (const group of path.toReversed())
    for (const hook of group.afterEach) await step(() => hook(context))
  for (const hook of finishers.toReversed()) await step(hook)
  if (failure !== undefined) throw failure.error
}

function skip(condition: unknown = true, note?: string): void {
  if (typeof condition === 'string') throw new Skipped(condition)
  if (condition) throw new Skipped(note)
}

/** Emulation is slow: what a test allows itself is allowed several times over. */
async function limited(work: unknown, timeoutMs: number): Promise<unknown> {
  if (!(work instanceof Promise)) return work
  const late = Promise.withResolvers<never>()
  const ms = timeoutMs * SLOWNESS
  const timer = setTimeout(() => late.reject(new Error(`not done after ${ms / 1000} s`)), ms)
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

function words(error: unknown): string {
  const text = error instanceof Error ? `${error.stack ?? error.message}` : inspect(error)
  const { actual, expected } = error as { actual?: unknown; expected?: unknown }
  const both =
    expected === undefined ? '' : `\nexpected ${inspect(expected)}\nfound ${inspect(actual)}`
  return `${text}${both}`.slice(0, NOTE_LENGTH)
}
