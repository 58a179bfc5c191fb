import { DISK_COMMANDS, FULL_DISK_COMMANDS } from '../../scsi/cdb-table.js'
import type { Command } from '../../scsi/command.js'
import { type Impossible, namesOf, readImpossibilities, readPasses } from './guest/expectations.js'

/** By the name of a command, up to its length or its service action: the standard that has it, and the test with its vectors. */
const FAMILIES: Readonly<Record<string, readonly [standard: string, test: string]>> = {
  'TEST UNIT READY': ['SPC-4', 'unit-ready'],
  'REQUEST SENSE': ['SPC-4', 'request-sense'],
  'FORMAT UNIT': ['SBC-3', 'format-unit'],
  READ: ['SBC-3', 'read-write'],
  WRITE: ['SBC-3', 'read-write'],
  INQUIRY: ['SPC-4', 'inquiry'],
  'MODE SELECT': ['SPC-4', 'mode-select'],
  'MODE SENSE': ['SPC-4', 'mode-sense'],
  RESERVE: ['SPC-2', 'reserve-release'],
  RELEASE: ['SPC-2', 'reserve-release'],
  'START STOP UNIT': ['SBC-3', 'start-stop-unit'],
  'RECEIVE DIAGNOSTIC RESULTS': ['SPC-4', 'diagnostics'],
  'SEND DIAGNOSTIC': ['SPC-4', 'diagnostics'],
  'PREVENT ALLOW MEDIUM REMOVAL': ['SBC-3', 'prevent-allow'],
  'READ CAPACITY': ['SBC-3', 'read-capacity'],
  'WRITE AND VERIFY': ['SBC-3', 'verify'],
  VERIFY: ['SBC-3', 'verify'],
  'PRE-FETCH': ['SBC-3', 'pre-fetch'],
  'SYNCHRONIZE CACHE': ['SBC-3', 'synchronize-cache'],
  'READ DEFECT DATA': ['SBC-3', 'read-defect-data'],
  'WRITE BUFFER': ['SPC-4', 'read-write-buffer'],
  'READ BUFFER': ['SPC-4', 'read-write-buffer'],
  'WRITE SAME': ['SBC-3', 'write-same'],
  UNMAP: ['SBC-3', 'unmap'],
  SANITIZE: ['SBC-3', 'sanitize'],
  'LOG SELECT': ['SPC-4', 'log-select'],
  'LOG SENSE': ['SPC-4', 'log-sense'],
  'PERSISTENT RESERVE IN': ['SPC-4', 'persistent-reserve'],
  'PERSISTENT RESERVE OUT': ['SPC-4', 'persistent-reserve'],
  'EXTENDED COPY': ['SPC-4', 'extended-copy'],
  'RECEIVE COPY STATUS': ['SPC-4', 'receive-copy-results'],
  'RECEIVE COPY OPERATING PARAMETERS': ['SPC-4', 'receive-copy-results'],
  'RECEIVE COPY FAILURE DETAILS': ['SPC-4', 'receive-copy-results'],
  'COMPARE AND WRITE': ['SBC-3', 'compare-and-write'],
  ORWRITE: ['SBC-3', 'orwrite'],
  'WRITE ATOMIC': ['SBC-4', 'write-atomic'],
  'GET LBA STATUS': ['SBC-3', 'get-lba-status'],
  'REPORT LUNS': ['SPC-4', 'report-luns'],
  'REPORT TARGET PORT GROUPS': ['SPC-4', 'report-target-port-groups'],
  'REPORT SUPPORTED OPERATION CODES': ['SPC-4', 'report-supported'],
  'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS': ['SPC-4', 'report-supported'],
}

const hex = (byte: number): string => byte.toString(16).padStart(2, '0')

export interface CommandRow {
  /** `28`, or `9e/10` with a service action. */
  readonly code: string
  readonly name: string
  readonly standard: string
  /** What REPORT SUPPORTED OPERATION CODES says (SPC-4 6.35.3): a bit that is 0 must be 0. */
  readonly usage: string
  /** Of the test with its byte-exact vectors, below the root. */
  readonly test: string
}

/** Throws when a command of the table is new to the page. */
export function commandRow(command: Command): CommandRow {
  const family = FAMILIES[command.name.replace(/[(,].*$/, '')]
  if (family === undefined) throw new Error(`${command.name} has no test in the table of commands`)
  const [standard, test] = family
  const action = command.serviceAction < 0 ? '' : `/${hex(command.serviceAction)}`
  return {
    code: `${hex(command.opcode)}${action}`,
    name: command.name,
    standard,
    usage: [...command.usage].map(hex).join(' '),
    test: `test/scsi/commands/${test}.test.ts`,
  }
}

const usages = (commands: readonly Command[]): Map<string, string> =>
  new Map(commands.map(commandRow).map(({ name, usage }) => [name, usage]))

const table = (heading: readonly string[], rows: readonly (readonly string[])[]): string =>
  [heading, heading.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

/** What the kinds of disk of the guest test are. */
const DISKS: Readonly<Record<string, string>> = {
  memory: 'memory, 512 byte blocks of 4,096 byte physical blocks, removable, two ways to it',
  file: 'a file, otherwise the same',
  fixed: 'memory, 512 byte blocks, not removable',
  'blocks-4096': 'memory, 4,096 byte blocks, not removable',
  'read-only': 'a file that is served read-only, not removable',
}

const NAMES = (names: Iterable<string>): string => [...names].map((name) => `\`${name}\``).join(' ')

const reasons = (impossible: readonly Impossible[]): string =>
  impossible.map(({ why, tests }) => `- ${why} ${NAMES(tests)}`).join('\n')

/** The content of docs/scsi-conformance.md. */
export function conformancePage(): string {
  const { everywhere, variants } = readImpossibilities()
  const full = usages(FULL_DISK_COMMANDS.commands)
  const commands = DISK_COMMANDS.commands.map(commandRow)
  const differs = commands.filter(({ name, usage }) => full.get(name) !== usage)
  const passes = Object.fromEntries(Object.keys(variants).map((disk) => [disk, new Set(readPasses(disk))]))
  const counted = new Set(Object.keys(variants).flatMap((disk) => [...passes[disk]!, ...namesOf(variants[disk]!)]))
  const suites = [...new Set([...counted].map((name) => name.slice(0, name.indexOf('.'))))].sort()
  const of = (names: Iterable<string>, suite: string): number =>
    [...names].filter((name) => name.startsWith(`${suite}.`)).length
  const disks = Object.keys(variants)
  return `# SCSI: commands and conformance

\`npm run docs\` writes this page from the table of commands (\`scsi/cdb-table.ts\`) and from the results that the tests hold
(\`test/e2e/expectations\`); \`test/docs/scsi-conformance.test.ts\` keeps it current.

## Commands

The usage data is what REPORT SUPPORTED OPERATION CODES says of the CDB: a bit that is 0 there must be 0, or the command ends with INVALID FIELD
IN CDB. Every command has byte-exact vectors in the test that stands behind it; \`test/scsi/cdb-table.test.ts\` goes over each bit of each
CDB, \`test/scsi/hostile.test.ts\` over random ones.

${table(
  ['code', 'command', 'standard', 'CDB usage data', 'vectors'],
  commands.map(({ code, name, standard, usage, test }) => [code, name, standard, `\`${usage}\``, test]),
)}

A disk with \`discard=ignore\` is fully provisioned, and these differ there:

${table(
  ['command', 'CDB usage data'],
  differs.map(({ name }) => [name, full.has(name) ? `\`${full.get(name)}\`` : 'not supported']),
)}

WRITE ATOMIC(16) is there where the medium can do it.

## iscsi-test-cu

libiscsi's conformance tests, family ALL, run inside a Linux guest on \`/dev/sg0\` (\`test/e2e/iscsi-test-cu.test.ts\`). A test that the tool
skips does not count as passed, even though CUnit says so. The disks:

${disks.map((disk) => `- **${disk}**: ${DISKS[disk] ?? ''}`).join('\n')}

Tests that pass, of those that can run on a disk which is driven by way of SG_IO:

${table(
  ['suite', ...disks],
  [
    ...suites.map((suite) => [suite, ...disks.map((disk) => `${of(passes[disk]!, suite)} of ${of(counted, suite)}`)]),
    ['all', ...disks.map((disk) => `${passes[disk]!.size} of ${counted.size}`)],
  ],
)}

### What cannot pass on a disk, and why

${disks.map((disk) => `**${disk}**\n\n${reasons(variants[disk]!)}`).join('\n\n')}

### What does not count

${reasons(everywhere)}
`
}
