// kind cannot run here; its own types read our configurations for it.
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../lab/command.ts'
import { TREE } from '../../lab/places.ts'
import { BINARIES } from '../versions.ts'
import type { Scenario } from './scenario.ts'

async function configurations(): Promise<string> {
  const files = globSync(join(TREE, 'kind/*.yaml'))
  if (files.length === 0) throw new Error('no kind/*.yaml')
  await run([join(BINARIES, 'kind-configurations'), ...files])
  return `${files.length} files`
}

export const kind: readonly Scenario[] = [
  { name: "kind's own types read the configurations in kind/", run: configurations },
]
