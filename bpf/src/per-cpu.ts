// Values of per-CPU maps as the kernel moves them: one per possible CPU, each on 8 bytes.
import { check } from './error.ts'
import { native } from './native.ts'

/** How many CPUs a per-CPU value has room for: possible ones, not those online. */
export function possibleCpus(): number {
  return check(native().possibleCpus(), 'possible CPUs')
}

/** Of all CPUs' values together. */
export function perCpuBytes(valueSize: number): number {
  return strideOf(valueSize) * possibleCpus()
}

export function splitPerCpu(all: Uint8Array, valueSize: number): Uint8Array[] {
  const stride = strideOf(valueSize)
  return Array.from({ length: all.length / stride }, (_, cpu) =>
    all.slice(cpu * stride, cpu * stride + valueSize),
  )
}

/** `values` has one for every possible CPU, each of `valueSize` bytes. */
export function joinPerCpu(values: readonly Uint8Array[], valueSize: number): Uint8Array {
  const stride = strideOf(valueSize)
  const all = new Uint8Array(values.length * stride)
  for (const [cpu, value] of values.entries()) all.set(value, cpu * stride)
  return all
}

function strideOf(valueSize: number): number {
  return Math.ceil(valueSize / 8) * 8
}
