// Builds what ships: the agent and its command line as one file, its parts in a folder beside it, and the launcher `sinabro`.
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { runStep, type Step } from '../setup/step.ts'

const folder = 'agent/build'
const bundle = `${folder}/sinabro.mjs`
const launcher = `${folder}/sinabro`
const parts = `${folder}/lib`

/** Some dependencies are CommonJS and call `require`; the parts are looked for beside the bundle unless someone says otherwise. */
const BANNER = [
  "import { createRequire as __createRequire } from 'node:module'",
  'const require = __createRequire(import.meta.url)',
  "process.env.SINABRO_LIB_DIR ??= import.meta.dirname + '/lib'",
]

/** Finds the folder it lies in, also through a link from /usr/local/bin, and the Node that came with it. */
const LAUNCHER = `#!/bin/sh
# Starts sinabro with the Node beside it, that of the source tree, or the one in PATH, whichever is there.
# A small young generation, and memory before speed: 20 MB less after a start, and ADD takes as long as without.
flags='--max-semi-space-size=2 --optimize-for-size'
# glibc keeps an arena for each thread that ever loaded a program: 80 MB instead of 23 without these.
: "\${MALLOC_ARENA_MAX:=1}" "\${MALLOC_TRIM_THRESHOLD_:=65536}"
export MALLOC_ARENA_MAX MALLOC_TRIM_THRESHOLD_
here=$(dirname "$(readlink -f "$0")")
for node in "$here/node" "$here/../../node_modules/.bin/node"; do
  [ -x "$node" ] && exec "$node" $flags "$here/sinabro.mjs" "$@"
done
exec node $flags "$here/sinabro.mjs" "$@"
`

/** Large, and only for `--kubeconfig`: a file of its own, which no other agent loads (ADR 0065). */
const kubeconfigStep: Step = {
  output: `${parts}/kubeconfig.mjs`,
  inputs: ['agent/src/cluster/kubernetes/kubeconfig.ts', 'package-lock.json'],
  command: bundling('agent/src/cluster/kubernetes/kubeconfig.ts', `${parts}/kubeconfig.mjs`, [
    `--banner:js=${BANNER.slice(0, 2).join('\n')}`,
  ]),
}

/** A thread of its own, so that tables are not made on the event loop (ADR 0094). */
const maglevStep: Step = {
  output: `${parts}/maglev-worker.mjs`,
  inputs: ['agent/src/services/maglev/*.ts', 'bpf/src/**/*.ts'],
  command: bundling('agent/src/services/maglev/worker.ts', `${parts}/maglev-worker.mjs`, []),
}

function bundling(source: string, output: string, options: string[]): [string, ...string[]] {
  return [
    'node_modules/.bin/esbuild',
    source,
    '--bundle',
    '--platform=node',
    '--target=node26',
    '--format=esm',
    '--minify-syntax',
    '--minify-whitespace',
    '--log-level=warning',
    '--legal-comments=none',
    ...options,
    `--outfile=${output}`,
  ]
}

function bundleStep(root: string): Step {
  const { version } = JSON.parse(readFileSync(join(root, 'agent/package.json'), 'utf8'))
  return {
    output: bundle,
    inputs: [
      'agent/src/**/*.ts',
      'netlink/src/**/*.ts',
      'bpf/src/**/*.ts',
      'cni/src/wire.ts',
      'package-lock.json',
    ],
    command: bundling('agent/src/main.ts', bundle, [
      `--banner:js=${BANNER.join('\n')}`,
      `--define:SINABRO_VERSION=${JSON.stringify(version)}`,
    ]),
  }
}

/** Makes what is out of date and says what it made. Parts that are not built are left out: the agent says so when it needs one. */
export function build(root: string): string[] {
  const steps = [bundleStep(root), kubeconfigStep, maglevStep]
  const made = steps.flatMap((step) => (runStep(root, step) ? [step.output] : []))
  if (put(join(root, launcher), Buffer.from(LAUNCHER))) {
    chmodSync(join(root, launcher), 0o755)
    made.push(launcher)
  }
  return [...made, ...copyParts(root)]
}

function copyParts(root: string): string[] {
  mkdirSync(join(root, parts), { recursive: true })
  const built = [
    'netlink/build/netlink.node',
    'bpf/build/libbpf.node',
    'cni/build/sinabro-cni',
    ...globSync('bpf/build/*.bpf.o', { cwd: root }),
  ]
  return built.flatMap((file) => {
    const target = `${parts}/${basename(file)}`
    if (!existsSync(join(root, file))) return []
    return copyChanged(join(root, file), join(root, target)) ? [target] : []
  })
}

/** By renaming: a file that an agent or a runtime is just using must not change under it. */
function copyChanged(from: string, to: string): boolean {
  if (existsSync(to) && readFileSync(to).equals(readFileSync(from))) return false
  copyFileSync(from, `${to}.new`)
  renameSync(`${to}.new`, to)
  return true
}

function put(path: string, bytes: Buffer): boolean {
  if (existsSync(path) && readFileSync(path).equals(bytes)) return false
  writeFileSync(path, bytes)
  return true
}
