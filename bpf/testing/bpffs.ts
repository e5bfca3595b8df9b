// A bpf file system of a test's own, so that its pins meet nobody else's and go when the test ends, or when the next run begins.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface PrivateBpffs {
  readonly path: string
  /** Safe twice. */
  unmount(): void
  [Symbol.dispose](): void
}

const PREFIX = 'sinabro-bpffs-'
const PATTERN = /^sinabro-bpffs-([0-9]+)-/
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

/** A folder names the process that mounts there; several runs may sweep at once, and the first one wins. */
function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    const [, pid] = PATTERN.exec(name) ?? []
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue
    const path = join(tmpdir(), name)
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
