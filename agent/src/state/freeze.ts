// Makes a row unchangeable, all the way down.

/** Stops at what is frozen already, so that freezing a row again costs nothing. */
export function deepFreeze<T extends object>(value: T): T {
  // Typed arrays cannot be frozen; whoever puts bytes into a row keeps their hands off them.
  if (Object.isFrozen(value) || ArrayBuffer.isView(value)) return value
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner)
  }
  return Object.freeze(value)
}
