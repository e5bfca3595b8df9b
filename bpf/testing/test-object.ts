// Objects that exist for tests only: bpf/tests/NAME.bpf.c, compiled when a source is newer.
import { execFileSync } from 'node:child_process'
import { globSync, mkdirSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'

const bpf = join(import.meta.dirname, '..')
const triplets: Readonly<Record<string, string>> = {
  x64: 'x86_64-linux-gnu',
  arm64: 'aarch64-linux-gnu',
}

/** The path of the built object. */
export function testObject(name: string): string {
  const source = join(bpf, `tests/${name}.bpf.c`)
  const output = join(bpf, `build/tests/${name}.bpf.o`)
  // A test includes the program it tests.
  const sources = globSync(['lib/*.h', 'progs/*.c', 'tests/*.h'], { cwd: bpf })
  const newest = Math.max(...[source, ...sources.map((one) => join(bpf, one))].map(modified))
  if (modified(output) > newest) return output
  mkdirSync(join(bpf, 'build/tests'), { recursive: true })
  // Test files run side by side: each writes its own and the last one wins whole.
  const own = `${output}.${process.pid}`
  execFileSync('clang-16', [
    ...['-target', 'bpf', '-O2', '-g', '-mcpu=v3', '-Wall', '-Werror'],
    ...['-I', join(bpf, 'lib'), '-I', `/usr/include/${triplets[process.arch]}`],
    ...['-c', source, '-o', own],
  ])
  renameSync(own, output)
  return output
}

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
