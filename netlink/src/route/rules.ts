// Verbs on routing rules: list, add, replace, del.
import { isCode } from '../error.ts'
import type { Request, Requests } from '../requests.ts'
import { NLM_F_CREATE, NLM_F_EXCL } from '../socket-constants.ts'
import { AF_UNSPEC, addressFamily, RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE } from './constants.ts'
import type { Rule, RuleFilter, RuleKey, RuleSpec } from './rule.ts'
import {
  decodeRule,
  type RuleBody,
  ruleKeyToWire,
  ruleListToWire,
  ruleMessage,
  ruleSpecToWire,
} from './rule-message.ts'

export class Rules {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  /** In the order they are asked; IPv4 first. The kernel does not filter by more than the family. */
  async list({ family, priority, table, protocol }: RuleFilter = {}): Promise<Rule[]> {
    const message = ruleListToWire(family === undefined ? AF_UNSPEC : addressFamily(family))
    return this.#requests.dump(request(RTM_GETRULE, 'RTM_GETRULE', message), (header, payload) => {
      const rule = header.type === RTM_NEWRULE ? decodeRule(payload) : undefined
      if (priority !== undefined && rule?.priority !== priority) return undefined
      if (table !== undefined && rule?.table !== table) return undefined
      return protocol !== undefined && rule?.protocol !== protocol ? undefined : rule
    })
  }

  /** EEXIST when the same rule is there. Rules that differ in anything are others, also of one priority. */
  async add(spec: RuleSpec): Promise<void> {
    const message = ruleSpecToWire(spec)
    const flags = NLM_F_CREATE | NLM_F_EXCL
    await this.#requests.change(request(RTM_NEWRULE, 'RTM_NEWRULE', message, spec, flags))
  }

  /** Sees to it that this rule is there. What another rule of this priority says is left alone. */
  async replace(spec: RuleSpec): Promise<void> {
    try {
      await this.add(spec)
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error
    }
  }

  /** Removes the first that matches; false when there was none. Name your `protocol`, and nobody else's rule goes. */
  async del(key: RuleKey): Promise<boolean> {
    const message = ruleKeyToWire(key)
    try {
      await this.#requests.change(request(RTM_DELRULE, 'RTM_DELRULE', message, key))
      return true
    } catch (error) {
      if (isCode(error, 'ENOENT')) return false
      throw error
    }
  }
}

function request(type: number, op: string, message: RuleBody, key?: RuleKey, flags = 0): Request {
  return {
    type,
    op,
    flags,
    ...(key === undefined ? {} : { subject: `rule ${key.priority}` }),
    encode: (writer) => ruleMessage.encode(writer, message),
  }
}
