// Express with express-graceful-exit, with the options that the package's README recommends.
'use strict'

const express = require('express')
const http = require('node:http')
const gracefulExit = require('express-graceful-exit')

const hello = 'Hello, World!'

const app = express()
const server = http.createServer(app)
gracefulExit.init(server)
app.use(gracefulExit.middleware(app))
app.get('/plaintext', (request, response) => response.type('text/plain').send(hello))
app.get('/delay/:millis', (request, response) => {
  setTimeout(() => response.type('text/plain').send(hello), Number(request.params.millis))
})
server.keepAliveTimeout = 75_000 // the default of 5 s would end the bench's idle connections
server.listen(Number(process.argv[2]), '127.0.0.1', 4096)
process.on('SIGTERM', () => {
  gracefulExit.gracefulExitHandler(app, server, {
    performLastRequest: true,
    errorDuringExit: true,
    force: true,
    suicideTimeout: 5_000
  })
})
