// CNI results: checks one from outside, merges ours into that of the plug-ins before us, writes it in the version the caller speaks.
import { CniError } from './errors.ts'
import { isAtLeast, type Version } from './verbs.ts'
import { type CniIp, type CniResult, codes, type Dns } from './wire.ts'

/**
 * A result of any version we speak, in the shape of 1.1.0: `ips[].version` goes (the address says it), the rest is a subset.
 * @throws CniError 7 that names the member at fault.
 */
export function parseResult(value: unknown, what: string): CniResult {
  const result = object(value, what)
  const interfaces = list(result.interfaces, `${what}.interfaces`).map((entry, at) => {
    const member = object(entry, `${what}.interfaces[${at}]`)
    return { ...member, name: text(member.name, `${what}.interfaces[${at}].name`) }
  })
  const ips = list(result.ips, `${what}.ips`).map((entry, at) =>
    parseIpEntry(entry, `${what}.ips[${at}]`, interfaces.length),
  )
  const routes = list(result.routes, `${what}.routes`).map((entry, at) => {
    const member = object(entry, `${what}.routes[${at}]`)
    return { ...member, dst: text(member.dst, `${what}.routes[${at}].dst`) }
  })
  if (result.dns === undefined || result.dns === null) return { interfaces, ips, routes }
  return { interfaces, ips, routes, dns: object(result.dns, `${what}.dns`) }
}

function parseIpEntry(entry: unknown, what: string, interfaceCount: number): CniIp {
  const { version: _, interface: index, ...rest } = object(entry, what)
  const ip = { ...rest, address: text(rest.address, `${what}.address`) }
  if (index === undefined || index === null) return ip
  if (typeof index === 'number' && Number.isInteger(index) && index >= 0 && index < interfaceCount)
    return { ...ip, interface: index }
  throw new CniError(
    codes.invalidConfig,
    `${what}.interface must be one of the ${interfaceCount} interfaces, and is ${JSON.stringify(index)}`,
  )
}

/** Ours behind theirs: a later plug-in's indexes shift by the interfaces that were there before. The configuration's dns wins. */
export function mergeResults(
  previous: CniResult | undefined,
  ours: CniResult,
  configured: Dns | undefined,
): CniResult {
  const shift = previous?.interfaces?.length ?? 0
  const shifted = (ours.ips ?? []).map((ip) =>
    ip.interface === undefined ? ip : { ...ip, interface: ip.interface + shift },
  )
  return {
    interfaces: [...(previous?.interfaces ?? []), ...(ours.interfaces ?? [])],
    ips: [...(previous?.ips ?? []), ...shifted],
    routes: [...(previous?.routes ?? []), ...(ours.routes ?? [])],
    dns: configured ?? ours.dns ?? previous?.dns ?? {},
  }
}

/** The text for stdout. Before 1.0.0 an address names its family; members that came with 1.1.0 are left out for older callers. */
export function formatResult(result: CniResult, version: Version): string {
  const isNewest = isAtLeast(version, '1.1.0')
  const hasFamily = !isAtLeast(version, '1.0.0')
  const { interfaces = [], ips = [], routes = [], dns = {} } = result
  return JSON.stringify({
    cniVersion: version,
    interfaces: isNewest
      ? interfaces
      : interfaces.map(({ name, mac, sandbox }) => ({ name, mac, sandbox })),
    ips: hasFamily
      ? ips.map((ip) => ({ version: ip.address.includes(':') ? '6' : '4', ...ip }))
      : ips,
    routes: isNewest ? routes : routes.map(({ dst, gw }) => ({ dst, gw })),
    dns,
  })
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>
  throw new CniError(codes.invalidConfig, `${what} must be an object`)
}

/** Absent and null are an empty list: encoders of other languages write either. */
function list(value: unknown, what: string): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value
  throw new CniError(codes.invalidConfig, `${what} must be a list`)
}

function text(value: unknown, what: string): string {
  if (typeof value === 'string') return value
  throw new CniError(codes.invalidConfig, `${what} must be text`)
}
