// Counts what passed and failed, says each as it ends, and names the failures at the end.
import type { SpecResult } from './e2e.ts'

export class Report {
  readonly #failed: string[] = []
  #passed = 0
  readonly #say: (line: string) => void

  constructor(say: (line: string) => void) {
    this.#say = say
  }

  /** Runs it; a failure is counted, not thrown. */
  async check(name: string, work: () => Promise<string | undefined>): Promise<void> {
    const startMs = performance.now()
    try {
      const note = await work()
      const seconds = (performance.now() - startMs) / 1000
      this.add({ name, seconds }, note)
    } catch (error) {
      const seconds = (performance.now() - startMs) / 1000
      this.add({ name, seconds, failure: messageOf(error) })
    }
  }

  /** What goes wrong between the checks is a failure too; nothing is counted when nothing does. */
  async guard(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.add({ name: 'the run', seconds: 0, failure: messageOf(error) })
    }
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
      this.#say(`FAIL  ${name}  ${time}\n${failure.replace(/^/gm, '      ')}`)
    }
  }

  /** The last lines of the run. Returns the exit status. */
  end(): number {
    for (const name of this.#failed) this.#say(`failed: ${name}`)
    this.#say(`${this.#passed} passed, ${this.#failed.length} failed`)
    return this.#failed.length === 0 && this.#passed > 0 ? 0 : 1
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
