// The page's own client in Node.js, for tests, driven by JSON lines on stdin as `tests/js/driver.mjs` is; what happens to
// it is told as JSON lines on stdout.
import { stdin, stdout } from 'node:process'
import { createInterface } from 'node:readline'
import WebSocket from 'ws'
import { Socket } from '../../reminder/web/static/socket.js'

const sockets = new Map()
const tell = (id, event, rest = {}) => stdout.write(`${JSON.stringify({ id, event, ...rest })}\n`)

const verbs = {
  open({ id, url, options }) {
    const socket = new Socket(url, { WebSocket, delays: [50, 200], ...options })
    sockets.set(id, socket)
    socket.on('state', ({ state, reason }) => tell(id, state, { reason, recovered: socket.recovered }))
    for (const name of ['eventReminder', 'cursor', 'replayed']) {
      socket.on(name, (...args) => tell(id, 'message', { name, args }))
    }
    socket.open()
  },
  reopen: ({ id }) => sockets.get(id).open(),
  close: ({ id }) => sockets.get(id).close(),
  command: ({ id, ack, name, data, options }) =>
    sockets
      .get(id)
      .command(name, data, options)
      .then(
        (answer) => tell(id, 'ack', { ack, args: [answer] }),
        ({ name, message, field, sent }) => tell(id, 'ack', { ack, args: [{ name, message, field, sent }] }),
      ),
}

for await (const line of createInterface({ input: stdin })) {
  const { verb, ...rest } = JSON.parse(line)
  verbs[verb](rest)
}
process.exit()
