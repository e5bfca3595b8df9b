// Text for people: tables without colour and without cutting anything off, ages and figures as kubectl writes them.

/** Columns as wide as their widest cell, two spaces between; the last one is left ragged. */
export function formatTable(table: readonly (readonly string[])[]): string {
  const rows = table.map((row) => row.map(printable))
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, cell.length)
    }
  }
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Names and messages come from files and callers: what would steer a terminal, or turn text around, is shown instead. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}

export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

export function shorten(containerId: string): string {
  return containerId.length > 12 ? `${containerId.slice(0, 12)}…` : containerId
}

/** As kubectl writes ages: the two largest units. */
export function age(fromMs: number, toMs: number): string {
  const seconds = Math.max(0, Math.floor((toMs - fromMs) / 1000))
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  const days = Math.floor(hours / 24)
  if (days > 0) return `${days}d${hours % 24}h`
  if (hours > 0) return `${hours}h${minutes % 60}m`
  if (minutes > 0) return `${minutes}m${seconds % 60}s`
  return `${seconds}s`
}

/** '12 ns', '3.4 µs', '5.6 ms'. */
export function duration(ns: number): string {
  if (ns < 1000) return `${Math.round(ns)} ns`
  return ns < 1e6 ? `${(ns / 1e3).toFixed(1)} µs` : `${(ns / 1e6).toFixed(1)} ms`
}
