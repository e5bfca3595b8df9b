// The commands that look at a running agent: one call each, shown as asked.
import type {
  ExplainConfig,
  FlowsConfig,
  OutputFormat,
  ViewCommand,
  ViewConfig,
} from '../config.ts'
import { get } from './client.ts'
import { showPods, showStatus } from './show.ts'
import { showAddresses, showFlows, showMasquerade, showNodes, showPrograms } from './show-rooms.ts'
import { showBackends, showExplanation, showServices } from './show-services.ts'
import type { PodView, Status } from './status.ts'
import type {
  AddressesView,
  BackendsView,
  ExplanationView,
  FlowsView,
  MasqueradeView,
  NodeView,
  ProgramsView,
  ServicesView,
} from './views.ts'

export interface View {
  readonly text: string
  readonly isHealthy: boolean
}

/** The agent is of the same version as this command, and on the other end of a socket that only root can open: its word is taken. */
export async function view(command: ViewCommand, { socket, output }: ViewConfig): Promise<View> {
  const body = await get(`/v1/${command}`, { socket })
  const now = Date.now()
  switch (command) {
    case 'status': {
      const status = body as Status
      const text = await formatOutput(output, status, () => showStatus(status, now))
      return { text, isHealthy: status.ready && status.healthy }
    }
    case 'pods': {
      const { pods } = body as { pods: readonly PodView[] }
      return healthy(await formatOutput(output, pods, () => showPods(pods, now)))
    }
    case 'addresses': {
      const addresses = body as AddressesView
      return healthy(await formatOutput(output, addresses, () => showAddresses(addresses, now)))
    }
    case 'nodes': {
      const { nodes } = body as { nodes: readonly NodeView[] }
      return healthy(await formatOutput(output, nodes, () => showNodes(nodes)))
    }
    case 'masquerade': {
      const masquerade = body as MasqueradeView
      return healthy(await formatOutput(output, masquerade, () => showMasquerade(masquerade)))
    }
    case 'programs': {
      const programs = body as ProgramsView
      return healthy(await formatOutput(output, programs, () => showPrograms(programs)))
    }
  }
}

export async function viewFlows({ socket, output }: ViewConfig, which: FlowsConfig): Promise<View> {
  const flows = await askFlows(socket, which)
  return healthy(await formatOutput(output, flows, () => showFlows(flows)))
}

export async function askFlows(
  socket: string,
  { pod, to, state, limit }: FlowsConfig,
): Promise<FlowsView> {
  const path = withQuery('/v1/flows', { pod, to, state, limit })
  return (await get(path, { socket, timeoutMs: 30_000 })) as FlowsView
}

export async function viewServices({ socket, output }: ViewConfig, name?: string): Promise<View> {
  const path = withQuery('/v1/services', { name })
  const services = (await get(path, { socket, timeoutMs: 30_000 })) as ServicesView
  const table = () => showServices(services, name !== undefined)
  return healthy(await formatOutput(output, services, table))
}

export async function viewBackends(
  { socket, output }: ViewConfig,
  { service, limit }: { readonly service?: string; readonly limit?: number },
): Promise<View> {
  const path = withQuery('/v1/backends', { service, limit })
  const backends = (await get(path, { socket, timeoutMs: 30_000 })) as BackendsView
  return healthy(await formatOutput(output, backends, () => showBackends(backends)))
}

export async function viewExplanation(
  { socket, output }: ViewConfig,
  asked: ExplainConfig,
): Promise<View> {
  const path = withQuery('/v1/services/explain', { ...asked })
  const explanation = (await get(path, { socket })) as ExplanationView
  return healthy(await formatOutput(output, explanation, () => showExplanation(explanation)))
}

function withQuery(path: string, members: Readonly<Record<string, unknown>>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(members)) {
    if (value !== undefined) query.set(name, String(value))
  }
  return `${path}?${query}`
}

function healthy(text: string): View {
  return { text, isHealthy: true }
}

export async function formatOutput(
  output: OutputFormat,
  value: unknown,
  table: () => string,
): Promise<string> {
  switch (output) {
    case 'table':
      return table()
    case 'json':
      return JSON.stringify(value, null, 2)
    case 'yaml': {
      const { stringify } = await import('yaml')
      return stringify(value).trimEnd()
    }
  }
}
