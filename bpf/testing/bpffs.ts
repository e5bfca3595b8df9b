// A bpf file system of a test's own, so that its pins meet nobody else's and go when the test ends.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface PrivateBpffs {
  readonly path: string
  /** Safe twice. */
  unmount(): void
  [Symbol.dispose](): void
}

/** Mounts at a fresh folder; whoever asked unmounts. */
export function mountBpffs(): PrivateBpffs {
  const path = mkdtempSync(join(tmpdir(), 'sinabro-bpffs-'))
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
