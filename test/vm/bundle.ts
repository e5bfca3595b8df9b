// Puts a test and all it loads into one folder, as the shipped agent is laid out: in emulation every file less is time saved.
import { copyFileSync, globSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { build } from 'esbuild'

export interface Bundle {
  /** A shell command that runs it. */
  readonly command: string
  remove(): void
}

const TREE = join(import.meta.dirname, '..', '..')
const LOADED = ['netlink/build/*.node', 'bpf/build/*.node', 'bpf/build/*.bpf.o']

export async function bundle(entry: string): Promise<Bundle> {
  const dir = mkdtempSync(join(tmpdir(), 'sinabro-vm-lib-'))
  for (const file of globSync(LOADED, { cwd: TREE })) {
    copyFileSync(join(TREE, file), join(dir, basename(file)))
  }
  const outfile = join(dir, 'test.mjs')
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'warning',
  })
  return {
    command: `SINABRO_LIB_DIR='${dir}' sh setup/node.sh '${outfile}'`,
    remove: () => rmSync(dir, { recursive: true, force: true }),
  }
}
