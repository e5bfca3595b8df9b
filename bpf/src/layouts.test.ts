// The codecs of layouts.ts and the numbers of drop-reasons.ts against the C they mirror, by the BTF of the built objects.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { compareLayout, readBtf } from '../testing/index.ts'
import { OUTCOMES, OUTCOMES_MAX, PLACES, PLACES_MAX } from './drop-reasons.ts'
import { DSR_BACKENDS_MAX, decodeWay, encodeWay, LAYOUTS } from './layouts.ts'
import { OBJECTS, objectPath } from './objects.ts'

const typesHeader = readFileSync(new URL('../lib/types.h', import.meta.url), 'utf8')
const outcomesHeader = readFileSync(new URL('../lib/outcomes.h', import.meta.url), 'utf8')

test('every struct of types.h has a codec', () => {
  const inC = Array.from(typesHeader.matchAll(/^struct (\w+) \{/gm), ([, name]) => name)
  expect(inC.filter((name) => name !== 'addr').sort()).toEqual(
    LAYOUTS.map(({ name }) => name).sort(),
  )
})

test('codecs and objects agree', () => {
  const found = new Set<string>()
  for (const object of OBJECTS) {
    const btf = readBtf(objectPath(object))
    for (const layout of LAYOUTS) {
      if (!btf.structs.has(layout.name)) continue
      found.add(layout.name)
      expect(compareLayout(layout, btf), object).toEqual([])
    }
  }
  expect([...found].sort()).toEqual(LAYOUTS.map(({ name }) => name).sort())
})

function enumerators(prefix: RegExp): Map<string, number> {
  const found = outcomesHeader.matchAll(/^\t(\w+) = (\d+),/gm)
  return new Map(
    Array.from(found, ([, name = '', number]) => [name, Number(number)] as const).filter(([name]) =>
      prefix.test(name),
    ),
  )
}

test('outcomes.h and drop-reasons.ts have the same numbers', () => {
  const inC = enumerators(/^(PASS|DROP)_(?!FIRST|LAST|MORE)/)
  expect(new Map(OUTCOMES.map(({ symbol, number }) => [symbol, number]))).toEqual(inC)
  expect(enumerators(/^OUTCOMES_MAX/).get('OUTCOMES_MAX')).toBe(OUTCOMES_MAX)
})

test('outcomes.h and drop-reasons.ts have the same places', () => {
  const inC = enumerators(/^PLACE_/)
  expect(new Map(PLACES.map((place, i) => [`PLACE_${place.toUpperCase()}`, i]))).toEqual(inC)
  expect(enumerators(/^PLACES_MAX/).get('PLACES_MAX')).toBe(PLACES_MAX)
})

test('dsr.h and service-layouts.ts have the same bound of backends', () => {
  const header = readFileSync(new URL('../lib/dsr.h', import.meta.url), 'utf8')
  expect(header).toContain(`#define DSR_BACKENDS_MAX ${DSR_BACKENDS_MAX}\n`)
})

test('names of outcomes are unique and fit their counters', () => {
  expect(new Set(OUTCOMES.map(({ name }) => name)).size).toBe(OUTCOMES.length)
  expect(new Set(OUTCOMES.map(({ number }) => number)).size).toBe(OUTCOMES.length)
  for (const { number } of OUTCOMES) expect(number).toBeLessThan(OUTCOMES_MAX)
})

test('decodeWay() reads what encodeWay() writes', () => {
  const way = { kind: 'node', node: 0xabcdef, generation: 0xfedcba98 } as const
  expect(encodeWay(way)).toBe(0x02abcdef_fedcba98n)
  expect(decodeWay(encodeWay(way))).toEqual(way)
  expect(decodeWay(0n)).toBeUndefined()
  expect(decodeWay(9n << 56n)).toBeUndefined()
})
