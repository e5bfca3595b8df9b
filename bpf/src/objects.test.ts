// Every object has a source, and a shipped library folder comes before the build.
import { existsSync, mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { OBJECTS, objectPath } from './objects.ts'

afterEach(() => vi.unstubAllEnvs())

test.each(OBJECTS)('%s has a source', (name) => {
  expect(existsSync(join(import.meta.dirname, `../progs/${name}.bpf.c`))).toBe(true)
})

test('objectPath() looks into the library folder first', () => {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'sinabro-lib-'))
  const built = join(import.meta.dirname, '../build/from_pod.bpf.o')
  vi.stubEnv('SINABRO_LIB_DIR', folder.path)
  expect(objectPath('from_pod')).toBe(built)
  const shipped = join(folder.path, 'from_pod.bpf.o')
  writeFileSync(shipped, '')
  expect(objectPath('from_pod')).toBe(shipped)
  vi.unstubAllEnvs()
  expect(objectPath('from_pod')).toBe(built)
})
