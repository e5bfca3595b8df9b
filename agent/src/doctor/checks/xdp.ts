// What keeps services from being served before the stack, where that was asked for.
import type { Check, Finding } from '../finding.ts'
import type { World } from '../world.ts'

/** Of the agent's problems, those of XDP. */
export const XDP = 'xdp'

export const xdp: Check<World> = {
  name: XDP,
  async run(world) {
    const { components, problems } = (await world.running()).status
    const ofUplinks = problems.filter(({ where }) => where === XDP)
    const ofRoom = components.filter((one) => one.component === XDP && one.state === 'degraded')
    return (ofUplinks.length > 0 ? ofUplinks : ofRoom).map(
      ({ message = '' }): Finding => ({
        level: 'warning',
        found: message,
        means:
          'there the connections of clients outside to services take the whole stack: they work, and cost more',
        do: 'what it says; it is tried again every minute',
      }),
    )
  },
}
