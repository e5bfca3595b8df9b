// Counts what passed and failed, says each as it ends, and names the failures at the end.
import type { SpecResult } from './e2e.ts'

export class Report {
  readonly #failed: string[] = []
  readonly #flaky: string[] = []
  #passed = 0
  readonly #say: (line: string) => void

  constructor(say: (line: string) => void) {
    this.#say = say
  }

  /** Runs it, twice if need be, and names what needed it; a failure is counted, not thrown. */
  async check(name: string, work: () => Promise<string | undefined>): Promise<void> {
    const first = await attempt(work)
    if (first.failure === undefined) return this.add({ name, ...first }, first.note)
    this.#say(`again ${name}  ${first.seconds.toFixed(1)} s\n${indented(first.failure)}`)
    const second = await attempt(work)
    if (second.failure === undefined) this.#flaky.push(name)
    this.add({ name, ...second }, second.note)
  }

  /** What goes wrong between the checks is a failure too; nothing is counted when nothing does. */
  async guard(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.add({ name: 'the run', seconds: 0, failure: messageOf(error) })
    }
  }

  /** Neither passed nor failed. */
  skip(name: string, why: string): void {
    this.#say(`skip  ${name}: ${why}`)
  }

  get hasFailed(): boolean {
    return this.#failed.length > 0
  }

  add({ name, seconds, failure }: SpecResult, note = ''): void {
    const time = `${seconds.toFixed(1)} s`
    if (failure === undefined) {
      this.#passed++
      this.#say(`ok    ${name}  ${time}${note === '' ? '' : `  ${note}`}`)
    } else {
      this.#failed.push(name)
      this.#say(`FAIL  ${name}  ${time}\n${indented(failure)}`)
    }
  }

  /** The last lines of the run. Returns the exit status. */
  end(): number {
    for (const name of this.#flaky) this.#say(`flaky: ${name}`)
    for (const name of this.#failed) this.#say(`failed: ${name}`)
    this.#say(`${this.#passed} passed, ${this.#failed.length} failed`)
    return this.#failed.length === 0 && this.#passed > 0 ? 0 : 1
  }
}

async function attempt(
  work: () => Promise<string | undefined>,
): Promise<{ seconds: number; note?: string | undefined; failure?: string }> {
  const startMs = performance.now()
  const seconds = (): number => (performance.now() - startMs) / 1000
  try {
    const note = await work()
    return { seconds: seconds(), note }
  } catch (error) {
    return { seconds: seconds(), failure: messageOf(error) }
  }
}

function indented(text: string): string {
  return text.replace(/^/gm, '      ')
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
