// `npm run check`: format, lint, types, import rules; runs every step and fails if any of them did.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = dirname(import.meta.dirname)
const bin = (name: string): string => join(root, 'node_modules/.bin', name)

interface Outcome {
  readonly isOk: boolean
  readonly output: string
}

function run(program: string, args: readonly string[]): Outcome {
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  })
  return { isOk: status === 0, output: `${stdout ?? ''}${stderr ?? ''}`.trimEnd() }
}

/** A cruiser that reads nothing passes everything, so the modules it saw are counted against what git tracks. */
function importRules(): Outcome {
  const tracked = run('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts'])
    .output.split('\n')
    .filter(Boolean)
  const folders = ['netlink', 'bpf', 'cni', 'agent', 'test', 'setup', 'wgctrl']
  const cruise = run(process.execPath, [
    join(root, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs'),
    ...['--config', '.dependency-cruiser.mjs', '--output-type', 'json', ...folders],
  ])
  let report: CruiseReport
  try {
    report = JSON.parse(cruise.output) as CruiseReport
  } catch {
    return { isOk: false, output: cruise.output }
  }
  const seen = new Set(report.modules.map((module) => module.source))
  const missed = tracked.filter(
    (file) => folders.includes(file.split('/')[0] ?? '') && !seen.has(file),
  )
  const broken = report.summary.violations.map((v) => `${v.rule.name}: ${v.from} → ${v.to}`)
  const unseen = missed.map((file) => `not cruised: ${file}`)
  const lines = [...broken, ...unseen]
  return {
    isOk: lines.length === 0,
    output: lines.join('\n') || `${seen.size} modules, no violation`,
  }
}

interface CruiseReport {
  readonly modules: readonly { readonly source: string }[]
  readonly summary: {
    readonly violations: readonly { readonly rule: { name: string }; from: string; to: string }[]
  }
}

/** Lock files carry no addresses, so that the tree installs from any registry. */
function lockFile(): Outcome {
  const found = run('git', ['grep', '-nE', '"resolved": "https?:', '--', 'package-lock.json'])
  return { isOk: !found.isOk, output: found.isOk ? found.output : 'no addresses' }
}

/** Every relative link of a tracked Markdown file leads to something in the tree. */
function docLinks(): Outcome {
  const files = run('git', ['ls-files', '*.md']).output.split('\n').filter(Boolean)
  const dead: string[] = []
  for (const file of files) {
    const text = readFileSync(join(root, file), 'utf8').replace(/^```.*?^```/gms, '')
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:|^#/.test(target)) continue
      const path = join(root, dirname(file), target.replace(/#.*/, ''))
      if (!existsSync(path)) dead.push(`${file}: ${target}`)
    }
  }
  return { isOk: dead.length === 0, output: dead.join('\n') }
}

const steps: readonly [string, () => Outcome][] = [
  ['format and lint', () => run(bin('biome'), ['check', '--error-on-warnings', '.'])],
  [
    'types',
    () => run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.']),
  ],
  ['import rules', importRules],
  ['lock file', lockFile],
  ['links in the docs', docLinks],
]

let failed = 0
for (const [name, step] of steps) {
  const { isOk, output } = step()
  console.log(`${isOk ? 'ok  ' : 'FAIL'} ${name}${isOk ? '' : `\n${output}`}`)
  if (!isOk) failed++
}
console.log(`${steps.length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
