import '../../support/packed-rings.js'
import '../hostile/memory.test.js'
