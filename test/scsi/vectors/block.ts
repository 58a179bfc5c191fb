import { filled, invalidField, invalidParameter, OUT_OF_RANGE, sense, type Vector } from './vector.js'

/** The other block commands: capacity, cache, deallocation, what the medium is like. */
export const BLOCK: readonly Vector[] = [
  { command: 'READ CAPACITY(10)', cdb: '25 00*9', data: '00 00 07 ff 00 00 02 00' },
  {
    command: 'READ CAPACITY(10)',
    cdb: '25 00*9',
    before: ({ state }) => {
      state.capacity = 2 ** 33
    },
    data: 'ff ff ff ff 00 00 02 00',
  },
  { command: 'READ CAPACITY(10)', cdb: '25 00 00 00 00 01 00 00 00 00', sense: invalidField('cf 00 02') },
  {
    command: 'READ CAPACITY(16)',
    cdb: '9e 10 00*8 00 00 00 20 00 00',
    data: '00*6 07 ff 00 00 02 00 00 03 c0 00 00*16',
  },
  {
    command: 'READ CAPACITY(16)',
    cdb: '9e 10 00*8 00 00 00 20 00 00',
    config: { blockSize: 4096, discard: false },
    before: ({ state }) => {
      state.capacity = 2 ** 40
    },
    data: '00 00 00 ff ff ff ff ff 00 00 10 00 00 00 00 00 00*16',
  },
  { command: 'READ CAPACITY(16)', cdb: '9e 10 00*8 00 00 00 09 00 00', data: '00*6 07 ff 00' },
  { command: 'READ CAPACITY(16)', cdb: '9e 30 00*8 00 00 00 20 00 00', sense: invalidField('cd 00 01') },
  {
    command: 'GET LBA STATUS',
    cdb: '9e 12 00*8 00 00 00 ff 00 00',
    before: filled(1, 7),
    data: '00 00 00 34 00*4 00*8 00 00 00 01 01 00*3 00*7 01 00 00 00 01 00 00*3 ' + '00*7 02 00 00 07 fe 01 00*3',
  },
  { command: 'GET LBA STATUS', cdb: '9e 12 00*6 08 00 00 00 00 18 00 00', sense: OUT_OF_RANGE },
  { command: 'SYNCHRONIZE CACHE(10)', cdb: '35 02 00 00 00 00 00 00 00 00' },
  { command: 'SYNCHRONIZE CACHE(10)', cdb: '35 00 00 00 08 00 00 00 01 00', sense: OUT_OF_RANGE },
  { command: 'SYNCHRONIZE CACHE(16)', cdb: '91 00 00*7 05 00 00 00 01 00 00' },
  { command: 'SYNCHRONIZE CACHE(16)', cdb: '91 00 00*6 08 01 00 00 00 00 00 00', sense: OUT_OF_RANGE },
  { command: 'PRE-FETCH(10)', cdb: '34 02 00 00 00 05 00 00 01 00' },
  { command: 'PRE-FETCH(10)', cdb: '34 00 00 00 08 01 00 00 00 00', sense: OUT_OF_RANGE },
  { command: 'PRE-FETCH(16)', cdb: '90 00 00*7 05 00 00 00 00 00 00' },
  { command: 'PRE-FETCH(16)', cdb: '90 01 00*7 05 00 00 00 01 00 00', sense: invalidField('c8 00 01') },
  {
    command: 'UNMAP',
    cdb: '42 00 00 00 00 00 00 00 18 00',
    before: filled(1, 7),
    out: '00 16 00 10 00*4 00*7 01 00 00 00 01 00*4',
    residual: 0,
    medium: [512, '00*512'],
  },
  { command: 'UNMAP', cdb: '42 00 00 00 00 00 00 00 00 00' },
  { command: 'UNMAP', cdb: '42 00 00 00 00 00 00 00 04 00', out: '00*4', sense: sense('05 1a 00') },
  {
    command: 'UNMAP',
    cdb: '42 00 00 00 00 00 00 00 18 00',
    out: '00 16 00 10 00*4 00*6 08 00 00 00 00 01 00*4',
    sense: OUT_OF_RANGE,
  },
  { command: 'UNMAP', cdb: '42 01 00 00 00 00 00 00 18 00', sense: invalidField('c8 00 01') },
  {
    command: 'UNMAP',
    cdb: '42 00 00 00 00 00 00 00 18 00',
    before: ({ state }) => {
      state.capacity = 2 ** 22
    },
    out: '00 16 00 10 00*4 00*8 00 10 00 01 00*4',
    sense: invalidParameter('80 00 10'),
  },
  {
    command: 'WRITE SAME(10)',
    cdb: '41 00 00 00 00 05 00 00 02 00',
    out: '11*512',
    residual: 0,
    medium: [2560, '11*1024 00'],
  },
  { command: 'WRITE SAME(10)', cdb: '41 10 00 00 00 05 00 00 02 00', out: '11*512', sense: invalidField('cc 00 01') },
  { command: 'WRITE SAME(16)', cdb: '93 09 00*7 01 00 00 00 02 00 00', before: filled(2, 7), medium: [512, '00*1024'] },
  { command: 'WRITE SAME(16)', cdb: '93 00 00*6 08 00 00 00 00 01 00 00', out: '00*512', sense: OUT_OF_RANGE },
  { command: 'READ DEFECT DATA(10)', cdb: '37 00 1d 00 00 00 00 00 10 00', data: '00 1d 00 00' },
  { command: 'READ DEFECT DATA(10)', cdb: '37 00 3d 00 00 00 00 00 10 00', sense: invalidField('cd 00 02') },
  { command: 'READ DEFECT DATA(12)', cdb: 'b7 0c 00 00 00 00 00 00 00 10 00 00', data: '00 0c 00 00 00 00 00 00' },
  { command: 'READ DEFECT DATA(12)', cdb: 'b7 20 00 00 00 00 00 00 00 10 00 00', sense: invalidField('cd 00 01') },
]
