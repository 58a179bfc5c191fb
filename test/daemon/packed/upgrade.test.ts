import '../../support/packed-rings.js'
import '../upgrade.test.js'
