import t from 'tap'
import { CtlError } from '../../../daemon/ctl/errors.js'

const cause = new Error('x')
t.match(new CtlError('EBUSY', 'busy', { cause }), { name: 'CtlError', code: 'EBUSY', message: 'busy', cause })
