// Puts the parts together as one file: what `kubectl apply -f deploy/sinabro.yaml` takes. `sh setup/node.sh deploy/render.ts` writes it.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const HEAD = `# Sinabro, all that a cluster needs. Made of deploy/parts by deploy/render.ts: change those.
`

export const RENDERED = join(import.meta.dirname, 'sinabro.yaml')

/** In the order of the kustomization, so that both give the same. */
export function render(): string {
  const parts = join(import.meta.dirname, 'parts')
  const list = readFileSync(join(parts, 'kustomization.yaml'), 'utf8')
  const files = [...list.matchAll(/^ {2}- (.+\.yaml)$/gm)].map(([, name = '']) => name)
  return HEAD + files.map((name) => `---\n${readFileSync(join(parts, name), 'utf8')}`).join('')
}

if (import.meta.main) writeFileSync(RENDERED, render())
