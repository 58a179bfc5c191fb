import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Child } from '../child.js'
import { eventually, ReportedError, reported } from '../deadline.js'
import type { Teardown } from '../teardown.js'
import { tempDir } from '../temp-dir.js'
import { Channel, type RunResult } from './channel.js'
import { buildInitramfs } from './initramfs.js'
import { startQemu } from './qemu.js'
import type { Qmp } from './qmp.js'
import { findRequirements, guestPrograms } from './requirements.js'

export interface GuestOptions {
  /** QEMU arguments: the devices under test. */
  devices: readonly string[]
  /** The programs to have in the guest, beside busybox: names, or paths, which may be of other files too. */
  programs?: readonly string[]
  /** As QEMU's `-m` takes it. */
  memory?: string
  cpus?: number
  /** See QemuOptions. */
  huge?: boolean
  /** What else is worth reading when something fails, such as the daemon's stderr. */
  report?: () => string
}

export interface RunOptions {
  /** Milliseconds. */
  timeout?: number
}

const BOOT = 120_000
const RUN = 120_000
const POWER_OFF = 30_000
const MIGRATION = 180_000
/** Longest standstill that QEMU aims at, ms: long for a guest that is emulated. */
const DOWNTIME = 2000

const PORTS = [
  ...['-device', 'virtio-serial-pci', '-device', 'virtserialport,nr=1,chardev=socket0,name=command'],
  ...['-device', 'virtserialport,nr=2,chardev=socket1,name=stream'],
]

/** A Linux guest that has booted. Every wait has a deadline, and a failure shows the console and what `report` says. */
export class Guest {
  qemu: Child
  qmp: Qmp
  /** What is written to STREAM_PORT. */
  stream: Duplex
  #channel: Channel
  #report: () => string
  #bootId = ''

  constructor(qemu: Child, qmp: Qmp, channel: Channel, stream: Duplex, report: () => string) {
    this.qemu = qemu
    this.qmp = qmp
    this.stream = stream
    this.#channel = channel
    this.#report = report
  }

  /** Another one after each boot. */
  get bootId(): string {
    return this.#bootId
  }

  /** Runs a shell script in the guest. */
  run(script: string, { timeout = RUN }: RunOptions = {}): Promise<RunResult> {
    return this.#reported(this.#channel.run(script, timeout))
  }

  /** Runs a shell script that is expected to succeed (each of its commands: `set -e`); its stdout. */
  async check(script: string, options?: RunOptions): Promise<string> {
    const { status, stdout, stderr } = await this.run(`set -e\n${script}`, options)
    if (status !== 0)
      throw new ReportedError(`status ${status} in the guest of: ${script}`, stdout + stderr + this.report())
    return stdout
  }

  /**
   * The name of the disk at a LUN (`sda`), which must exist. LUNs from 256 on are as Linux shows them, 0x4000 | LUN.
   */
  async disk(target: number, lun: number): Promise<string> {
    return (await this.check(`ls /sys/class/scsi_device/*:0:${target}:${lun}/device/block`)).trim()
  }

  /** Waits for a boot that `action` causes. */
  async boot(action: () => unknown): Promise<void> {
    const ready = this.#channel.ready(BOOT)
    action()
    this.#bootId = await this.#reported(ready)
  }

  /** Has the guest restart itself and waits until it is ready again. */
  async reboot(): Promise<void> {
    await this.boot(() => this.#channel.send('reboot -f'))
  }

  /** Has the guest power off and waits for QEMU's end. */
  async powerOff(): Promise<void> {
    this.#channel.send('poweroff -f')
    const { code, signal } = await this.#reported(this.qemu.ended(POWER_OFF))
    if (code !== 0) throw new ReportedError(`QEMU ended with ${code ?? signal}`, this.report())
  }

  /**
   * Migrates to another QEMU and goes on there; the old one has ended then. Nothing runs by way of `run` meanwhile, only in
   * the background.
   *
   * @param devices of the other one, which have to be the same but for what they are connected to
   * @returns what QEMU tells of the migration (query-migrate)
   */
  async migrate(t: Teardown, options: GuestOptions): Promise<unknown> {
    const address = `unix:${join(tempDir(t), 'migration.sock')}`
    const to = await launch(t, options, ['-incoming', address])
    const old = this.qemu
    const report = (): string => this.report() + to.report()
    await this.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 33, 'downtime-limit': DOWNTIME })
    await this.qmp.execute('migrate', { uri: address })
    const told = await reported(
      eventually(MIGRATION, 'the end of the migration', async () => {
        const state = await this.qmp.execute<{ status: string }>('query-migrate')
        if (state.status === 'failed') throw new Error(`the migration has failed: ${JSON.stringify(state)}`)
        return state.status === 'completed' ? state : undefined
      }),
      report,
    )
    await reported(to.qmp.event('RESUME', MIGRATION), report)
    this.qmp = to.qmp
    this.qemu = to.qemu
    this.stream = to.stream
    this.#channel = to.#channel
    this.#report = to.#report
    await old.kill()
    return told
  }

  report(): string {
    return this.qemu.report() + this.#report()
  }

  #reported<T>(promise: Promise<T>): Promise<T> {
    return reported(promise, () => this.report())
  }
}

const launch = async (t: Teardown, options: GuestOptions, args: readonly string[]): Promise<Guest> => {
  const { kernel, qemu, busybox, dash, qboot } = findRequirements()
  const initrd = buildInitramfs({ kernel, busybox, dash, programs: guestPrograms(options.programs ?? []) })
  const { child, qmp, sockets } = await startQemu(t, {
    qemu,
    memory: options.memory ?? '512M',
    cpus: options.cpus ?? 2,
    huge: options.huge ?? false,
    sockets: 2,
    args: [
      ...(qboot === undefined ? [] : ['-bios', qboot]),
      ...[
        '-kernel',
        kernel.image,
        '-initrd',
        initrd,
        '-append',
        'console=ttyS0 loglevel=5 trace_clock=global rdinit=/init',
      ],
      ...PORTS,
      ...options.devices,
      ...args,
    ],
  })
  const [command, stream] = sockets as [Duplex, Duplex]
  return new Guest(child, qmp, new Channel(command), stream, options.report ?? (() => ''))
}

/** Boots a guest and waits until it takes scripts; the disks of a SCSI host are there by then. */
export const startGuest = async (t: Teardown, options: GuestOptions): Promise<Guest> => {
  const guest = await launch(t, options, ['-S'])
  await guest.boot(() => guest.qmp.execute('cont').catch(() => {}))
  return guest
}
