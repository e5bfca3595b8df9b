// The package works in a process that forbids code from strings, which is how decoders are compiled elsewhere.
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'

test('descriptions are interpreted where code from strings is forbidden', () => {
  const script = `
    import { attrs } from ${JSON.stringify(import.meta.resolve('./codec/attrs.ts'))}
    import { u32 } from ${JSON.stringify(import.meta.resolve('./codec/codec.ts'))}
    import { Reader } from ${JSON.stringify(import.meta.resolve('./codec/reader.ts'))}
    const codec = attrs('thing', { size: [1, u32] })
    const bytes = Uint8Array.of(8, 0, 1, 0, 7, 0, 0, 0)
    let sum = 0
    for (let count = 0; count < 2000; count++) sum += codec.decode(new Reader(bytes)).size
    console.log(sum)
  `
  const flags = ['--disallow-code-generation-from-strings', '--input-type=module-typescript']
  const { stdout } = spawnSync(process.execPath, [...flags, '--eval', script], {
    encoding: 'utf8',
  })
  expect(stdout.trim()).toBe('14000')
})
