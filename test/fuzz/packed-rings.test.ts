import { fuzzRings } from '../support/fuzz/ring-suite.js'

fuzzRings(true)
