// Builds cni/build/sinabro-cni: the sources as one script (esbuild), the script as bytecode inside the native host (cargo).
import { runStep, type Step } from '../setup/step.ts'

const script = 'cni/build/script.js'
const executable = 'cni/build/sinabro-cni'

const steps: readonly Step[] = [
  {
    output: script,
    inputs: ['cni/src/*.ts'],
    command: [
      'node_modules/.bin/esbuild',
      'cni/src/main.ts',
      '--bundle',
      '--format=esm',
      '--target=es2023',
      '--platform=neutral',
      '--log-level=warning',
      `--outfile=${script}`,
    ],
  },
  {
    output: executable,
    // A change that leaves the script as it was, say in a test, ends here.
    inputs: [
      script,
      'cni/host/src/*',
      'cni/host/Cargo.*',
      'cni/host/.cargo/*',
      'cni/host/build.sh',
    ],
    command: ['sh', 'cni/host/build.sh', script, executable],
  },
]

/** Makes what is out of date and says what it made. Needs no network once the crates are there. */
export function build(root: string): string[] {
  return steps.filter((step) => runStep(root, step)).map((step) => step.output)
}

if (import.meta.main) {
  for (const output of build(import.meta.dirname.replace(/\/cni$/, '')))
    console.log(`built ${output}`)
}
