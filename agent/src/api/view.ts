// The commands that look at a running agent: one call each, shown as asked.
import { get } from './client.ts'
import { showPods, showStatus } from './show.ts'
import type { PodView, Status } from './status.ts'

export interface ViewOptions {
  readonly socket: string
  readonly output: 'table' | 'json' | 'yaml'
}

export interface View {
  readonly text: string
  readonly isHealthy: boolean
}

/** @throws ClientError */
export async function viewStatus({ socket, output }: ViewOptions): Promise<View> {
  // The agent is of the same version as this command, and on the other end of a socket that only root can open.
  const status = (await get('/v1/status', { socket })) as Status
  return {
    text: await format(output, status, () => showStatus(status, Date.now())),
    isHealthy: status.ready && status.healthy,
  }
}

/** @throws ClientError */
export async function viewPods({ socket, output }: ViewOptions): Promise<View> {
  const { pods } = (await get('/v1/pods', { socket })) as { pods: readonly PodView[] }
  return {
    text: await format(output, pods, () => showPods(pods, Date.now())),
    isHealthy: true,
  }
}

async function format(
  output: ViewOptions['output'],
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
