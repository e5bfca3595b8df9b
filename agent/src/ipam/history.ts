// Which addresses were given back, oldest first: a journal that decides who is re-used last, and that may be lost without harm.
import type { DurableFolder } from './durable-folder.ts'

const FILE = 'released.log'
/** Rewritten when it has this many lines more than twice the addresses in it. */
const SLACK_LINES = 1024

export class ReleaseHistory {
  readonly #folder: DurableFolder
  /** In order of release: a Map keeps the order of insertion. */
  readonly #order: Map<string, true>
  readonly #slackLines: number
  #lineCount: number
  #rewriting: Promise<void> | undefined

  private constructor(
    folder: DurableFolder,
    order: Map<string, true>,
    lineCount: number,
    slackLines: number,
  ) {
    this.#folder = folder
    this.#order = order
    this.#lineCount = lineCount
    this.#slackLines = slackLines
  }

  static async open(folder: DurableFolder, slackLines = SLACK_LINES): Promise<ReleaseHistory> {
    const lines = ((await folder.read(FILE)) ?? '').split('\n').filter((line) => line !== '')
    const order = new Map<string, true>()
    for (const line of lines) touch(order, line)
    return new ReleaseHistory(folder, order, lines.length, slackLines)
  }

  /** Oldest first. */
  addresses(): Iterable<string> {
    return this.#order.keys()
  }

  /** Written before the record goes, so that a process killed in between forgets nothing. */
  async note(addresses: readonly string[]): Promise<void> {
    for (const address of addresses) touch(this.#order, address)
    this.#lineCount += addresses.length
    await this.#rewriting
    if (this.#lineCount > this.#order.size * 2 + this.#slackLines) {
      this.#lineCount = this.#order.size
      this.#rewriting = this.#folder
        .write(FILE, format(this.#order.keys()), 'ipam.history')
        .finally(() => {
          this.#rewriting = undefined
        })
      await this.#rewriting
    } else {
      await this.#folder.append(FILE, format(addresses), 'ipam.history')
    }
  }
}

/** A line that is no address of ours (torn by a power cut) matches no range and is never asked for. */
function touch(order: Map<string, true>, address: string): void {
  order.delete(address)
  order.set(address, true)
}

function format(addresses: Iterable<string>): string {
  return [...addresses].map((address) => `${address}\n`).join('')
}
