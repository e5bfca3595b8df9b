// The wish of the outside to stop, as an AbortSignal.

/** The first SIGTERM or SIGINT aborts it with the signal's name as reason. A second one ends the process as it would by default. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => stop.abort(name))
  }
  return stop.signal
}
