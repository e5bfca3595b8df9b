// The one place that wires: which rooms the agent has, in which order they start, and what each is given.
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { pretendNoBatch } from '@sinabro/libbpf-ts'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { ApiServer } from './api/server.ts'
import { registerProbes, registerStatus } from './api/status.ts'
import { announceHealth } from './cluster/announce-health.ts'
import { createCluster } from './cluster/cluster.ts'
import { KubernetesSource } from './cluster/kubernetes/source.ts'
import { followProblems } from './cluster/problems.ts'
import { Recorder } from './cluster/recorder.ts'
import { createCni } from './cni/cni.ts'
import { type AgentConfig, formatSource, socketPath, version } from './config.ts'
import { createSource } from './create-source.ts'
import { Datapath } from './datapath/datapath.ts'
import { defaultFlowsMax } from './datapath/flows-max.ts'
import { choosePodDevice } from './features/choose.ts'
import { probeFeatures } from './features/features.ts'
import { FEATURE_NAMES } from './features/table.ts'
import { keyText } from './ipam/allocation.ts'
import { announcePools } from './ipam/announce.ts'
import { readBootTimeUs, readEra } from './ipam/era.ts'
import { Ipam } from './ipam/ipam.ts'
import { followOwnRanges } from './ipam/own-ranges.ts'
import { lookAtNamespace, Reclaim } from './ipam/reclaim.ts'
import { KernelSettings } from './kernel-settings.ts'
import { NFT_SCTP_TABLE, NFT_SERVICES_TABLE, NFT_TABLE } from './marks.ts'
import { ExemptAddresses, Exemptions } from './masquerade/exemptions.ts'
import { createMasquerade } from './masquerade/masquerade.ts'
import { addRoomMetrics, CniCalls } from './measure.ts'
import { announceDsr } from './overlay/announce-dsr.ts'
import { createOverlay } from './overlay/overlay.ts'
import { createPods } from './pods/pods.ts'
import { systemClock } from './runtime/clock.ts'
import { crashPointOf } from './runtime/crash.ts'
import { Health } from './runtime/health.ts'
import { Jobs } from './runtime/jobs.ts'
import { libDir } from './runtime/lib-dir.ts'
import { Lifecycle } from './runtime/lifecycle.ts'
import { lockDirectory } from './runtime/lock.ts'
import { createLog, type Log } from './runtime/log.ts'
import { addProcessMetrics, Metrics } from './runtime/metrics.ts'
import { stopSignal } from './runtime/signals.ts'
import { ServiceHealth } from './services/health.ts'
import { HostPorts, rowKeyOf } from './services/host-ports.ts'
import { leaveKubeProxy, leavePortmap } from './services/leave-kube-proxy.ts'
import { ServiceModel } from './services/model.ts'
import { TABLE_BYTES_OF_ROW } from './services/model-tables.ts'
import type { ServiceRows } from './services/rows.ts'
import { createServices } from './services/services.ts'
import { StaleSockets } from './services/stale-sockets.ts'
import { Table } from './state/table.ts'
import type { Rooms } from './tell/rooms.ts'
import { registerRooms } from './tell/routes.ts'
import { describeAgent, describePods } from './tell/status.ts'
import { Xdp } from './xdp/xdp.ts'

/** What keeps the agent from starting and can be put right by whoever started it. */
export class StartError extends Error {
  override readonly name = 'StartError'
  readonly code: 'not-root'

  constructor(code: 'not-root', message: string) {
    super(message)
    this.code = code
  }
}

/** Runs until it is asked to stop. The datapath goes on without it. @throws what keeps it from starting */
export async function runAgent(config: AgentConfig): Promise<number> {
  const stop = stopSignal()
  const log = createLog({ level: config.logLevel })
  const lifecycle = new Lifecycle({ log, clock: systemClock })
  try {
    await start(config, lifecycle, log, stop)
    await aborted(stop)
    log.info({ signal: stop.reason }, 'stopping; pods keep their network')
  } finally {
    await lifecycle.stop()
  }
  return 0
}

async function start(
  config: AgentConfig,
  lifecycle: Lifecycle,
  log: Log,
  stop: AbortSignal,
): Promise<void> {
  const startedAt = systemClock.monotonicMs()
  const clock = systemClock
  const health = new Health(clock)
  const metrics = new Metrics()
  const crashPoint = crashPointOf(config.crashAt)
  const { nodeName, stateDir } = config
  health.starting('agent', 'not all rooms have been started')
  log.info(
    { version: version(), nodeName, source: formatSource(config.source), pid: process.pid },
    'starting',
  )

  if (process.geteuid?.() !== 0) {
    throw new StartError(
      'not-root',
      'the agent needs root: it makes devices, loads programs and enters the namespaces of pods',
    )
  }
  const features = await probeFeatures(config.withoutFeatures)
  features.require()
  const podDevice = choosePodDevice(config.podDevice, features)
  if (!features.has('map_batch')) pretendNoBatch()
  const absent = FEATURE_NAMES.filter((name) => !features.has(name))
  log.info({ tookMs: Math.round(features.tookMs), absent }, 'kernel features')
  const cluster = createCluster()
  const source = await lifecycle.begin('cluster', {
    start: async () => {
      const made = await createSource({ config, cluster, clock, log })
      await made.prepare()
      return made
    },
  })
  const recorder = new Recorder({ clock, log, to: source.sinks })
  await lifecycle.begin('lock', {
    start: async () => {
      await mkdir(stateDir, { recursive: true, mode: 0o700 })
      return await lockDirectory(stateDir)
    },
    stop: (lock) => lock.release(),
  })
  const { netlink, hostNamespace } = await lifecycle.begin('netlink', {
    start: () => ({ netlink: RouteNetlink.open(), hostNamespace: NetworkNamespace.current() }),
    stop: (open) => {
      open.netlink.close()
      open.hostNamespace.close()
    },
  })
  const era = readEra(hostNamespace)
  const ipam = await lifecycle.begin('ipam', {
    start: () => Ipam.open({ dir: stateDir, era, clock, log, crashPoint }),
  })
  const { nodes } = cluster
  followProblems(cluster.problems, health)
  followOwnRanges({ nodeName, nodes, ipam, health, log })
  announcePools({ nodeName, ipam, sink: recorder })
  announceHealth(health, recorder)
  const datapath = await lifecycle.begin('datapath', {
    start: () => {
      const { bpfDir, attach, cgroupRoot } = config
      const isMasquerading = config.masquerade === 'ebpf'
      const memory = { totalBytes: totalmem(), limitBytes: process.constrainedMemory() }
      const flowsMax = config.flowsMax ?? defaultFlowsMax(memory)
      const servicesMax = config.services === 'ebpf' ? config.servicesMax : undefined
      // Without services there is nothing that it could go on with.
      const xdp = config.services === 'ebpf' ? config.xdp : 'off'
      const given = { bpfDir, attach, cgroupRoot, features, netlink, isMasquerading, servicesMax }
      return Datapath.open({ ...given, flowsMax, xdp, crashPoint, clock, log })
    },
    stop: (open) => open.close(),
  })
  // After what they use, so that they are stopped before it is closed.
  const jobs = await lifecycle.begin('jobs', {
    start: () => new Jobs({ log, health, clock }),
    stop: (running) => running.stop(),
  })
  const kernel = { netlink, hostNamespace, datapath, clock, health, log, crashPoint }
  const isDirect = config.services === 'ebpf' && config.serviceForwarding === 'dsr'
  const overlay = createOverlay({ ...kernel, ...config, nodes, hasDsrDevice: isDirect })
  const xdp = new Xdp({ ...kernel, uplinks: overlay.uplinkSource })
  const exemptions = new Exemptions(cluster.pods, cluster.namespaces)
  // What is gone without a DEL is the reclaim job's: it looks twice.
  const onGone = (): Promise<void> => Promise.resolve()
  const pods = createPods({
    ...kernel,
    podDevice,
    ipam,
    onGone,
    podMtu: () => overlay.podMtu(),
    keepsAddress: (pod) => exemptions.of(pod),
  })
  exemptions.subscribe(() => pods.lookAgain())
  const isServing = config.services === 'ebpf'
  const serviceRows = new Table<ServiceRows>('Service rows', ({ key }) => key)
  const model = isServing
    ? new ServiceModel({
        ...{ ...cluster, rows: serviceRows, nodeName, sink: recorder },
        settings: {
          serviceCIDRs: config.serviceCidrs,
          externalIPCIDRs: config.externalIpCidrs,
          clusterCIDRs: config.clusterCidrs,
          backendChoice: config.backendChoice,
          mostTableBytes: config.servicesMax * TABLE_BYTES_OF_ROW,
        },
      })
    : undefined
  const staleSockets = new StaleSockets({
    find: () => datapath.staleSockets(),
    hostNamespace,
    pods: () => pods.live.values(),
    clock,
    log,
  })
  const services = createServices({
    ...kernel,
    mode: config.services,
    rows: serviceRows,
    sources: [],
    slices: cluster.endpointSlices,
    nodes,
    nodeName,
    nodePortAddresses: config.nodePortAddresses,
    forwarding: config.serviceForwarding,
    serviceCIDRs: config.serviceCidrs,
    ranges: cluster.serviceCIDRs,
    ownAddresses: () => overlay.plan().self?.ownAddresses,
    isLending: config.tunnel !== 'bpf',
    sockets: datapath,
    onWritten: () => staleSockets.lookSoon(),
    attached: () => pods.settled(),
    table: NFT_SERVICES_TABLE,
    sctpTable: NFT_SCTP_TABLE,
  })
  const { addresses } = services
  const hostPorts = isServing
    ? new HostPorts({ ipam, rows: serviceRows, nodeName, addresses })
    : undefined
  const masquerade = createMasquerade({
    mode: config.masquerade,
    table: NFT_TABLE,
    ports: config.masqueradePorts,
    reservedPorts: config.reservedPorts,
    nodes,
    services: cluster.services,
    serving: isServing ? services.programs : undefined,
    exempt: new ExemptAddresses(exemptions, pods.live, datapath),
    uplinks: overlay.uplinkSource,
    datapath,
    settings: new KernelSettings(hostNamespace),
    nodeName,
    clusterCIDRs: config.clusterCidrs,
    nonMasqueradeCIDRs: config.nonMasqueradeCidrs,
    serviceCIDRs: config.serviceCidrs,
    keepsTowardsNodes: config.tunnel === 'none',
    ...(config.tunnel === 'none' && !isDirect ? {} : { tunnelPort: config.tunnelPort }),
    log,
    clock,
    health,
  })
  const socket = socketPath(config.runDir)
  const cni = createCni({
    ipam,
    pods,
    health,
    sink: recorder,
    hostNamespace,
    log,
    stateDir,
    bootId: era.bootId,
    hasHostPorts: isServing,
    missingHostPorts: (allocation) => hostPorts?.missing(allocation, datapath.maps.services) ?? [],
    hostPortsServed: (allocation, signal) => services.whenWritten(rowKeyOf(allocation), signal),
    install: {
      socket,
      stateDir,
      confDir: config.cniConfDir,
      binDir: config.cniBinDir,
      executable: cniExecutable(),
    },
  })
  source.start(jobs)
  datapath.start(jobs)
  overlay.start(jobs)
  announceDsr({
    ...{ nodes, nodeName, sink: recorder, standing: overlay.standingSource },
    takesDsr: () => overlay.takesDsr(),
  })
  pods.start(jobs)
  masquerade.start(jobs)
  services.start(jobs)
  xdp.start(jobs)
  if (isServing) {
    const healthPorts = new ServiceHealth({
      ...{ ...kernel, ...config, rows: serviceRows, sync: () => services.lag.now },
      node: () => nodes.get(nodeName),
      memory: { folder: stateDir, bootId: era.bootId },
      isServing: () => services.programs.isReady,
    })
    healthPorts.start(jobs)
  }
  if (isServing && features.has('socket_destroy')) staleSockets.start(jobs)
  await cni.replay().catch((error: unknown) => {
    log.error({ error }, 'a queued DEL failed; it is tried again')
  })

  const reclaim = new Reclaim({
    ipam,
    era,
    clock,
    log,
    devices: async () => new Set((await netlink.links.list()).map(({ name }) => name)),
    namespace: lookAtNamespace,
    bootTimeUs: readBootTimeUs,
    remove: (key, sequence) => cni.reclaim(key, sequence),
    graceMs: config.reclaimGraceSec * 1000,
    onReclaimed: ({ key, addresses }) => {
      const message = `${keyText(key)} is gone without a DEL; ${addresses.join(', ')} free again`
      const about = { kind: 'Node', name: nodeName } as const
      recorder.event({ type: 'Normal', reason: 'PodAddressReclaimed', message, about })
    },
  })
  jobs.start('reclaim', (signal, alive) => reclaim.run(signal, alive))

  const rooms: Rooms = {
    config,
    features,
    health,
    cluster,
    recorder,
    ipam,
    datapath,
    overlay,
    pods,
    masquerade,
    services,
    xdp,
    serviceRows,
    ...(model === undefined ? {} : { model }),
    ...(hostPorts === undefined ? {} : { hostPorts }),
    netlink,
    clock,
  }
  const calls = new CniCalls()
  addProcessMetrics(metrics, health)
  addRoomMetrics(metrics, {
    ...rooms,
    calls,
    ...(source instanceof KubernetesSource ? { traffic: source.api.traffic } : {}),
    rowStatuses: () =>
      new Map([
        ['pods', pods.statuses()],
        ...overlay.statuses(),
        ...masquerade.statuses(),
        ...services.statuses(),
        ['xdp', xdp.statuses()],
      ]),
  })
  const startedAtText = new Date(clock.now()).toISOString()
  await lifecycle.begin('api', {
    start: async () => {
      const api = new ApiServer({ log, onAnswered: calls.onAnswered })
      registerStatus({
        api,
        health,
        metrics,
        log,
        status: () => describeAgent(rooms, startedAtText),
        pods: () => describePods(rooms),
      })
      registerRooms(api, rooms)
      cni.register(api)
      await api.listen(socket)
      return api
    },
    stop: (api) => api.close(),
    // An ADD that was cut short takes back what it did.
    stopWithinMs: 10_000,
  })
  const { metricsAddress } = config
  if (metricsAddress !== undefined) {
    await lifecycle.begin('metrics', {
      start: async () => {
        const api = new ApiServer({ log })
        registerProbes({ api, health, metrics, log }, '')
        await api.listenOn(metricsAddress)
        return api
      },
      stop: (api) => api.close(),
    })
  }
  cni.start(jobs)
  health.forget('agent')
  jobs.start('ready', async (signal) => {
    await health.whenReady(AbortSignal.any([signal, stop]))
    await datapath.endMigration()
    log.info({ tookMs: Math.round(clock.monotonicMs() - startedAt) }, 'ready')
  })
  if (!isServing) return
  const leaving = { isServing: () => services.programs.servesAll(), log }
  jobs.start('leave portmap', async (signal) => {
    await health.whenReady(signal)
    const withPorts = ipam.list().filter(({ portMappings }) => portMappings !== undefined)
    if (withPorts.length > 0) await leavePortmap({ ...leaving, pods: withPorts }, signal)
  })
  if (!config.cleanKubeProxy) return
  jobs.start('leave kube-proxy', async (signal) => {
    await health.whenReady(signal)
    await leaveKubeProxy(leaving, signal)
  })
}

/** Comes with the agent: in one folder with the other built parts, or where the source tree has it. */
function cniExecutable(): string {
  const shipped = libDir() === undefined ? undefined : join(libDir() ?? '', 'sinabro-cni')
  if (shipped !== undefined && existsSync(shipped)) return shipped
  return new URL('../../cni/build/sinabro-cni', import.meta.url).pathname
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
