import '../../support/packed-rings.js'
import '../request-reader.test.js'
