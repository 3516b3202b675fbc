// The page's own client in Node.js: `node page_soak.mjs FOLDER URL`, where FOLDER is a node_modules with "ws". Asks for
// an event for each JSON line `{eventName, time, timeZone}` of standard input, and ends with it. What happens is told
// as JSON lines, `[ms since 1970, event, ...arguments]`.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { CommandFailed, Socket } from '../reminder/web/static/socket.js'

const [folder, url] = process.argv.slice(2)
const WebSocket = createRequire(import.meta.url)(`${folder}/ws`)

const tell = (...event) => process.stdout.write(`${JSON.stringify([Date.now(), ...event])}\n`)
const socket = new Socket(url, { WebSocket, patience: 60_000, delays: [200, 2_000] })

socket.on('state', ({ state, reason }) => tell('state', state, state === 'connected' ? socket.recovered : reason))
for (const name of ['eventReminder', 'cursor', 'replayed']) socket.on(name, (argument) => tell(name, argument))
socket.open()

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const data = JSON.parse(line)
    try {
      tell('answer', data.eventName, { status: 'success', ...(await socket.command('scheduleEvent', data)) })
    } catch (error) {
      if (error instanceof CommandFailed) tell('answer', data.eventName, { status: 'failure', error: error.message })
    }
  })
  .on('close', () => process.exit())
