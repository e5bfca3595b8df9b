// Our numbers of hooks and links against those that the running kernel tells of itself.
import { expect, test } from 'vitest'
import { readBtf } from '../testing/btf.ts'
import { BPF_XDP, cgroupTypes, linkTypes, socketTypes, tcxTypes } from './attach-type.ts'
import { bpfLinkInfo } from './kernel-info.ts'
import { probeTcx } from './tcx.ts'

const kernel = readBtf('/sys/kernel/btf/vmlinux')

function valuesOf(member: string): ReadonlyMap<string, number> {
  const found = kernel.enums.find(({ values }) => values.has(member))
  if (found === undefined) throw new RangeError(`no enum with ${member} in the kernel's BTF`)
  return found.values
}

const attach = valuesOf('BPF_CGROUP_INET_INGRESS')
const names: Readonly<Record<string, string>> = {
  ingress: 'BPF_CGROUP_INET_INGRESS',
  egress: 'BPF_CGROUP_INET_EGRESS',
  sock_create: 'BPF_CGROUP_INET_SOCK_CREATE',
  sock_release: 'BPF_CGROUP_INET_SOCK_RELEASE',
  sock_ops: 'BPF_CGROUP_SOCK_OPS',
  stream_parser: 'BPF_SK_SKB_STREAM_PARSER',
  stream_verdict: 'BPF_SK_SKB_STREAM_VERDICT',
  skb_verdict: 'BPF_SK_SKB_VERDICT',
  msg_verdict: 'BPF_SK_MSG_VERDICT',
}

/** connect4 → BPF_CGROUP_INET4_CONNECT, sendmsg6 → BPF_CGROUP_UDP6_SENDMSG. */
function kernelName(hook: string): string {
  const [, verb = '', family] = /^(.+)([46])$/.exec(hook) ?? []
  const protocol = verb.endsWith('msg') ? 'UDP' : 'INET'
  return names[hook] ?? `BPF_CGROUP_${protocol}${family}_${verb.toUpperCase()}`
}

test.each(Object.entries({ ...cgroupTypes, ...socketTypes }))('hook %s is %d', (hook, number) => {
  expect(attach.get(kernelName(hook))).toBe(number)
})

test('XDP is its number', () => {
  expect(attach.get('BPF_XDP')).toBe(BPF_XDP)
})

test('tcx hooks are their numbers', (ctx) => {
  ctx.skip(!probeTcx(), 'this kernel has no tcx')
  expect(attach.get('BPF_TCX_INGRESS')).toBe(tcxTypes.ingress)
  expect(attach.get('BPF_TCX_EGRESS')).toBe(tcxTypes.egress)
  expect(valuesOf('BPF_LINK_TYPE_TCX').get('BPF_LINK_TYPE_TCX')).toBe(linkTypes.tcx)
})

test('links are their numbers', () => {
  const links = valuesOf('BPF_LINK_TYPE_CGROUP')
  expect(links.get('BPF_LINK_TYPE_CGROUP')).toBe(linkTypes.cgroup)
  expect(links.get('BPF_LINK_TYPE_ITER')).toBe(linkTypes.iterator)
  expect(links.get('BPF_LINK_TYPE_XDP')).toBe(linkTypes.xdp)
  const fields = kernel.structs.get('bpf_link_info')?.fields ?? []
  expect(fields.find(({ name }) => name === 'prog_id')?.offset).toBe(8)
  expect(bpfLinkInfo.fields.find(({ name }) => name === 'member')?.offset).toBe(16)
})
