import '../../support/packed-rings.js'
import '../response-writer.test.js'
