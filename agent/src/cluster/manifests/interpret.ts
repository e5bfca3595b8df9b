// The objects of all files to rows: decoded by kind, duplicates and overlapping ranges refused, every refusal with its place.
import { numbered, problem, withoutOverlaps } from '../claims.ts'
import { DecodeError } from '../decode.ts'
import { decodeEndpointSlice } from '../decode-endpoint-slice.ts'
import { decodeNamespace } from '../decode-namespace.ts'
import { decodeNode } from '../decode-node.ts'
import { decodePod } from '../decode-pod.ts'
import { decodeService } from '../decode-service.ts'
import { decodeServiceCIDR } from '../decode-service-cidr.ts'
import type {
  EndpointSliceRow,
  NamespaceRow,
  NodeRow,
  PodRow,
  ProblemRow,
  ServiceCIDRRow,
  ServiceRow,
} from '../rows.ts'
import { type FoundObject, readDocuments } from './documents.ts'
import type { FileText } from './file.ts'

interface Rows {
  readonly Node: NodeRow
  readonly Pod: PodRow
  readonly Service: ServiceRow
  readonly EndpointSlice: EndpointSliceRow
  readonly ServiceCIDR: ServiceCIDRRow
  readonly Namespace: NamespaceRow
}

type Kind = keyof Rows

/** One object that could be read. */
export type Found = {
  [K in Kind]: {
    readonly where: string
    readonly kind: K
    readonly key: string
    readonly row: Rows[K]
  }
}[Kind]

export interface FileReading {
  readonly found: readonly Found[]
  readonly problems: readonly ProblemRow[]
  /** Part of the file could not be parsed, so the absence of an object in it means nothing. */
  readonly isBroken: boolean
}

export interface Intent {
  readonly nodes: readonly NodeRow[]
  readonly pods: readonly PodRow[]
  readonly services: readonly ServiceRow[]
  readonly endpointSlices: readonly EndpointSliceRow[]
  readonly serviceCIDRs: readonly ServiceCIDRRow[]
  readonly namespaces: readonly NamespaceRow[]
  readonly problems: readonly ProblemRow[]
}

const KINDS =
  'Node, Pod, Service and Namespace of v1, EndpointSlice of discovery.k8s.io/v1 and ServiceCIDR of networking.k8s.io/v1'

/** A file of nothing but mistakes fills no memory and no screen. */
const MOST_PROBLEMS = 100

export function interpretFile(file: string, text: FileText): FileReading {
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
  return { found, problems: shortened(file, problems), isBroken: errors.length > 0 }
}

function shortened(file: string, problems: readonly ProblemRow[]): readonly ProblemRow[] {
  const left = problems.length - MOST_PROBLEMS
  if (left <= 0) return problems
  const more = problem('invalid', file, `${left} more problems in this file are not listed`)
  return [...problems.slice(0, MOST_PROBLEMS), more]
}

function readObject(file: string, object: FoundObject): Found | ProblemRow {
  const where = `${file}:${object.line}`
  const { apiVersion, kind, name } = headOf(object.value)
  if (apiVersion === undefined || kind === undefined) {
    return problem('invalid', where, 'expected an object with apiVersion and kind')
  }
  const label = name === undefined ? kind : `${kind}/${name}`
  try {
    const found = decodeAs(`${apiVersion} ${kind}`, object.value, where)
    if (found !== undefined) return found
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
    return problem('invalid', `${file}:${object.lineOf(error.path)}`, error.message, label)
  }
  const message = `${kind} of ${apiVersion} is not read by this version; ${KINDS} are`
  return problem('unknown-kind', where, message, label)
}

/** Undefined for what is not read. @throws DecodeError */
function decodeAs(type: string, value: unknown, where: string): Found | undefined {
  switch (type) {
    case 'v1 Node': {
      const row = decodeNode(value)
      return { kind: 'Node', key: row.name, row, where }
    }
    case 'v1 Pod': {
      const row = decodePod(value)
      return { kind: 'Pod', key: `${row.namespace}/${row.name}`, row, where }
    }
    case 'v1 Service': {
      const row = decodeService(value)
      return { kind: 'Service', key: `${row.namespace}/${row.name}`, row, where }
    }
    case 'discovery.k8s.io/v1 EndpointSlice': {
      const row = decodeEndpointSlice(value)
      return { kind: 'EndpointSlice', key: `${row.namespace}/${row.name}`, row, where }
    }
    case 'networking.k8s.io/v1 ServiceCIDR': {
      const row = decodeServiceCIDR(value)
      return { kind: 'ServiceCIDR', key: row.name, row, where }
    }
    case 'v1 Namespace': {
      const row = decodeNamespace(value)
      return { kind: 'Namespace', key: row.name, row, where }
    }
    default:
      return undefined
  }
}

/** `readings` in the order that decides who wins: the first of two with one name, the first of two with one range. */
export function interpret(readings: Iterable<FileReading>): Intent {
  const kept = new Map<string, Found>()
  const problems: ProblemRow[] = []
  for (const reading of readings) {
    problems.push(...reading.problems)
    for (const found of reading.found) {
      const object = `${found.kind}/${found.key}`
      const first = kept.get(object)
      if (first === undefined) {
        kept.set(object, found)
        continue
      }
      const message = `already read from ${first.where}, which is kept`
      problems.push(problem('duplicate', found.where, message, object))
    }
  }
  const all = [...kept.values()]
  return {
    nodes: withoutOverlaps(
      all.filter((found) => found.kind === 'Node'),
      problems,
    ),
    pods: all.flatMap((found) => (found.kind === 'Pod' ? [found.row] : [])),
    services: all.flatMap((found) => (found.kind === 'Service' ? [found.row] : [])),
    endpointSlices: all.flatMap((found) => (found.kind === 'EndpointSlice' ? [found.row] : [])),
    serviceCIDRs: all.flatMap((found) => (found.kind === 'ServiceCIDR' ? [found.row] : [])),
    namespaces: all.flatMap((found) => (found.kind === 'Namespace' ? [found.row] : [])),
    problems: numbered(problems),
  }
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
