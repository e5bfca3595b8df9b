// The CNI_* variables as a table: name, check. What a verb needs of them is in verbs.ts.
import { CniError } from './errors.ts'
import type { VerbRules } from './verbs.ts'
import { codes, limits } from './wire.ts'

export interface Environment {
  readonly containerId: string
  readonly netns: string
  readonly ifname: string
  readonly args: string
  readonly path: string
}

/** Says what is wrong with a value, or nothing. The value may be any text, also none. */
type Check = (value: string) => string | undefined

const variables = [
  { name: 'CNI_CONTAINERID', member: 'containerId', check: checkContainerId },
  { name: 'CNI_NETNS', member: 'netns', check: checkNetns },
  { name: 'CNI_IFNAME', member: 'ifname', check: checkInterfaceName },
  { name: 'CNI_ARGS', member: 'args', check: checkText },
  { name: 'CNI_PATH', member: 'path', check: checkText },
] as const satisfies readonly { name: string; member: keyof Environment; check: Check }[]

const ofAttachment: readonly string[] = ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME']

/** @throws CniError 4 that names every variable at fault, not only the first. */
export function parseEnvironment(
  rules: VerbRules,
  env: (name: string) => string | undefined,
): Environment {
  const values = { containerId: '', netns: '', ifname: '', args: '', path: '' }
  const faults: string[] = []
  for (const { name, member, check } of variables) {
    if (rules.needs.length === 0 && ofAttachment.includes(name)) continue
    const value = env(name) ?? ''
    const isNeeded = rules.needs.some((needed) => needed === name)
    const fault = value === '' ? isNeeded && 'is needed and is not set' : check(value)
    if (fault) faults.push(`${name} ${fault}`)
    else values[member] = value
  }
  if (faults.length > 0) throw new CniError(codes.invalidEnvironment, faults.join('; '))
  return values
}

export function checkContainerId(value: string): string | undefined {
  if (value.length > limits.containerIdLength)
    return `has ${value.length} characters, at most ${limits.containerIdLength} are allowed`
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(value))
    return `must be letters, digits, '_', '.' and '-', a letter or digit first, and is ${quote(value)}`
  return undefined
}

/** What the kernel takes for a device name (dev_valid_name in net/core/dev.c), and no control characters. */
export function checkInterfaceName(value: string): string | undefined {
  if (value.length > limits.interfaceNameLength)
    return `has ${value.length} characters, at most ${limits.interfaceNameLength} are allowed`
  if (value === '.' || value === '..' || !/^[!-.0-9;-~]+$/.test(value))
    return `must be printable ASCII without '/', ':' and white space, and neither '.' nor '..', and is ${quote(value)}`
  return undefined
}

/** PATH_MAX of linux/limits.h, with its NUL. */
const pathMaxBytes = 4096

function checkNetns(value: string): string | undefined {
  if (!value.startsWith('/')) return `must be an absolute path, and is ${quote(value)}`
  if (value.length >= pathMaxBytes) return `has ${value.length} characters, longer than any path`
  return checkText(value)
}

/** The host puts U+FFFD where the bytes are not UTF-8. */
function checkText(value: string): string | undefined {
  return value.includes('\uFFFD') ? 'is not UTF-8' : undefined
}

/** For messages: one line, never long. */
export function quote(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value)
}
