import t from 'tap'
import { LunError } from '../../daemon/lun-error.js'

t.test('says why, by an errno', async (t) => {
  const cause = new Error('x')
  t.match(new LunError('EBUSY', 'in use', { cause }), { name: 'LunError', code: 'EBUSY', message: 'in use', cause })
})
