// Decodes and checks what the executable itself needs of the network configuration; the rest goes to the agent as it is.
import { quote } from './environment.ts'
import { CniError } from './errors.ts'
import { parseResult } from './result.ts'
import { isAtLeast, isVersion, type VerbRules, type Version, versions } from './verbs.ts'
import { codes, defaults, limits, type NetworkConfig } from './wire.ts'

export type Json = Readonly<Record<string, unknown>>

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Objects and lists inside each other more often than allowed. Reads no deeper than that. */
export function isTooDeep(value: unknown, levelsLeft: number = limits.jsonDepth): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (levelsLeft === 0) return true
  return Object.values(value).some((member) => isTooDeep(member, levelsLeft - 1))
}

/** @throws CniError 6 if this is not a JSON object. */
export function decodeConfig(text: string | undefined): Json {
  if (text === undefined)
    throw new CniError(codes.decodingFailure, 'the configuration on stdin is not UTF-8')
  if (text.trim() === '')
    throw new CniError(codes.decodingFailure, 'the configuration on stdin is empty')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new CniError(
      codes.decodingFailure,
      'the configuration on stdin is not JSON',
      String(error),
    )
  }
  if (!isObject(value))
    throw new CniError(codes.decodingFailure, 'the configuration on stdin must be a JSON object')
  if (isTooDeep(value))
    throw new CniError(
      codes.decodingFailure,
      `the configuration on stdin is nested deeper than ${limits.jsonDepth} levels`,
    )
  return value
}

/** The version of the configuration. A configuration without one means 0.1.0 (specification 0.2.0), which we do not speak. */
export function parseVersion(config: Json): Version {
  const { cniVersion = '0.1.0' } = config
  if (typeof cniVersion === 'string' && isVersion(cniVersion)) return cniVersion
  const given = typeof cniVersion === 'string' ? quote(cniVersion) : typeof cniVersion
  throw new CniError(
    codes.incompatibleVersion,
    `cniVersion ${given} is not supported`,
    `supported: ${versions.join(', ')}`,
  )
}

/** A configuration whose own members have been checked, with the defaults filled in where the executable needs them. */
export interface Config {
  readonly version: Version
  readonly socket: string
  readonly stateDir: string
  readonly connectWaitMs: number
  readonly statusGraceSec: number
  /** What the agent gets: everything, `prevResult` in the shape of 1.1.0 or left out. */
  readonly network: NetworkConfig
}

/** @throws CniError 1 or 7. */
export function parseConfig(config: Json, verb: string, rules: VerbRules): Config {
  const version = parseVersion(config)
  if (!isAtLeast(version, rules.since))
    throw new CniError(
      codes.incompatibleVersion,
      `${verb} exists since version ${rules.since}, the configuration is of ${version}`,
    )
  const { prevResult, ...rest } = config
  const network = {
    ...(rules.needsAttachments ? withAttachments(rest) : rest),
    cniVersion: version,
    name: checkedName(config.name),
    type: textMember(config, 'type', 'sinabro-cni'),
  }
  return {
    version,
    socket: pathMember(config, 'socket', defaults.socket),
    stateDir: pathMember(config, 'stateDir', defaults.stateDir),
    connectWaitMs: numberMember(config, 'connectWaitMs', defaults.connectWaitMs, 25_000),
    statusGraceSec: numberMember(config, 'statusGraceSec', defaults.statusGraceSec, 86_400),
    network: withPrevResult(network, prevResult, rules),
  }
}

function withPrevResult(
  network: NetworkConfig,
  prevResult: unknown,
  rules: VerbRules,
): NetworkConfig {
  if (rules.prevResult === 'dropped') return network
  if (prevResult !== undefined && prevResult !== null)
    return { ...network, prevResult: parseResult(prevResult, 'prevResult') }
  if (rules.prevResult === 'required')
    throw new CniError(codes.invalidConfig, 'prevResult is needed and is not there')
  return network
}

const attachmentsMember = 'cni.dev/valid-attachments'
/** The name in a draft of 1.1.0. Runtimes send both for the sake of plug-ins that know only this one. */
const draftAttachmentsMember = 'cni.dev/attachments'

/**
 * No list is not an empty list: that one removes everything, and some callers write null when they forgot to fill it in.
 */
function withAttachments(config: Json): Json {
  const { [draftAttachmentsMember]: draft, ...rest } = config
  const attachments = config[attachmentsMember] ?? draft
  if (!Array.isArray(attachments))
    throw new CniError(
      codes.invalidConfig,
      `${attachmentsMember} must list the attachments to keep, and is ${show(attachments)}`,
    )
  attachments.forEach((attachment: unknown, at) => {
    const isSound =
      isObject(attachment) &&
      typeof attachment.containerID === 'string' &&
      typeof attachment.ifname === 'string'
    if (!isSound)
      throw new CniError(
        codes.invalidConfig,
        `${attachmentsMember}[${at}] must have containerID and ifname, and is ${show(attachment)}`,
      )
  })
  return { ...rest, [attachmentsMember]: attachments }
}

function checkedName(name: unknown): string {
  if (
    typeof name === 'string' &&
    name.length <= limits.networkNameLength &&
    /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)
  )
    return name
  throw new CniError(
    codes.invalidConfig,
    `name must be letters, digits, '_', '.' and '-', a letter or digit first, at most ${limits.networkNameLength}, and is ${show(name)}`,
  )
}

function textMember(config: Json, member: string, fallback: string): string {
  const value = config[member] ?? fallback
  if (typeof value === 'string') return value
  throw new CniError(codes.invalidConfig, `${member} must be text, and is ${show(value)}`)
}

function pathMember(config: Json, member: string, fallback: string): string {
  const value = textMember(config, member, fallback)
  if (/^\/[^\0]*$/.test(value) && value.isWellFormed()) return value
  throw new CniError(
    codes.invalidConfig,
    `${member} must be an absolute path, and is ${show(value)}`,
  )
}

function numberMember(config: Json, member: string, fallback: number, max: number): number {
  const value = config[member] ?? fallback
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max)
    return value
  throw new CniError(
    codes.invalidConfig,
    `${member} must be a whole number from 0 to ${max}, and is ${show(value)}`,
  )
}

function show(value: unknown): string {
  return value === undefined ? 'not set' : quote(JSON.stringify(value) ?? typeof value)
}
