// Small C programs a benchmark needs, where Node's own cost would drown what is measured: compiled when they are needed.
import { join } from 'node:path'
import { run } from '../lab/index.ts'

/** Path of the executable made from `NAME.c` of this folder, in `dir`. */
export async function compile(
  name: string,
  dir: string,
  flags: readonly string[] = [],
): Promise<string> {
  const output = join(dir, name)
  const source = join(import.meta.dirname, `${name}.c`)
  const always = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror']
  await run(['gcc', ...always, ...flags, source, '-o', output])
  return output
}
