// Reads what an earlier agent left in the state folder: records, numbers, the history of releases. What cannot be read is set aside.
import { join } from 'node:path'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import type { Allocation } from './allocation.ts'
import { Counters } from './counters.ts'
import { type CrashPoint, noCrash } from './crash-point.ts'
import { DurableFolder } from './durable-folder.ts'
import type { Era } from './era.ts'
import { ReleaseHistory } from './history.ts'
import { Quarantine } from './quarantine.ts'
import { decodeRecord, RecordError } from './record.ts'

export interface IpamOptions {
  /** The state directory; everything of ours is below it. */
  readonly dir: string
  readonly clock: Clock
  readonly log: Log
  /** Written into records, for whoever wants to know whether an attachment can have outlived a reboot. */
  readonly era?: Era
  readonly crashPoint?: CrashPoint
  /** Of the history of releases, before it is rewritten: for tests. */
  readonly historySlackLines?: number
}

/** What is on disk, open for changes. */
export interface Store {
  readonly records: DurableFolder
  readonly quarantine: Quarantine
  readonly counters: Counters
  readonly history: ReleaseHistory
}

/** @throws IpamError */
export async function load(
  options: IpamOptions,
): Promise<Store & { readonly allocations: readonly Allocation[] }> {
  const { dir, crashPoint = noCrash, clock, log } = options
  const state = await DurableFolder.open(dir, crashPoint)
  const records = await DurableFolder.open(join(dir, 'allocations'), crashPoint)
  const aside = await DurableFolder.open(join(dir, 'quarantine'), crashPoint)
  const { quarantine } = await Quarantine.open(aside, records)
  const allocations = await readRecords(records, quarantine, log)
  for (const { file, reason, addresses } of quarantine.list()) {
    log.error(
      { file: join(aside.path, file), reason, addresses },
      'record set aside: its addresses stay out of use until its pod is deleted or the file is removed and the agent restarted',
    )
  }
  const counters = await Counters.open({
    folder: state,
    now: clock.now(),
    highestIncarnation: Math.max(0, ...allocations.map(({ incarnation }) => incarnation)),
    highestEndpointId: Math.max(0, ...allocations.map(({ endpointId }) => endpointId)),
  })
  const history = await ReleaseHistory.open(state, options.historySlackLines)
  return { records, quarantine, counters, history, allocations }
}

async function readRecords(
  records: DurableFolder,
  quarantine: Quarantine,
  log: Log,
): Promise<Allocation[]> {
  const allocations: Allocation[] = []
  const owners = new Map<string, string>()
  for (const name of await records.names()) {
    try {
      const allocation = decodeRecord(name, (await records.read(name)) ?? '')
      const rival = allocation.addresses.find((address) => owners.has(address))
      if (rival !== undefined) {
        throw new RecordError(`${rival} is also in the record ${owners.get(rival)}`)
      }
      for (const address of allocation.addresses) owners.set(address, name)
      allocations.push(allocation)
    } catch (error) {
      if (!(error instanceof RecordError)) throw error
      await quarantine.setAside(name, error, records)
      log.error({ record: name, reason: error.message }, 'record set aside')
    }
  }
  return allocations
}
