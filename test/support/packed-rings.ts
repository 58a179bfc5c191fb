/** Imported before a test file, has it run with packed rings. */
import { ringKind } from './ring-kind.js'

ringKind.packed = true
