// The same commit gives the same image wherever it is built: nothing of ours that goes into it names a folder of whoever built it.
import { globSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { OBJECTS, OWN } from './contents.ts'

const tree = dirname(dirname(import.meta.dirname))
const built = [...OWN.map(({ from }) => from).filter((from) => from.startsWith('agent/build/'))]

test.for([...built, ...globSync(OBJECTS.pattern, { cwd: tree })])(
  '%s names no folder of its builder',
  (file) => {
    const bytes = readFileSync(join(tree, file))
    for (const folder of [tree, join(homedir(), '.cargo')]) {
      expect(bytes.includes(folder), `${file} holds ${folder}`).toBe(false)
    }
  },
)
