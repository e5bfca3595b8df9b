// A place in the code where a test may stop the world: called after each durable write, does nothing by default (ADR 0035).

/** May return a promise that never settles, or end the process. */
export type CrashPoint = (name: string) => void | Promise<void>

export const noCrash: CrashPoint = () => undefined

/** All points of this room, for tests that want each passed. */
export const IPAM_CRASH_POINTS: readonly string[] = [
  ...['written', 'renamed', 'durable'].flatMap((step) =>
    ['counters', 'record', 'renewal', 'history'].map((what) => `ipam.${what}.${step}`),
  ),
  'ipam.history.appended',
  ...['removed', 'removal-durable'].flatMap((step) =>
    ['record', 'withdrawal', 'quarantine'].map((what) => `ipam.${what}.${step}`),
  ),
  ...['moved', 'move-durable'].flatMap((step) =>
    ['set-aside', 'mended'].map((what) => `ipam.${what}.${step}`),
  ),
]
