// The text of one manifest file to the objects in it, each with the line it starts on; errors stay with their document.
import { type Document, isNode, isSeq, LineCounter, parseDocument } from 'yaml'

/** One object, or what was found in the place of one. */
export interface FoundObject {
  readonly line: number
  readonly value: unknown
  /** Line of what stands at a path inside the object. */
  lineOf(path: readonly (string | number)[]): number
}

export interface BadDocument {
  readonly line: number
  readonly message: string
}

export interface FileContent {
  readonly objects: readonly FoundObject[]
  readonly errors: readonly BadDocument[]
}

/** An empty document (a leading `---`, only comments) is nothing and no error. */
export function readDocuments(text: string): FileContent {
  const objects: FoundObject[] = []
  const errors: BadDocument[] = []
  for (const part of splitDocuments(text)) {
    const lines = new LineCounter()
    const document = parseDocument(part.text, { lineCounter: lines, prettyErrors: false })
    const lineAt = (offset: number): number => part.line + lines.linePos(offset).line - 1
    const [error] = document.errors
    if (error !== undefined) {
      errors.push({ line: lineAt(error.pos[0]), message: error.message })
      continue
    }
    if (document.contents === null) continue
    try {
      objects.push(...objectsOf(document, lineAt))
    } catch (aliasError) {
      const message = aliasError instanceof Error ? aliasError.message : String(aliasError)
      errors.push({ line: part.line, message })
    }
  }
  return { objects, errors }
}

/** `kind: List` is what `kubectl get -o yaml` prints: its items are the objects. */
function objectsOf(document: Document.Parsed, lineAt: (offset: number) => number): FoundObject[] {
  const found = (path: readonly (string | number)[], value: unknown): FoundObject => {
    const lineOf = (inner: readonly (string | number)[]): number => {
      for (let depth = inner.length; depth >= 0; depth--) {
        const node = document.getIn([...path, ...inner.slice(0, depth)], true)
        if (isNode(node) && node.range) return lineAt(node.range[0])
      }
      return lineAt(0)
    }
    return { line: lineOf([]), value, lineOf }
  }
  const value: unknown = document.toJS()
  const isList =
    typeof value === 'object' &&
    value !== null &&
    'kind' in value &&
    typeof value.kind === 'string' &&
    value.kind.endsWith('List') &&
    isSeq(document.get('items'))
  if (!isList || !('items' in value) || !Array.isArray(value.items)) return [found([], value)]
  return value.items.map((item: unknown, index) => found(['items', index], item))
}

/**
 * Cut at the markers before parsing, so that an error in one document does not reach the next: `---` at the start of a line
 * can be nothing else (YAML 1.2.2 §9.1.2).
 */
function splitDocuments(text: string): { line: number; text: string }[] {
  const parts: { line: number; text: string }[] = []
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
