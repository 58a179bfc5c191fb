import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createApp } from '../../../daemon/control/app.js'
import { API_VERSION, openApiDocument } from '../../../daemon/control/openapi.js'
import { REFUSALS } from '../../../daemon/control/target.js'
import { COMMANDS } from '../../../daemon/ctl/commands.js'
import type { Log } from '../../../daemon/log.js'
import { FakeControlTarget } from '../../support/control-target.js'

const DOCS = join(import.meta.dirname, '..', '..', '..', '..', 'docs', 'control-api.json')
const LOG = { debug() {}, error() {} } as unknown as Log

interface Operation {
  summary?: string
  parameters?: { name: string; in: string; required: boolean; schema: { type: string } }[]
  requestBody?: { required: boolean }
  responses: Record<string, unknown>
}

const app = createApp(new FakeControlTarget(), LOG)
// As a client sees it.
const document = JSON.parse(JSON.stringify(openApiDocument(app))) as {
  info: { version: string }
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, unknown> }
}
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
)

t.test('docs/control-api.json is current', (t) => {
  t.strictSame(JSON.parse(readFileSync(DOCS, 'utf8')), document, 'else: npm run docs')
  t.equal(document.info.version, API_VERSION)
  t.end()
})

t.test('docs/control-api.md has every refusal, operation and command', (t) => {
  const text = readFileSync(DOCS.replace(/json$/, 'md'), 'utf8')
  for (const [code, status] of Object.entries(REFUSALS)) t.ok(text.includes(`| \`${code}\` | ${status} |`), code)
  for (const { method, path } of operations) t.ok(text.includes(`\`${method} ${path}\``), `${method} ${path}`)
  for (const name of Object.keys(COMMANDS)) t.match(text, new RegExp(`^\\| \`${name}[ \`]`, 'm'), name)
  t.end()
})

t.test('every operation is described, and there', async (t) => {
  t.equal(operations.length, 14)
  for (const { path, method, operation } of operations) {
    const name = `${method} ${path}`
    t.ok(operation.summary, name)
    const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
    t.strictSame(operation.parameters?.map(({ name }) => name) ?? [], names, name)
    t.ok(operation.parameters?.every((parameter) => parameter.in === 'path' && parameter.required) ?? true, name)
    t.match(operation.responses, { default: { content: { 'application/json': { schema: { $ref: /Error$/ } } } } }, name)
    const answer = await app.request(path.replace('{id}', 'nothing').replace('{n}', '0'), { method })
    t.notOk(/VUS_NOT_FOUND|VUS_METHOD/.test(await answer.text()), name)
  }
})

t.test('what is there is described', (t) => {
  const known = new Set(operations.map(({ path, method }) => `${method} ${path}`))
  for (const { method, path } of app.routes) {
    if (method === 'ALL' || path === '/openapi.json') continue
    t.ok(known.has(`${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`), `${method} ${path}`)
  }
  t.end()
})

t.test('types', (t) => {
  const { schemas } = document.components
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map((m) => m[1]!)
  t.strictSame([...new Set(refs)].sort(), Object.keys(schemas).sort(), 'all that are named are used, and the other way')
  t.match(document.paths['/v1/controllers/{id}/queues/{n}']!.put, {
    parameters: [{ schema: { type: 'string' } }, { schema: { type: 'integer' } }],
    requestBody: { required: true },
  })
  t.match(schemas.NewIothread, { additionalProperties: false, properties: { cpus: { type: 'array' } } })
  t.match(schemas.Queue, { properties: { size: { type: ['integer', 'null'] } } })
  t.end()
})
