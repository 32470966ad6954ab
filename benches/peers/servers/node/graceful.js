// Node's http with http-graceful-shutdown.
'use strict'

const http = require('node:http')
const gracefulShutdown = require('http-graceful-shutdown')

const hello = 'Hello, World!'

const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'text/plain')
  if (request.url.startsWith('/delay/')) {
    setTimeout(() => response.end(hello), Number(request.url.slice('/delay/'.length)))
  } else {
    response.end(hello)
  }
})
server.keepAliveTimeout = 75_000 // the default of 5 s would end the bench's idle connections
server.listen(Number(process.argv[2]), '127.0.0.1', 4096)
gracefulShutdown(server, { signals: 'SIGTERM', timeout: 5_000 })
