// The one place that makes a logger: JSON lines on standard error, written in this thread, secrets left out by name.
import { type DestinationStream, destination, type Logger, pino } from 'pino'

export type Log = Logger

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Fields that must not reach a log however deep an object a caller hands over (the pattern reaches two levels). */
const SECRETS = ['privateKey', 'presharedKey', 'password', 'token', 'authorization']

export interface LogOptions {
  readonly level: LogLevel
  readonly to?: DestinationStream
}

export function createLog({ level, to = destination({ fd: 2, sync: true }) }: LogOptions): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: describe },
      redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '(secret)' },
    },
    to,
  )
}

/** What a log line and the health page say of an error: its code, its message and its causes; the stack only if it is a bug. */
export function describe(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const code = codeOf(error)
  return {
    ...(code === undefined ? { stack: error.stack } : { code }),
    message: error.message,
    ...(error.cause === undefined ? {} : { cause: describe(error.cause) }),
  }
}

/** The stable code of an error, if whoever made it gave it one. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** No output at all: for tests and for library use. */
export const silentLog: Log = pino({ level: 'silent' })
