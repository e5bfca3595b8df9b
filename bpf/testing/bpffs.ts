// A bpf file system of a test's own, so that its pins meet nobody else's and go when the test ends, or when the next run begins.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { leftovers } from './leftovers.ts'

export interface PrivateBpffs {
  readonly path: string
  /** Safe twice. */
  unmount(): void
  [Symbol.dispose](): void
}

const PREFIX = 'sinabro-bpffs-'
let hasSwept = false

/** Mounts at a fresh folder; whoever asked unmounts. What killed runs left mounted goes first. */
export function mountBpffs(): PrivateBpffs {
  if (!hasSwept) sweep()
  hasSwept = true
  const path = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`))
  execFileSync('mount', ['-t', 'bpf', 'bpf', path])
  let isMounted = true
  const unmount = () => {
    if (!isMounted) return
    isMounted = false
    execFileSync('umount', ['--lazy', path])
    rmdirSync(path)
  }
  return { path, unmount, [Symbol.dispose]: unmount }
}

function sweep(): void {
  for (const path of leftovers(tmpdir(), PREFIX)) {
    try {
      execFileSync('umount', ['--lazy', path], { stdio: 'ignore' })
    } catch {
      // Killed before it mounted, or somebody else was first.
    }
    try {
      rmdirSync(path)
    } catch {
      // Gone already.
    }
  }
}
