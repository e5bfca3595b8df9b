// The places in a pod's birth and death where a test may stop the world (ADR 0035).

/** In the order in which a life passes them. */
export const POD_CRASH_POINTS: readonly string[] = [
  ...['pods.pair', 'pods.settings', 'pods.programs', 'pods.endpoints', 'pods.inside', 'pods.up'],
  ...['pods.unwire.endpoints', 'pods.unwire.pair', 'pods.unwire.pins'],
]
