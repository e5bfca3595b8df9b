// The vocabulary of the decoders of Kubernetes objects: what is expected at which path, and what was found instead.
import { formatIp, parseIp, parsePrefix } from '@sinabro/node-netlink'
import type { Protocol } from './rows.ts'

export type Path = readonly (string | number)[]

export class DecodeError extends Error {
  override readonly name = 'DecodeError'
  readonly code = 'invalid'
  readonly path: Path

  constructor(path: Path, message: string) {
    super(`${formatPath(path)}: ${message}`)
    this.path = path
  }
}

/** A value and where it stands, so that every complaint can say where. */
export class Field {
  readonly value: unknown
  readonly #parent: Field | undefined
  readonly #name: string | number

  constructor(value: unknown, parent?: Field, name: string | number = '') {
    this.value = value
    this.#parent = parent
    this.#name = name
  }

  /** Put together only when something is wrong: there are millions of fields. */
  get path(): Path {
    return this.#parent === undefined ? [] : [...this.#parent.path, this.#name]
  }

  /** YAML's null stands for absent, as in Kubernetes. */
  get isAbsent(): boolean {
    return this.value === undefined || this.value === null
  }

  /** A member of an object; absent if the object itself is. @throws DecodeError */
  at(name: string): Field {
    return new Field(this.isAbsent ? undefined : this.object()[name], this, name)
  }

  object(): Readonly<Record<string, unknown>> {
    const { value } = this
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.expected('an object')
    }
    return value as Record<string, unknown>
  }

  string(): string {
    if (typeof this.value !== 'string') throw this.expected('a string')
    return this.value
  }

  optionalString(): string | undefined {
    return this.isAbsent ? undefined : this.string()
  }

  optionalBoolean(): boolean | undefined {
    if (this.isAbsent) return undefined
    if (typeof this.value !== 'boolean') throw this.expected('true or false')
    return this.value
  }

  wholeNumber(least: number, most: number): number {
    const { value } = this
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) {
      return value
    }
    throw this.expected(`a whole number from ${least} to ${most}`)
  }

  oneOf<Word extends string>(words: readonly Word[]): Word {
    const found = words.find((word) => word === this.value)
    if (found === undefined) throw this.expected(`one of ${words.join(', ')}`)
    return found
  }

  /** Empty when absent. */
  list(): Field[] {
    if (this.isAbsent) return []
    if (!Array.isArray(this.value)) throw this.expected('a list')
    return this.value.map((item, index) => new Field(item, this, index))
  }

  /** Labels or annotations; empty when absent. */
  stringMap(): Record<string, string> {
    if (this.isAbsent) return {}
    const pairs = Object.keys(this.object()).map((name) => [name, this.at(name).string()])
    return Object.fromEntries(pairs) as Record<string, string>
  }

  /** Canonical text of an address. */
  address(): string {
    const text = this.string()
    try {
      return formatIp(parseIp(text).bytes)
    } catch {
      throw this.expected('an IP address')
    }
  }

  /** Canonical text of a range. */
  prefix(): string {
    const text = this.string()
    try {
      const { bytes, prefixLen } = parsePrefix(text)
      return `${formatIp(bytes)}/${prefixLen}`
    } catch {
      throw this.expected(
        'a range such as 10.244.1.0/24 or fd00:1::/64, with no bits after the prefix',
      )
    }
  }

  expected(what: string): DecodeError {
    return new DecodeError(this.path, `expected ${what}, found ${show(this.value)}`)
  }
}

/** RFC 1123 subdomain, as Kubernetes wants names of Nodes and Pods. */
const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/

export function decodeName(field: Field): string {
  const name = field.string()
  if (name.length > 253 || !NAME.test(name)) throw field.expected('a name (RFC 1123)')
  return name
}

/** What names an object that lives in a namespace. */
export function decodeMetadata(metadata: Field): { namespace: string; name: string; uid?: string } {
  const namespace = metadata.at('namespace')
  const uid = metadata.at('uid').optionalString()
  return {
    namespace: namespace.isAbsent ? 'default' : decodeName(namespace),
    name: decodeName(metadata.at('name')),
    ...(uid === undefined ? {} : { uid }),
  }
}

/** TCP where absent. */
export function decodeProtocol(field: Field): Protocol {
  return field.isAbsent ? 'TCP' : field.oneOf(['TCP', 'UDP', 'SCTP'])
}

export function decodePort(field: Field): number {
  return field.wholeNumber(1, 65_535)
}

function formatPath(path: Path): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
    .join('')
    .slice(1)
}

function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  const text = JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}
