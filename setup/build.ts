// Builds everything: the two addons (gcc), the eBPF objects (clang), the netlink package, the CNI executable and the agent's bundle.
import { existsSync, globSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { runStep, type Step } from './step.ts'

const root = dirname(import.meta.dirname)
const nodeHeaders = `node_modules/node/node_modules/node-linux-${process.arch}/include/node`

/** Plain C against N-API with the headers of the Node that will load it: the machine's own may be of another version. */
function addon(folder: string, name: string, libraries: readonly string[]): Step {
  const output = `${folder}/build/${name}.node`
  const sources = globSync(`${folder}/native/*.c`, { cwd: root }).sort()
  const flags = ['-std=gnu11', '-O2', '-g0', '-Wall', '-Wextra', '-Werror', '-fPIC']
  return {
    output,
    inputs: [`${folder}/native/*`],
    command: [
      'gcc',
      ...flags,
      '-fvisibility=hidden',
      '-shared',
      `-I${nodeHeaders}`,
      ...sources,
      '-o',
      output,
      ...libraries,
    ],
  }
}

/** `cpu=v3` (32-bit ALU, all jumps) is understood by every kernel we run on; BTF comes from -g. */
function bpfObject(source: string, folder: string): Step {
  const output = `${folder}/${basename(source, '.c')}.o`
  return {
    output,
    // Tests include the programs they test.
    inputs: [source, 'bpf/lib/*.h', 'bpf/tests/*.h', 'bpf/progs/*.c'],
    command: [
      'clang-16',
      ...['-target', 'bpf', '-O2', '-g', '-mcpu=v3', '-Wall', '-Werror'],
      // The same object wherever the tree lies.
      '-fdebug-compilation-dir=.',
      ...['-I', 'bpf/lib', '-I', `/usr/include/${debianTriplet()}`],
      ...['-c', source, '-o', output],
    ],
  }
}

function debianTriplet(): string {
  return process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
}

/** What a package's own build.ts exports: makes what is out of date, names what it made. */
interface Builder {
  build(root: string): Promise<string[]> | string[]
}

const steps: Step[] = [
  addon('netlink', 'netlink', []),
  addon('bpf', 'libbpf', ['-lbpf']),
  ...globSync('bpf/progs/*.bpf.c', { cwd: root }).map((file) => bpfObject(file, 'bpf/build')),
  ...globSync('bpf/tests/*.bpf.c', { cwd: root }).map((file) => bpfObject(file, 'bpf/build/tests')),
]

for (const step of steps) {
  if (runStep(root, step)) console.log(`built ${step.output}`)
}
for (const builder of ['netlink/build.ts', 'cni/build.ts', 'agent/build.ts']) {
  if (!existsSync(join(root, builder))) continue
  const { build } = (await import(join(root, builder))) as Builder
  for (const output of await build(root)) console.log(`built ${output}`)
}
