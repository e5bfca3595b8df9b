// Runs in the guest, from the folder that bundle.ts filled: loads every eBPF object there through our own binding.
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { BpfError, BpfObject } from '@sinabro/libbpf-ts'

const build = import.meta.dirname
/** The end of the log says what was refused. */
const LOG_LINES = 40
const objects = globSync('*.bpf.o', { cwd: build }).sort()

let failed = 0
for (const name of objects) {
  const object = BpfObject.open(join(build, name))
  try {
    await object.load()
    for (const program of object.programs.values()) {
      console.log(
        `ok ${name} ${program.name}: ${program.verifiedInstructions} instructions verified`,
      )
    }
  } catch (error) {
    failed++
    console.log(`FAIL ${name}: ${error instanceof Error ? error.message : String(error)}`)
    if (error instanceof BpfError && error.verifierLog !== undefined) {
      console.log(error.verifierLog.trimEnd().split('\n').slice(-LOG_LINES).join('\n'))
    }
  } finally {
    object.close()
  }
}
if (objects.length === 0) {
  failed++
  console.log('FAIL bpf/build has no object; run `npm run build`')
}
process.exitCode = failed === 0 ? 0 : 1
