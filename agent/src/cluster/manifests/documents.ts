// The text of one manifest file to the objects in it, each with the line it starts on; errors stay with their document.
import {
  type Document,
  isCollection,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
} from 'yaml'
import type { FileText } from './file.ts'

/** One object, or what was found in the place of one. */
export interface FoundObject {
  readonly line: number
  readonly value: unknown
  /** Line of what stands at a path inside the object. */
  lineOf(path: readonly (string | number)[]): number
}

/** One document of a file, with the line it starts on. */
interface Part {
  readonly line: number
  readonly text: string
}

export interface BadDocument {
  readonly line: number
  readonly message: string
}

export interface FileContent {
  readonly objects: readonly FoundObject[]
  readonly errors: readonly BadDocument[]
}

/** U+FFFD: what stands where bytes were no text. */
const NO_TEXT = '\uFFFD'

/** An empty document (a leading `---`, only comments) is nothing and no error. */
export function readDocuments({ text, isUtf8 }: FileText): FileContent {
  const objects: FoundObject[] = []
  const errors: BadDocument[] = []
  for (const part of splitDocuments(text)) {
    const found = isUtf8 || !part.text.includes(NO_TEXT) ? readDocument(part) : notText(part)
    if (Array.isArray(found)) objects.push(...found)
    else errors.push(found)
  }
  return { objects, errors }
}

function readDocument(part: Part): FoundObject[] | BadDocument {
  const lines = new LineCounter()
  const lineAt = (offset: number): number => part.line + lines.linePos(offset).line - 1
  try {
    // The parser compares every key of a map with all others; `findDuplicateKey` does that in one walk.
    const options = { lineCounter: lines, prettyErrors: false, uniqueKeys: false }
    const document = parseDocument(part.text, options)
    const [error] = document.errors
    if (error !== undefined) return { line: lineAt(error.pos[0]), message: inWords(error) }
    const duplicate = findDuplicateKey(document)
    if (duplicate !== undefined) {
      return { line: lineAt(duplicate.offset), message: `the key ${duplicate.key} is there twice` }
    }
    return document.contents === null ? [] : objectsOf(document, lineAt)
  } catch (error) {
    // Aliases that multiply or lead nowhere, or nesting that no stack holds.
    return { line: part.line, message: inWords(error) }
  }
}

function inWords(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return /call stack/i.test(message) ? 'nested too deeply' : message
}

function notText({ line, text }: Part): BadDocument {
  const before = text.slice(0, text.indexOf(NO_TEXT)).split('\n').length - 1
  return { line: line + before, message: 'not UTF-8' }
}

function findDuplicateKey(document: Document.Parsed): { key: string; offset: number } | undefined {
  let found: { key: string; offset: number } | undefined
  visit(document, {
    Map(_, map) {
      const seen = new Set<string>()
      for (const { key } of map.items) {
        if (!isScalar(key)) continue
        const text = String(key.value)
        if (seen.has(text)) {
          found = { key: JSON.stringify(text), offset: key.range?.[0] ?? 0 }
          return visit.BREAK
        }
        seen.add(text)
      }
      return undefined
    },
  })
  return found
}

/** `kind: List` is what `kubectl get -o yaml` prints: its items are the objects. */
function objectsOf(document: Document.Parsed, lineAt: (offset: number) => number): FoundObject[] {
  const value: unknown = document.toJS()
  const isList =
    typeof value === 'object' &&
    value !== null &&
    'kind' in value &&
    typeof value.kind === 'string' &&
    value.kind.endsWith('List') &&
    'items' in value &&
    Array.isArray(value.items)
  const items = isList ? document.get('items') : undefined
  if (!isSeq(items)) return [foundObject(document.contents, value, lineAt)]
  const values = isList ? (value.items as unknown[]) : []
  return items.items.map((item, index) => foundObject(item, values[index], lineAt))
}

function foundObject(
  root: unknown,
  value: unknown,
  lineAt: (offset: number) => number,
): FoundObject {
  const lineOf = (path: readonly (string | number)[]): number => {
    for (let depth = path.length; depth >= 0; depth--) {
      const inner = path.slice(0, depth)
      const node = inner.length > 0 && isCollection(root) ? root.getIn(inner, true) : root
      if (isNode(node) && node.range) return lineAt(node.range[0])
    }
    return lineAt(0)
  }
  return { line: lineOf([]), value, lineOf }
}

/**
 * Cut at the markers before parsing, so that an error in one document does not reach the next: `---` at the start of a line
 * can be nothing else (YAML 1.2.2 §9.1.2).
 */
function splitDocuments(text: string): Part[] {
  const parts: Part[] = []
  let start = 1
  let lines: string[] = []
  const flush = (nextLine: number): void => {
    if (lines.some((line) => line.trim() !== ''))
      parts.push({ line: start, text: lines.join('\n') })
    start = nextLine
    lines = []
  }
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^---(\s|$)/.test(line)) {
      flush(index + 1)
      // What follows the marker on its line belongs to the document; its columns stay.
      lines.push(`   ${line.slice(3)}`)
    } else if (/^\.\.\.(\s|$)/.test(line)) {
      flush(index + 2)
    } else {
      lines.push(line)
    }
  }
  flush(0)
  return parts
}
