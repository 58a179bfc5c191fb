import '../../support/packed-rings.js'
import '../lun-attachment.test.js'
