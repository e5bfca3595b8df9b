// Connections that stay: opened from a pod or node, and asked at any later time whether they live and who the other end sees.
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { LabError } from './errors.ts'
import { eventually } from './eventually.ts'
import type { Place } from './talk.ts'
import type { Opened, Seen, ShortReport } from './who.ts'

const PROGRAM = [process.execPath, join(import.meta.dirname, 'who.ts')]
const FRESH = join(import.meta.dirname, 'fresh.ts')

/** All of one place to one address; the other end runs `serve`. */
export class Conversations {
  readonly #child: ChildProcess
  readonly #answers: AsyncIterator<string>

  constructor(from: Place, protocol: 'tcp' | 'udp', address: string) {
    this.#child = from.machine.spawn([...PROGRAM, 'hold', protocol, address], {
      ...from.inside,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const { stdout, stdin } = this.#child
    if (stdout === null || stdin === null) throw new LabError('command', 'no pipes')
    stdin.on('error', () => undefined) // the answer that does not come says it
    this.#answers = createInterface({ input: stdout })[Symbol.asyncIterator]()
  }

  /** So many more at once, from this local port on if one is given; those that fail within a moment are not held. */
  open(count = 1, localPort = 0): Promise<Opened> {
    return this.#say(`open ${count} ${localPort}`)
  }

  /** Who each is seen as, in the order in which they were opened; null for one that no longer answers. Of UDP, by so many bytes. */
  ask(bytes = 1): Promise<readonly (Seen | null)[]> {
    return this.#say(`ask ${bytes}`)
  }

  /** All of them, in good order. */
  close(): Promise<void> {
    return this.#say('close')
  }

  /** All of them, as when a program is killed. */
  reset(): Promise<void> {
    return this.#say('reset')
  }

  async #say<T>(line: string): Promise<T> {
    this.#child.stdin?.write(`${line}\n`)
    const { value, done } = await this.#answers.next()
    if (done === true) throw new LabError('command', `conversations ended at '${line}'`)
    return JSON.parse(value) as T
  }

  /** With the end of its input the program ends, and its connections break. */
  [Symbol.dispose](): void {
    this.#child.stdin?.end()
  }
}

/** One after the other, each closed before the next, from the local port on if one is given. */
export async function shortConnections(
  from: Place,
  address: string,
  count: number,
  localPort = 0,
): Promise<ShortReport> {
  const argv = [...PROGRAM, 'short', address, String(count), String(localPort)]
  const { stdout } = await from.machine.exec(argv, { ...from.inside, timeoutMs: 600_000 })
  return JSON.parse(stdout) as ShortReport
}

export interface Target {
  readonly address: string
  readonly port: number
}

/** New connections all the time, whatever happens meanwhile, each of them asked over; behind each target somebody runs `serve`. */
export class FreshConnections {
  readonly #child: ChildProcess
  readonly #targets: readonly Target[]
  readonly #answered: number[]
  readonly #lost: string[] = []

  constructor(from: Place, targets: readonly Target[]) {
    this.#targets = targets
    this.#answered = targets.map(() => 0)
    const args = targets.map(({ address, port }) => `${address},${port}`)
    this.#child = from.machine.spawn([process.execPath, FRESH, ...args], {
      ...from.inside,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    if (this.#child.stdout === null) throw new LabError('command', 'no pipe')
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const [, number = '', said = ''] = /^(\d+) (.*)$/.exec(line) ?? []
      if (said === 'ok') this.#answered[Number(number)] = (this.#answered[Number(number)] ?? 0) + 1
      else this.#lost.push(`${args[Number(number)]}: ${said}`)
    })
  }

  /** Those that were not answered, ever. */
  get lost(): readonly string[] {
    return this.#lost
  }

  /** Until so many more were answered at each target, or one was lost. */
  async goOn(count: number): Promise<void> {
    const before = [...this.#answered]
    await eventually(`${count} connections to each of ${this.#targets.length} targets`, () => {
      const isEnough = this.#answered.every((now, i) => now >= (before[i] ?? 0) + count)
      return isEnough || this.#lost.length > 0
    })
  }

  [Symbol.dispose](): void {
    this.#child.stdin?.end()
  }
}
