import '../../support/packed-rings.js'
import '../composite.test.js'
