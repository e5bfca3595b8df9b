// What the Node is told of direct server return: only what it does not say already, and nothing before the devices are known.
import { expect, test } from 'vitest'
import type { NodeRow } from '../cluster/rows.ts'
import type { Annotation } from '../cluster/sink.ts'
import { Table } from '../state/table.ts'
import { announceDsr } from './announce-dsr.ts'
import { DSR_ANNOTATION, DSR_TAKEN } from './compute.ts'
import { Standing } from './standing.ts'

function start(annotations: Readonly<Record<string, string>> = {}) {
  const nodes = new Table<NodeRow>('nodes', ({ name }) => name)
  const node = { name: 'one', podCIDRs: [], internalIPs: [], labels: {} }
  const says = (said: Readonly<Record<string, string>>) =>
    nodes.upsert({ ...node, annotations: said })
  const standing = new Standing()
  const told: Annotation[] = []
  says(annotations)
  const end = announceDsr({
    ...{ nodes, nodeName: 'one', standing },
    sink: { annotation: (annotation) => told.push(annotation) },
    takesDsr: () => standing.dsrIndex !== undefined,
  })
  return { says, standing, told, end }
}

const taken = { name: DSR_ANNOTATION, value: DSR_TAKEN }

test('once the device stands, and again if somebody takes it away', () => {
  const { says, standing, told } = start()
  expect(told).toEqual([])
  standing.set(1, 2)
  expect(told).toEqual([taken])
  says({ other: 'annotation' })
  expect(told).toEqual([taken])
  says({ [DSR_ANNOTATION]: DSR_TAKEN })
  says({})
  expect(told).toEqual([taken, taken])
})

test('a Node that says so already is told nothing; one that says so in vain is', () => {
  const { standing, told } = start({ [DSR_ANNOTATION]: DSR_TAKEN })
  standing.set(1, 2)
  expect(told).toEqual([])
  standing.set(1)
  expect(told).toEqual([{ name: DSR_ANNOTATION }])
})

test('nothing after the end', () => {
  const { standing, told, end } = start()
  end()
  standing.set(1, 2)
  expect(told).toEqual([])
})
