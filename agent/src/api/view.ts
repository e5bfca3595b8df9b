// The commands that look at a running agent: one call each, shown as asked.
import type { FlowsConfig, OutputFormat, ViewCommand, ViewConfig } from '../config.ts'
import { get } from './client.ts'
import { showPods, showStatus } from './show.ts'
import { showAddresses, showFlows, showMasquerade, showNodes, showPrograms } from './show-rooms.ts'
import type { PodView, Status } from './status.ts'
import type { AddressesView, FlowsView, MasqueradeView, NodeView, ProgramsView } from './views.ts'

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
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries({ pod, to, state, limit })) {
    if (value !== undefined) query.set(name, String(value))
  }
  return (await get(`/v1/flows?${query}`, { socket, timeoutMs: 30_000 })) as FlowsView
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
