// Tables as people read them.
import { expect, test } from 'vitest'
import { showAddresses, showFlows, showMasquerade, showNodes, showPrograms } from './show-rooms.ts'
import type { MasqueradeView } from './views.ts'

const pod = { namespace: 'default', name: 'web' }

test('showAddresses()', () => {
  const text = showAddresses(
    {
      ranges: [{ range: '10.1.0.0/24', nodeAddress: '10.1.0.1', used: 2, capacity: 253 }],
      addresses: [
        {
          address: '10.1.0.2',
          range: '10.1.0.0/24',
          pod,
          network: 'sinabro',
          containerId: 'c'.repeat(64),
          ifname: 'eth0',
          since: new Date(0).toISOString(),
        },
        {
          address: '10.9.0.2',
          pod: { namespace: '', name: '' },
          network: 'other',
          containerId: 'c'.repeat(64),
          ifname: 'net1',
          since: new Date(0).toISOString(),
        },
      ],
      keptOutOfUse: [{ addresses: ['10.1.0.3'], file: 'x.json', reason: 'not JSON (0 bytes)' }],
    },
    90_000,
  )
  expect(text).toBe(
    [
      "RANGE        NODE'S OWN  USED  CAPACITY",
      '10.1.0.0/24  10.1.0.1    2     253',
      '',
      'ADDRESS   RANGE           POD            INTERFACE  NETWORK  AGE',
      '10.1.0.2  10.1.0.0/24     default/web    eth0       sinabro  1m30s',
      '10.9.0.2  an earlier one  cccccccccccc…  net1       other    1m30s',
      '',
      'KEPT OUT OF USE  RECORD  REASON',
      '10.1.0.3         x.json  not JSON (0 bytes)',
    ].join('\n'),
  )
  expect(showAddresses({ ranges: [], addresses: [], keptOutOfUse: [] }, 0)).toBe(
    'this node has no range',
  )
})

test('showNodes()', () => {
  const node = { podCIDRs: ['10.1.0.0/24'], internalIPs: ['192.0.2.1'], mode: 'kernel' } as const
  expect(
    showNodes([
      { ...node, name: 'a', isSelf: true, way: 'self', mtu: 1450, tunnelAddress: '192.0.2.1' },
      { ...node, name: 'b', isSelf: false, podCIDRs: [], way: 'none', message: 'no podCIDRs' },
      { ...node, name: 'c', isSelf: false, way: 'tunnel', mtu: 1450 },
    ]),
  ).toBe(
    [
      'NAME  POD RANGES   ADDRESSES  TUNNEL     MTU   WAY              MESSAGE',
      'a     10.1.0.0/24  192.0.2.1  192.0.2.1  1450  self',
      'b     -            192.0.2.1  -          -     none             no podCIDRs',
      'c     10.1.0.0/24  192.0.2.1  -          1450  tunnel (kernel)',
    ].join('\n'),
  )
})

test('showPrograms()', () => {
  const program = { name: 'sb_to_pod', id: 7, type: 'sched_cls', jitedBytes: 99 }
  const text = showPrograms({
    mode: 'none',
    programs: [{ ...program, verifiedInstructions: 1234, runs: 4, runTimeNs: 484 }],
    attached: [
      {
        device: 'sb1',
        of: 'pod/1/2/default/web/eth0',
        direction: 'egress',
        way: 'tcx',
        programId: 9,
        state: 'foreign',
      },
    ],
  })
  expect(text).toBe(
    [
      'PROGRAM    ID  TYPE       VERIFIED           JITED     RUNS  AVERAGE',
      'sb_to_pod  7   sched_cls  1234 instructions  99 bytes  4     121 ns',
      '',
      'DEVICE  DIRECTION  WAY  PROGRAM  STATE    OF',
      'sb1     egress     tcx  id 9     foreign  pod/1/2/default/web/eth0',
      '',
      'tunnel mode none: there is no overlay device',
    ].join('\n'),
  )
})

test('showFlows()', () => {
  const flow = {
    protocol: 'tcp',
    source: { address: '10.1.0.2', port: 4000, pod },
    destination: { address: 'fd00::9', port: 80 },
    state: 'established',
    way: 'node-2',
    ageSec: 3700,
    idleSec: 5,
  } as const
  expect(showFlows({ flows: [flow], matched: 3, rows: 8 })).toBe(
    [
      'PROTOCOL  FROM                         TO            STATE        WAY     AGE   IDLE',
      'tcp       10.1.0.2:4000 (default/web)  [fd00::9]:80  established  node-2  1h1m  5s',
      '',
      '1 of 3 connections shown; --limit shows more',
    ].join('\n'),
  )
  const out = { ...flow, source: { address: '10.1.0.2', port: 4001 }, way: 'out' }
  const as = { address: '192.0.2.1', port: 50000 }
  expect(showFlows({ flows: [flow, { ...out, as }], matched: 2, rows: 4 })).toBe(
    [
      'PROTOCOL  FROM                         AS               TO            STATE        WAY     AGE   IDLE',
      'tcp       10.1.0.2:4000 (default/web)  -                [fd00::9]:80  established  node-2  1h1m  5s',
      'tcp       10.1.0.2:4001                192.0.2.1:50000  [fd00::9]:80  established  out     1h1m  5s',
      '',
      '2 connections, 4 rows in the table',
    ].join('\n'),
  )
  expect(showFlows({ flows: [], matched: 0, rows: 0 })).toBe('0 connections, 0 rows in the table')
})

test('showMasquerade()', () => {
  const view: MasqueradeView = {
    ...{ mode: 'ebpf' as const, isTranslating: true, ports: '32768-65535', reservedPorts: '8472' },
    ...{ isReservedUnknown: false, capacity: 32_768, keptRanges: ['10.0.0.0/8'], keptEntries: 12 },
    ...{ exempt: ['10.244.1.9'], poolCount: 11, flowRows: 40, translatedRows: 22 },
    flowCapacity: 131_072,
    uplinks: [
      { name: 'eth0', index: 2, source4: '192.0.2.1', mtu: 1500, isUp: true, isL3: false },
      { name: 'wg0', index: 3, source6: 'fd00::1', mtu: 1420, isUp: false, isL3: true },
    ],
    pools: [
      {
        ...{ address: '192.0.2.1', to: '198.51.100.1', port: 443, protocol: 'tcp' },
        ...{ used: 28_000, capacity: 32_768, failed: 3 },
      },
    ],
  }
  expect(showMasquerade(view)).toBe(
    [
      'masquerade          ebpf',
      'ports               32768-65535, 32768 of them for each destination',
      'never given         8472',
      'kept                10.0.0.0/8, pod ranges',
      'left to the kernel  12 destinations',
      'exempt pods         10.244.1.9',
      'flow rows           40 of 131072, 22 translated',
      '',
      'UPLINK  IPV4       IPV6     MTU   STATE  KIND',
      'eth0    192.0.2.1  -        1500  up     ethernet',
      'wg0     -          fd00::1  1420  down   ip',
      '',
      'FROM       TO                PROTOCOL  USED          OF     FAILED',
      '192.0.2.1  198.51.100.1:443  tcp       28000 (85 %)  32768  3',
      '',
      '1 of 11 destinations',
    ].join('\n'),
  )
  const before = { ...view, isTranslating: false, pools: [] }
  expect(showMasquerade(before)).toContain('masquerade          ebpf, by nftables so far')
  expect(showMasquerade({ ...view, mode: 'none', uplinks: [], pools: [] })).toBe(
    'masquerade  none\n\nno uplinks',
  )
})
