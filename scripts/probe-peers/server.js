// A server on Node's http with http-graceful-shutdown, for scripts/probe-peers/run.

'use strict';

const http = require('http');
const gracefulShutdown = require('http-graceful-shutdown');

const server = http.createServer((request, response) => {
  switch (request.url) {
    case '/slow':
      setTimeout(() => response.end('done\n'), 400);
      break;
    case '/stream': {
      let left = 10;
      const timer = setInterval(() => {
        response.write('chunk\n');
        if (--left === 0) {
          clearInterval(timer);
          response.end();
        }
      }, 50);
      break;
    }
    case '/upload':
      request.resume();
      request.on('end', () => response.end('taken\n'));
      break;
    default:
      response.end('Hello, World!');
  }
});

gracefulShutdown(server, { signals: 'SIGTERM', timeout: 4000 });
server.listen(Number(process.env.PORT), '127.0.0.1');
