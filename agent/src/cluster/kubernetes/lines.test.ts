// A watch stream cut anywhere gives the same lines; one without an end is refused.
import { expect, test } from 'vitest'
import { LineSplitter } from './lines.ts'

const LINES = ['{"type":"ADDED","object":{"ä":"€𝄞"}}', '{}', 'x'.repeat(300)]
const STREAM = Buffer.from(`\n${LINES.join('\n')}\n\n`)

test('LineSplitter gives the same lines wherever the chunks end, inside a character too', () => {
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const splitter = new LineSplitter(1000)
    const lines = [
      ...splitter.push(STREAM.subarray(0, cut)),
      ...splitter.push(STREAM.subarray(cut)),
    ]
    expect(lines).toEqual(LINES)
  }
  const splitter = new LineSplitter(1000)
  expect([...STREAM].flatMap((byte) => splitter.push(Uint8Array.of(byte)))).toEqual(LINES)
})

test('LineSplitter keeps an unfinished line and refuses one that grows beyond its bound', () => {
  const splitter = new LineSplitter(10)
  expect(splitter.push(Buffer.from('12345'))).toEqual([])
  expect(splitter.pending).toBe(5)
  expect(splitter.push(Buffer.from('67890\nab'))).toEqual(['1234567890'])
  expect(() => splitter.push(Buffer.from('x'.repeat(9)))).toThrow(
    expect.objectContaining({ code: 'too-large' }),
  )
})
