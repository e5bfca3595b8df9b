// A window onto a real kernel object that counts what is asked of it, by the names of member and method.

export type Calls = Map<string, number>

/** The object itself, members that are objects included; every call adds to `calls` under `prefix.member.method`. */
export function counting<T extends object>(target: T, calls: Calls, prefix: string): T {
  return new Proxy(target, {
    get(from, key) {
      const value: unknown = Reflect.get(from, key, from)
      const name = `${prefix}.${String(key)}`
      if (typeof value === 'function') {
        return (...args: unknown[]): unknown => {
          calls.set(name, (calls.get(name) ?? 0) + 1)
          return Reflect.apply(value, from, args)
        }
      }
      // The map below a typed map is walked directly, too.
      return typeof value === 'object' && value !== null ? counting(value, calls, name) : value
    },
  })
}
