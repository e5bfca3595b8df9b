// Programs for tests of tc filters: built from bpf-program.c at first use, as the package itself loads none.
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'

const folder = import.meta.dirname
const headers = join(
  dirname(dirname(folder)),
  `node_modules/node/node_modules/node-linux-${process.arch}/include/node`,
)

const EAGAIN = 11
const LOAD_TRIES = 5

interface Loader {
  load(verdict: number): number
}
let loader: Loader | undefined

/** The fd of a program that does nothing but return `verdict` (TC_ACT_*); closed when the test ends. */
export function testProgram(verdict: number): number {
  loader ??= build()
  let fd = -EAGAIN
  // The verifier gives up for any signal that comes, as in a process with many threads one may.
  for (let left = LOAD_TRIES; fd === -EAGAIN && left > 0; left--) fd = loader.load(verdict)
  if (fd < 0) throw new Error(`the test program does not load: errno ${-fd}`)
  onTestFinished(() => closeSync(fd))
  return fd
}

function build(): Loader {
  const output = join(dirname(folder), 'build', 'testing', 'bpf-program.node')
  mkdirSync(dirname(output), { recursive: true })
  // Under a name of its own first: another run may be loading the finished one.
  const draft = `${output}.${process.pid}`
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared']
  execFileSync('gcc', [...flags, `-I${headers}`, join(folder, 'bpf-program.c'), '-o', draft])
  renameSync(draft, output)
  const module = { exports: {} as unknown }
  process.dlopen(module, output)
  return module.exports as Loader
}
