// The one place that says which versions of the specification we speak, which verbs there are, and since when.

import type { QueueEntry } from './wire.ts'

/** Ascending; the last one answers when the caller named none that we know. */
export const versions = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const
export type Version = (typeof versions)[number]
export const newestVersion: Version = versions[versions.length - 1] ?? '1.1.0'

export interface VerbRules {
  /** A configuration of an older version may not ask for it. */
  readonly since: Version
  /** Which part of the environment it needs. A verb that needs none of these is about the network: what is set of them is not looked at. */
  readonly needs: readonly ('CNI_CONTAINERID' | 'CNI_IFNAME' | 'CNI_NETNS')[]
  /** What becomes of `prevResult`. */
  readonly prevResult: 'required' | 'optional' | 'dropped'
  /** The configuration must list the attachments that stay. */
  readonly needsAttachments: boolean
  /** Handed to the agent by file when it cannot be reached. */
  readonly isQueued: boolean
}

export const verbs = {
  ADD: {
    since: '0.3.0',
    needs: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
    prevResult: 'optional',
    needsAttachments: false,
    isQueued: false,
  },
  DEL: {
    since: '0.3.0',
    needs: ['CNI_CONTAINERID', 'CNI_IFNAME'],
    prevResult: 'dropped',
    needsAttachments: false,
    isQueued: true,
  },
  CHECK: {
    since: '0.4.0',
    needs: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
    prevResult: 'required',
    needsAttachments: false,
    isQueued: false,
  },
  STATUS: {
    since: '1.1.0',
    needs: [],
    prevResult: 'dropped',
    needsAttachments: false,
    isQueued: false,
  },
  GC: {
    since: '1.1.0',
    needs: [],
    prevResult: 'dropped',
    needsAttachments: true,
    isQueued: true,
  },
} as const satisfies Record<string, VerbRules>
/** Verbs that go to the agent. VERSION is answered by the executable alone. */
export type Verb = keyof typeof verbs

export function isVerb(text: string): text is Verb {
  return Object.hasOwn(verbs, text)
}

export function isQueued(verb: Verb): verb is QueueEntry['verb'] {
  return verbs[verb].isQueued
}

export function isVersion(text: string): text is Version {
  return (versions as readonly string[]).includes(text)
}

/** Versions have one digit per part, so their texts sort as they do. */
export function isAtLeast(version: Version, other: string): boolean {
  return version >= other
}
