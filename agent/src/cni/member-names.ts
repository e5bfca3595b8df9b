// Names in a runtimeConfig: containerd's library writes those of its Go structs (HostPort, IngressRate), the conventions say hostPort.

/** The members under their names in the conventions. Of two spellings of one name that of the conventions counts. */
export function membersByName(value: object): Readonly<Record<string, unknown>> {
  const entries = Object.entries(value)
  const inGo = entries.map(([name, member]) => [
    `${name[0]?.toLowerCase()}${name.slice(1)}`,
    member,
  ])
  return { ...Object.fromEntries(inGo), ...value }
}
