// What the page makes of wall times, against vectors: a JSON array of `{zones, cases}` on stdin, where a case is the
// wall time in minutes since 1970 and what has to be added to it for UTC. Prints the zones in which some differ.
import { text } from 'node:stream/consumers'
import { resolve } from '../../reminder/web/static/wall.js'

const differing = JSON.parse(await text(process.stdin)).filter(({ zones: [zone], cases }) =>
  cases.some(([minutes, offset]) => {
    const wall = new Date(minutes * 60_000).toISOString().slice(0, 16).replace('T', ' ')
    return resolve(wall, zone)?.instant !== (minutes + offset) * 60_000
  }),
)
console.log(JSON.stringify(differing.map(({ zones: [zone] }) => zone)))
