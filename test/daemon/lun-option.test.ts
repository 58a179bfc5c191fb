import t from 'tap'
import { parseLunOption } from '../../daemon/lun-option.js'

t.test('a LUN from the command line', (t) => {
  t.strictSame(parseLunOption('path=/a,,b.img,size=1G,read-only=on,lun=3'), {
    path: '/a,b.img',
    size: 2 ** 30,
    'read-only': true,
    lun: 3,
  })
  t.end()
})

t.test('faults name the option', (t) => {
  const cases: [string, string, string | RegExp][] = [
    ['path=/a,color=red', 'VUS_CONFIG', /^--lun=path=\/a,color=red: unknown key "color", expected one of id, target/],
    ['size=1G,size=2G', 'VUS_USAGE', '--lun=size=1G,size=2G: key "size" is given twice'],
    ['disk.img', 'VUS_USAGE', '--lun=disk.img: expected KEY=VALUE, got "disk.img"'],
    ['lun=x', 'VUS_CONFIG', '--lun=lun=x: lun: expected a whole number from 0 to 16383, got "x"'],
    ['driver=nbd', 'VUS_CONFIG', '--lun=driver=nbd: driver=nbd is not supported by this version'],
  ]
  for (const [text, code, message] of cases) t.throws(() => parseLunOption(text), { code, message }, text)
  t.end()
})
