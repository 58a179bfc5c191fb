import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  BACK_END_REQUEST,
  FRONT_END_REQUEST,
  featureMask,
  hasFeature,
  protocolFeatureNames,
  requestInfo,
  SESSION_PROTOCOL_FEATURES,
  VHOST_F,
  VHOST_USER_F,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
  VIRTIO_SCSI_F,
} from 'vhost-user-protocol-ts'
import { ControllerBed } from '../support/controller-bed.js'
import { OUTCOMES } from '../support/vhost-user/outcomes.js'

// The page says what the code does.
const ROOT = join(import.meta.dirname, '..', '..', '..')
const page = readFileSync(join(ROOT, 'docs', 'vhost-user-conformance.md'), 'utf8')

/** The rows of the table under a heading, cell by cell. */
function table(heading: string): string[][] {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`))
  if (section === undefined) throw new Error(`there is no ${heading}`)
  return section
    .split('\n')
    .filter((line) => /^\| \d/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
}

const messages = table('Messages of the front end')
const protocolFeatures = table('Protocol features')
const features = table('Virtio features')

const byNumber = (names: Readonly<Record<string, number>>): string[][] =>
  Object.entries(names)
    .sort(([, a], [, b]) => a - b)
    .map(([name, number]) => [`${number}`, name])

const numbered = (rows: readonly string[][]): string[][] => rows.map((row) => row.slice(0, 2))

t.test('every message and every bit, by number', async (t) => {
  t.same(numbered(messages), byNumber(FRONT_END_REQUEST))
  t.same(numbered(table('Messages of the back end')), byNumber(BACK_END_REQUEST))
  t.same(numbered(protocolFeatures), byNumber(VHOST_USER_PROTOCOL_F))
  t.same(numbered(features), byNumber({ ...VIRTIO_F, ...VIRTIO_SCSI_F, ...VHOST_F, ...VHOST_USER_F }))
})

/** How a request that is not served is refused, as the page has it. */
function refusal(outcome: string): string {
  if (outcome.startsWith('VUS_')) return 'end'
  if (!outcome.endsWith(' refused')) return ''
  return outcome.startsWith('- ') ? 'line' : 'reply'
}

t.test('which messages are served, and how the others are refused', async (t) => {
  for (const [number, name, served, otherwise] of messages) {
    const info = requestInfo(Number(number))!
    const [bare, , acknowledged] = OUTCOMES[name as keyof typeof OUTCOMES]
    const gate = info.gate < 0 ? undefined : protocolFeatureNames(featureMask(info.gate))[0]
    const carried = info.gate >= 0 && hasFeature(SESSION_PROTOCOL_FEATURES, info.gate)
    const expected = refusal(bare) === '' ? 'always' : carried ? gate : 'no'
    t.equal(served, expected, `${name}: served`)
    t.equal(otherwise, refusal(bare), `${name}: otherwise`)
    // What message-table.test.ts has seen. The region that it removes is not there.
    if (name !== 'REM_MEM_REG') {
      t.equal(served === 'no', acknowledged === 'nack' || refusal(acknowledged) !== '', `${name}: with all negotiated`)
    }
  }
})

const said = (yes: boolean): string => (yes ? 'yes' : 'no')

t.test('what is offered', async (t) => {
  const plain = (await ControllerBed.start(t, { iothreads: 2 })).controller
  const withConfig = (await ControllerBed.start(t, { config: { configSpace: true } })).controller
  for (const [bit, name, session, offered] of protocolFeatures) {
    t.equal(session, said(hasFeature(SESSION_PROTOCOL_FEATURES, Number(bit))), `${name}: session`)
    const always = hasFeature(plain.protocolFeatures, Number(bit))
    const perhaps = hasFeature(withConfig.protocolFeatures, Number(bit))
    t.equal(offered, perhaps && !always ? 'with `config-space`' : said(always), `${name}: offered`)
  }
  const virtio = plain.features | featureMask(VHOST_USER_F.PROTOCOL_FEATURES)
  for (const [bit, name, offered] of features) {
    t.equal(offered, said(hasFeature(virtio, Number(bit))), `${name}: offered`)
  }
})

t.test('the tests that it names are there', async (t) => {
  const named = [messages, protocolFeatures, features].flatMap((rows) =>
    rows.flatMap((row) =>
      row
        .at(-1)!
        .split(', ')
        .map((file) => `test/${file}`),
    ),
  )
  const inText = [...page.matchAll(/`(test\/[^`]+)`/g)].map(([, file]) => file!)
  for (const file of new Set([...named, ...inText])) t.ok(existsSync(join(ROOT, file)), file)
})
