// One CNI call from environment and stdin to stdout and exit code.
import { AgentUnavailable, callAgent, unavailableError } from './agent.ts'
import { type Config, decodeConfig, type Json, parseConfig, parseVersion } from './config.ts'
import { parseEnvironment, quote } from './environment.ts'
import { CniError, describe, errorBody, toCniError, withoutSwallowedPhrases } from './errors.ts'
import { checked, isSystemError, type NativeHost } from './host.ts'
import { endOutage, outageSec } from './outage.ts'
import { enqueue } from './queue.ts'
import { formatResult, mergeResults, parseResult } from './result.ts'
import {
  isQueued,
  isVerb,
  newestVersion,
  type Verb,
  type VerbRules,
  verbs,
  versions,
} from './verbs.ts'
import {
  type CniRequest,
  type CniResult,
  callTimeoutMs,
  codes,
  limits,
  type QueueEntry,
  type Sequence,
} from './wire.ts'

/** How long the caller may take to write the configuration and close stdin; less for a verb that takes less. */
const maxStdinMs = 5_000

/** The exit code. Everything to be said has been written by then. */
export function run(host: NativeHost): number {
  const startMs = host.nowMs()
  const command = host.env('CNI_COMMAND') ?? ''
  if (command === '') return about(host)
  // Until the caller's version is known, errors are in the newest.
  let version: string = newestVersion
  try {
    const stdinMs = isVerb(command) ? Math.min(maxStdinMs, callTimeoutMs[command]) : maxStdinMs
    const readConfig = () => {
      const config = decodeConfig(readStdin(host, startMs, stdinMs))
      version = parseVersion(config)
      return config
    }
    const output =
      command === 'VERSION'
        ? versionResult(readConfig)
        : runVerb(host, startMs, command, readConfig)
    return output === '' || host.stdout(`${output}\n`) >= 0 ? 0 : 1
  } catch (error) {
    const reported = toCniError(error)
    const fit = isVerb(command) && isQueued(command) ? withoutSwallowedPhrases(reported) : reported
    host.stdout(`${JSON.stringify(errorBody(fit, version))}\n`)
    return 1
  }
}

function about(host: NativeHost): number {
  host.stderr(
    [
      'sinabro-cni, the CNI plug-in of the Sinabro node network. It is called by a container runtime, not by hand:',
      'the verb comes in CNI_COMMAND, the network configuration on stdin.',
      `CNI protocol versions supported: ${versions.join(', ')}`,
      '',
    ].join('\n'),
  )
  return 0
}

/** Answers in the caller's version if it is one of ours. Callers that send nothing, or a version we do not know, still learn ours. */
function versionResult(readConfig: () => Json): string {
  let cniVersion: string = newestVersion
  try {
    cniVersion = parseVersion(readConfig())
  } catch {
    // Nothing on stdin is needed to answer this one.
  }
  return JSON.stringify({ cniVersion, supportedVersions: versions })
}

function runVerb(
  host: NativeHost,
  startMs: number,
  command: string,
  readConfig: () => Json,
): string {
  if (!isVerb(command))
    throw new CniError(
      codes.invalidEnvironment,
      `CNI_COMMAND ${quote(command)} is unknown`,
      `known: ${[...Object.keys(verbs), 'VERSION'].join(', ')}`,
    )
  const rules: VerbRules = verbs[command]
  // A fault in the environment is reported first, but in the version that stdin asks for.
  const json = settle(readConfig)
  const environment = parseEnvironment(rules, (name) => host.env(name))
  const config = parseConfig(json(), command, rules)
  if (rules.needs.includes('CNI_NETNS')) requireOtherNamespace(host, environment.netns)
  const request: CniRequest = {
    cniVersion: config.version,
    ...environment,
    config: config.network,
    sequence: readSequence(host),
  }
  const answer = askAgent(host, startMs, command, config, request)
  return command === 'ADD' ? addOutput(config, answer) : ''
}

/** Runs it now, gives its value or its error later. */
function settle<T>(compute: () => T): () => T {
  try {
    const value = compute()
    return () => value
  } catch (error) {
    return () => {
      throw error
    }
  }
}

function readStdin(host: NativeHost, startMs: number, timeoutMs: number): string | undefined {
  let bytes: Uint8Array
  try {
    bytes = checked(host.readStdin(limits.configBytes + 1, startMs + timeoutMs), 'read', 'stdin')
  } catch (error) {
    if (!isSystemError(error, 'ETIMEDOUT')) throw new CniError(codes.ioFailure, describe(error))
    throw new CniError(codes.ioFailure, `stdin was not closed within ${timeoutMs} ms`)
  }
  if (bytes.length > limits.configBytes)
    throw new CniError(
      codes.decodingFailure,
      `the configuration on stdin is longer than ${limits.configBytes} bytes`,
    )
  return host.decodeUtf8(bytes)
}

/** A container that shares our namespace has no network of its own to set up. */
function requireOtherNamespace(host: NativeHost, netns: string): void {
  try {
    if (checked(host.isSameFile('/proc/self/ns/net', netns), 'stat', netns) === 0) return
  } catch (error) {
    throw new CniError(
      codes.invalidNetns,
      `CNI_NETNS ${quote(netns)} cannot be used`,
      describe(error),
    )
  }
  throw new CniError(
    codes.invalidNetns,
    `CNI_NETNS ${quote(netns)} is the network namespace of the plug-in itself`,
  )
}

const bootIdPath = '/proc/sys/kernel/random/boot_id'

function readSequence(host: NativeHost): Sequence {
  const bootTimeUs = Math.floor(host.bootTimeUs())
  try {
    const bootId = host
      .decodeUtf8(checked(host.readFile(bootIdPath, 64), 'read', bootIdPath))
      ?.trim()
    if (bootId && /^[0-9a-f-]{36}$/.test(bootId)) return { bootId, bootTimeUs }
  } catch (error) {
    throw new CniError(codes.ioFailure, 'cannot tell which boot this is', describe(error))
  }
  throw new CniError(codes.ioFailure, `cannot tell which boot this is: ${bootIdPath} is not a UUID`)
}

function askAgent(
  host: NativeHost,
  startMs: number,
  verb: Verb,
  config: Config,
  request: CniRequest,
): Json {
  const untilMs = startMs + callTimeoutMs[verb]
  // Only ADD and CHECK have nothing better to do than to wait for an agent that is not there.
  const isWaiting = verb === 'ADD' || verb === 'CHECK'
  const retryUntilMs = isWaiting ? Math.min(startMs + config.connectWaitMs, untilMs) : startMs
  try {
    const answer = callAgent(host, config.socket, verb, request, { retryUntilMs, untilMs })
    if (verb === 'STATUS') endOutage(host, config.socket)
    return answer
  } catch (error) {
    if (!(error instanceof AgentUnavailable)) {
      if (verb === 'STATUS') endOutage(host, config.socket)
      throw error
    }
    if (verb === 'STATUS') tolerateOutage(host, config, request, error)
    else if (isQueued(verb)) queueInstead(host, config, { format: 1, verb, request }, error)
    else throw unavailableError(error)
    return {}
  }
}

/** Not ready only once the agent has been away for longer than a restart takes: the error empties the node (ADR 0022). */
function tolerateOutage(
  host: NativeHost,
  config: Config,
  request: CniRequest,
  error: AgentUnavailable,
): void {
  const sec = outageSec(host, config.socket, request.sequence)
  if (sec < config.statusGraceSec) return
  const message = `the agent has not answered for ${Math.floor(sec)} s`
  throw new CniError(codes.notAvailable, message, error.message)
}

function queueInstead(
  host: NativeHost,
  config: Config,
  entry: QueueEntry,
  error: AgentUnavailable,
): void {
  try {
    enqueue(host, config.stateDir, entry)
  } catch (queueError) {
    throw new CniError(
      codes.ioFailure,
      `${entry.verb} reached no agent and could not be queued for it`,
      `${error.message}; ${describe(queueError)}`,
    )
  }
}

function addOutput(config: Config, answer: Json): string {
  let ours: CniResult
  try {
    ours = parseResult(answer, 'result')
  } catch (error) {
    throw new CniError(codes.badAgentAnswer, 'the agent gave a bad answer', describe(error))
  }
  const { prevResult, dns } = config.network
  return formatResult(mergeResults(prevResult, ours, dns), config.version)
}
