/** The OpenAPI document of the control API. docs/control-api.json is a copy of it. */
import type { OpenAPIHono } from '@hono/zod-openapi'

/** Version of the API: a new minor one adds, a new major one takes away and gets new paths. */
export const API_VERSION = '1.0.0'

const DESCRIPTION = `HTTP and JSON over the Unix socket that \`--control-socket\` names. The socket has mode 0600: whoever may connect
may do everything. Names are in kebab-case; what is a key of the configuration has its name there. Sizes are in bytes. Answers
may get further members in later versions; a request with a member that is not known is refused.`

export function openApiDocument(app: OpenAPIHono): ReturnType<OpenAPIHono['getOpenAPI31Document']> {
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'vhost-user-scsid control API',
      version: API_VERSION,
      description: DESCRIPTION,
      license: { name: 'Apache-2.0' },
    },
  })
}
