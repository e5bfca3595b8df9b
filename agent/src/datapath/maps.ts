// The maps that the agent reads and writes, through the codecs of their structs.
import { addr, type BpfMap, TypedMap, TypedPerCpuMap, u32, u64 } from '@sinabro/libbpf-ts'
import {
  type Affinity,
  type AffinityKey,
  affinity,
  affinityKey,
  type Backend,
  backend,
  type Config,
  type Counter,
  config,
  counter,
  type Endpoint,
  endpoint,
  type Flow,
  type FlowKey,
  flow,
  flowKey,
  type IpcacheEntry,
  ipcacheEntry,
  MAP_NAMES,
  type Node,
  node,
  type Pool,
  type PoolKey,
  type PrefixKey,
  pool,
  poolKey,
  prefixKey,
  type Service,
  type ServiceConfig,
  type ServiceKey,
  type Slot,
  type SlotKey,
  type SourceRangeKey,
  service,
  serviceConfig,
  serviceKey,
  slot,
  slotKey,
  sourceRangeKey,
  type Timeouts,
  timeouts,
  type Uplink,
  uplink,
} from '@sinabro/libbpf-ts/layouts'
import type { LoadedObjects } from './load.ts'

export interface DatapathMaps {
  readonly config: TypedMap<number, Config>
  readonly endpoints: TypedMap<string, Endpoint>
  readonly nodes: TypedMap<number, Node>
  readonly nodeIds: TypedMap<string, number>
  readonly ipcache: TypedMap<PrefixKey, IpcacheEntry>
  readonly flows: TypedMap<FlowKey, Flow>
  readonly uplinks: TypedMap<number, Uplink>
  /** Bits of ports: see `RESERVED_ROWS`. */
  readonly reserved: TypedMap<number, bigint>
  readonly pools: TypedMap<PoolKey, Pool>
  /** After which idle times flows end. */
  readonly timeouts: TypedMap<number, Timeouts>
  readonly counters: TypedPerCpuMap<number, Counter>
  readonly services: TypedMap<ServiceKey, Service>
  readonly slots: TypedMap<SlotKey, Slot>
  readonly backends: TypedMap<number, Backend>
  /** Addresses of this node: `NODE_ADDR_…`. */
  readonly nodeAddrs: TypedMap<string, number>
  readonly sourceRanges: TypedMap<SourceRangeKey, number>
  /** Which client had which backend. */
  readonly affinity: TypedMap<AffinityKey, Affinity>
  readonly serviceConfig: TypedMap<number, ServiceConfig>
  /** By service id (u32): its table, a map. */
  readonly maglev: BpfMap
}

export function openMaps(objects: Pick<LoadedObjects, 'map'>): DatapathMaps {
  return {
    config: new TypedMap(objects.map(MAP_NAMES.config), u32, config),
    endpoints: new TypedMap(objects.map(MAP_NAMES.endpoints), addr, endpoint),
    nodes: new TypedMap(objects.map(MAP_NAMES.nodes), u32, node),
    nodeIds: new TypedMap(objects.map(MAP_NAMES.nodeIds), addr, u32),
    ipcache: new TypedMap(objects.map(MAP_NAMES.ipcache), prefixKey, ipcacheEntry),
    flows: new TypedMap(objects.map(MAP_NAMES.flows), flowKey, flow),
    uplinks: new TypedMap(objects.map(MAP_NAMES.uplinks), u32, uplink),
    reserved: new TypedMap(objects.map(MAP_NAMES.reserved), u32, u64),
    pools: new TypedMap(objects.map(MAP_NAMES.pools), poolKey, pool),
    timeouts: new TypedMap(objects.map(MAP_NAMES.timeouts), u32, timeouts),
    counters: new TypedPerCpuMap(objects.map(MAP_NAMES.counters), u32, counter),
    services: new TypedMap(objects.map(MAP_NAMES.services), serviceKey, service),
    slots: new TypedMap(objects.map(MAP_NAMES.slots), slotKey, slot),
    backends: new TypedMap(objects.map(MAP_NAMES.backends), u32, backend),
    nodeAddrs: new TypedMap(objects.map(MAP_NAMES.nodeAddrs), addr, u32),
    sourceRanges: new TypedMap(objects.map(MAP_NAMES.sourceRanges), sourceRangeKey, u32),
    affinity: new TypedMap(objects.map(MAP_NAMES.affinity), affinityKey, affinity),
    serviceConfig: new TypedMap(objects.map(MAP_NAMES.serviceConfig), u32, serviceConfig),
    maglev: objects.map(MAP_NAMES.maglev),
  }
}
