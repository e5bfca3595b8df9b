// Runs in the guest: load-objects FOLDER loads every eBPF object there through our own binding, and says what the verifier did.
import { globSync, writeSync } from 'node:fs'
import { basename, join } from 'node:path'
import { BpfError, BpfObject } from '@sinabro/libbpf-ts'

/** One program of an object. */
export interface Loaded {
  readonly object: string
  readonly program: string
  readonly instructions: number
  /** Of the whole object, maps included: nearly all of it is the verifier's. */
  readonly loadMs: number
}

/** The end of the log says what was refused. */
const LOG_LINES = 40

export async function loadObjects(folder: string): Promise<void> {
  const objects = globSync('*.bpf.o', { cwd: folder }).sort()
  for (const file of objects) {
    const name = basename(file, '.bpf.o')
    const object = BpfObject.open(join(folder, file))
    try {
      const startMs = performance.now()
      await object.load()
      const loadMs = Math.round(performance.now() - startMs)
      for (const program of object.programs.values()) {
        const instructions = program.verifiedInstructions
        say('@@loaded', { object: name, program: program.name, instructions, loadMs })
      }
      tell(name, 'passed')
    } catch (error) {
      const log = error instanceof BpfError ? (error.verifierLog ?? '') : ''
      const tail = log.trimEnd().split('\n').slice(-LOG_LINES).join('\n')
      tell(name, 'failed', `${error instanceof Error ? error.message : String(error)}\n${tail}`)
    } finally {
      object.close()
    }
  }
  if (objects.length === 0) tell('none', 'failed', `${folder} has no object; run npm run build`)
}

function say(word: string, value: object): void {
  writeSync(1, `\n${word} ${JSON.stringify(value)}\n`)
}

function tell(name: string, state: 'passed' | 'failed', note?: string): void {
  say('@@test', { file: 'bpf/build', name, state, ms: 0, ...(note === undefined ? {} : { note }) })
}
