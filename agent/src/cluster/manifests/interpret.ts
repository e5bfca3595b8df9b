// The objects of all files to rows: decoded by kind, duplicates and overlapping ranges refused, every refusal with its place.
import { DecodeError } from '../decode.ts'
import { decodeNode } from '../decode-node.ts'
import { decodePod } from '../decode-pod.ts'
import { findOverlaps } from '../overlap.ts'
import type { NodeRow, PodRow, ProblemRow } from '../rows.ts'
import { type FoundObject, readDocuments } from './documents.ts'

/** One object that could be read. */
export type Found = { readonly where: string } & (
  | { readonly kind: 'Node'; readonly key: string; readonly row: NodeRow }
  | { readonly kind: 'Pod'; readonly key: string; readonly row: PodRow }
)

export interface FileReading {
  readonly found: readonly Found[]
  readonly problems: readonly ProblemRow[]
  /** Part of the file could not be parsed, so the absence of an object in it means nothing. */
  readonly isBroken: boolean
}

export interface Intent {
  readonly nodes: readonly NodeRow[]
  readonly pods: readonly PodRow[]
  readonly problems: readonly ProblemRow[]
}

const KINDS = 'Node and Pod of v1'

export function readFileText(file: string, text: string): FileReading {
  const { objects, errors } = readDocuments(text)
  const found: Found[] = []
  const problems: ProblemRow[] = errors.map(({ line, message }) =>
    problem('yaml', `${file}:${line}`, message),
  )
  for (const object of objects) {
    const reading = readObject(file, object)
    if ('code' in reading) problems.push(reading)
    else found.push(reading)
  }
  return { found, problems, isBroken: errors.length > 0 }
}

function readObject(file: string, object: FoundObject): Found | ProblemRow {
  const where = `${file}:${object.line}`
  const { apiVersion, kind, name } = headOf(object.value)
  if (apiVersion === undefined || kind === undefined) {
    return problem('invalid', where, 'expected an object with apiVersion and kind')
  }
  const label = name === undefined ? kind : `${kind}/${name}`
  try {
    if (apiVersion === 'v1' && kind === 'Node') {
      const row = decodeNode(object.value)
      return { kind, key: row.name, row, where }
    }
    if (apiVersion === 'v1' && kind === 'Pod') {
      const row = decodePod(object.value)
      return { kind, key: `${row.namespace}/${row.name}`, row, where }
    }
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    return problem('invalid', `${file}:${object.lineOf(error.path)}`, error.message, label)
  }
  const message = `${kind} of ${apiVersion} is not read by this version; ${KINDS} are`
  return problem('unknown-kind', where, message, label)
}

/** `readings` in the order that decides who wins: the first of two with one name, the first of two with one range. */
export function interpret(readings: Iterable<FileReading>): Intent {
  const nodes = new Map<string, Found & { kind: 'Node' }>()
  const pods = new Map<string, Found & { kind: 'Pod' }>()
  const problems: ProblemRow[] = []
  for (const reading of readings) {
    problems.push(...reading.problems)
    for (const found of reading.found) {
      const first = (found.kind === 'Node' ? nodes : pods).get(found.key)
      if (first !== undefined) {
        const message = `already read from ${first.where}, which is kept`
        problems.push(problem('duplicate', found.where, message, `${found.kind}/${found.key}`))
      } else if (found.kind === 'Node') nodes.set(found.key, found)
      else pods.set(found.key, found)
    }
  }
  return {
    nodes: withoutOverlaps([...nodes.values()], problems),
    pods: [...pods.values()].map(({ row }) => row),
    problems: numbered(problems),
  }
}

function withoutOverlaps(
  nodes: readonly (Found & { kind: 'Node' })[],
  problems: ProblemRow[],
): NodeRow[] {
  const claims = nodes.flatMap(({ row }) =>
    row.podCIDRs.map((range) => ({ owner: row.name, range })),
  )
  const refused = new Map(findOverlaps(claims).map((overlap) => [overlap.refused, overlap.holder]))
  let next = 0
  return nodes.map(({ row, where }) => {
    const own = claims.slice(next, next + row.podCIDRs.length)
    next += own.length
    for (const claim of own) {
      const holder = refused.get(claim)
      if (holder === undefined) continue
      const message = `podCIDR ${claim.range} overlaps ${holder.range} of Node/${holder.owner}, which keeps it`
      problems.push(problem('overlap', where, message, `Node/${row.name}`))
    }
    if (own.length === 0) {
      const message = 'spec.podCIDRs is empty: this node can run no pods of the pod network'
      problems.push(problem('no-pod-cidrs', where, message, `Node/${row.name}`))
    }
    const podCIDRs = own.filter((claim) => !refused.has(claim)).map(({ range }) => range)
    return podCIDRs.length === own.length ? row : { ...row, podCIDRs }
  })
}

export function problem(
  code: ProblemRow['code'],
  where: string,
  message: string,
  object?: string,
): ProblemRow {
  return {
    key: `${where} ${code}`,
    code,
    where,
    message,
    ...(object === undefined ? {} : { object }),
  }
}

/** Two problems of one kind at one place keep apart. */
function numbered(problems: readonly ProblemRow[]): ProblemRow[] {
  const seen = new Map<string, number>()
  return problems.map((row) => {
    const count = (seen.get(row.key) ?? 0) + 1
    seen.set(row.key, count)
    return count === 1 ? row : { ...row, key: `${row.key} ${count}` }
  })
}

function headOf(value: unknown): { apiVersion?: string; kind?: string; name?: string } {
  if (typeof value !== 'object' || value === null) return {}
  const apiVersion = textOf(value, 'apiVersion')
  const kind = textOf(value, 'kind')
  const metadata = 'metadata' in value ? value.metadata : undefined
  const name =
    typeof metadata === 'object' && metadata !== null ? textOf(metadata, 'name') : undefined
  return {
    ...(apiVersion === undefined ? {} : { apiVersion }),
    ...(kind === undefined ? {} : { kind }),
    ...(name === undefined ? {} : { name }),
  }
}

function textOf(from: object, member: string): string | undefined {
  const value: unknown = member in from ? (from as Record<string, unknown>)[member] : undefined
  return typeof value === 'string' ? value : undefined
}
