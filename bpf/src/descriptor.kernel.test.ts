// Descriptors nobody closed: closed and complained about when their owner is collected, silent otherwise.
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { testObject } from '../testing/test-object.ts'

const module = (path: string) => new URL(path, import.meta.url).href

/** Runs in a process of its own that can collect garbage at will; returns what it warned of. */
function warningsOf(body: string): string {
  const script = `
    import { readdirSync } from 'node:fs'
    import { BpfMap } from '${module('./map.ts')}'
    import { BpfObject } from '${module('./object.ts')}'
    const create = () => BpfMap.create(
      { type: 'array', keySize: 4, valueSize: 4, maxEntries: 1, name: 'test_gc' })
    const descriptors = () => readdirSync('/proc/self/fd').length
    const collected = async (isDone) => {
      // A look through a WeakRef keeps its target until the next turn, so collect before looking.
      do {
        await new Promise((resolve) => setImmediate(resolve))
        globalThis.gc()
      } while (!isDone())
    }
    create().close()
    ${body}`
  const child = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 30_000,
  })
  expect(child.status, child.stderr).toBe(0)
  return child.stderr
}

test('a map nobody closed is closed and complained about', () => {
  const warnings = warningsOf(`
    const before = descriptors()
    create()
    await collected(() => descriptors() === before)`)
  expect(warnings).toContain('[SINABRO_BPF_NOT_CLOSED] Warning: map test_gc was never closed')
})

test('a map that was closed is not complained about', () => {
  const warnings = warningsOf(`
    const last = new WeakRef((() => { const map = create(); map.close(); return map })())
    await collected(() => last.deref() === undefined)`)
  expect(warnings).toBe('')
})

test('an object nobody loaded or closed is complained about', () => {
  const warnings = warningsOf(`
    let isWarned = false
    process.on('warning', () => { isWarned = true })
    BpfObject.open('${testObject('binding_basic')}')
    await collected(() => isWarned)`)
  expect(warnings).toMatch(/BPF object .*binding_basic.bpf.o was never closed/)
})

test('an object whose load is under way is not collected before it is done', () => {
  warningsOf(`
    const load = BpfObject.open('${testObject('binding_basic')}').load()
    globalThis.gc()
    await load`)
})
