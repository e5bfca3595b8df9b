// A folder per run that says whose it is, so that the next run removes what one that was killed has left.
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { identify } from '../lab/places.ts'

const PREFIX = 'sinabro-vm-'

let made = 0

/** Named after this process; gone with `remove`, or when the next run looks. */
export function makeScratch(parent = tmpdir()): string {
  sweepScratch(parent)
  const own = identify(process.pid)
  const name = `${PREFIX}${process.pid}-${own?.startTicks ?? 0}-${made++}`
  const dir = join(parent, name)
  mkdirSync(dir)
  return dir
}

export function removeScratch(dir: string): void {
  rmSync(dir, { recursive: true, force: true })
}

/** Removes the folders of processes that are no more. */
export function sweepScratch(parent: string): void {
  for (const name of existsSync(parent) ? readdirSync(parent) : []) {
    const [, pid, startTicks] = /^sinabro-vm-(\d+)-(\d+)-/.exec(name) ?? []
    if (pid === undefined || identify(Number(pid))?.startTicks === startTicks) continue
    removeScratch(join(parent, name))
  }
}
