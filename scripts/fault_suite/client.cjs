// An unmodified socket.io-client: `node client.cjs MODULE URL TRANSPORTS`. What happens is told as JSON lines,
// `[ms since 1970, event, ...arguments]`. Ends with its standard input.
const [module_, url, transports] = process.argv.slice(2)
const { io } = require(module_)

const tell = (event, ...args) => process.stdout.write(`${JSON.stringify([Date.now(), event, ...args])}\n`)
const socket = io(url, { transports: transports.split(',') })

socket.on('connect', () => tell('connect', socket.recovered))
socket.on('disconnect', (reason) => tell('disconnect', reason))
socket.onAny(tell)
process.stdin.resume().on('end', () => process.exit())
