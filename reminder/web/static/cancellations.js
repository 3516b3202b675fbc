// @ts-check
/**
 * Cancelling with ten seconds to think again.
 *
 * The command waits for these seconds. Sent at once, it could only be undone by scheduling the same again: with another
 * `_id`, no longer part of its series, and maybe in somebody else's name. What waits is kept in the browser, so that
 * a decision is not lost with the page: leaving it sends the command, and if even that fails, the next visit does, and
 * says so where it has become too late. What is due sooner than in ten seconds leaves less time for an undo, or none.
 */

import { kept, local } from './memory.js'
import { CommandFailed } from './socket.js'

const UNDO = 10_000
/** ms before the event is due in which its cancellation has to be under way. */
const AHEAD = 2_000
/** ms until a cancellation that was not answered is tried again. */
const AGAIN = 5_000

/** @typedef {{ name: string, until: number }} Waiting `until`: ms, by this device's clock */

export class Cancellations {
  /** Called when something has changed. */
  onchange = () => {}
  /** @type {string[]} what is to be said of cancellations that were refused, until somebody does something */
  refused = []

  #socket
  #clock
  #token
  #kept = kept(local, 'cancellations')
  /** What was sent, and is cancelled by now or about to be. */
  #sent = new Set()

  /**
   * @param {import('./socket.js').Socket} socket
   * @param {import('./clock.js').Clock} clock
   * @param {() => string | undefined} token
   */
  constructor(socket, clock, token) {
    this.#socket = socket
    this.#clock = clock
    this.#token = token
    for (const [id, { until }] of Object.entries(this.#all)) this.#sendAt(until, id)
    addEventListener('pagehide', () => this.#leave())
  }

  /** @returns {Record<string, Waiting>} */
  get #all() {
    return this.#kept.get() ?? {}
  }

  /**
   * Until when (ms, by this device's clock) the cancellation of that event can be undone; 0 where it cannot any more,
   * undefined where it is not cancelled.
   * @param {string} id
   * @returns {number | undefined}
   */
  until(id) {
    return this.#sent.has(id) ? 0 : this.#all[id]?.until
  }

  /** @param {{ _id: string, name: string, time: string | null }} event or a series */
  cancel({ _id, name, time }) {
    const left = time === null ? UNDO : Date.parse(time) - this.#clock.now() - AHEAD
    const until = Date.now() + Math.max(0, Math.min(UNDO, left))
    this.#kept.set({ ...this.#all, [_id]: { name, until } })
    this.#sendAt(until, _id)
    this.read()
  }

  /** What was refused has been read. */
  read() {
    this.refused = []
    this.onchange()
  }

  /** @param {string} id */
  undo(id) {
    this.#forget(id)
    this.read()
  }

  /** @param {string} id */
  #forget(id) {
    const { [id]: _, ...others } = this.#all
    this.#kept.set(others)
  }

  /** @param {number} moment @param {string} id */
  #sendAt(moment, id) {
    setTimeout(() => this.#send(id, moment), Math.max(0, moment - Date.now()))
  }

  /** @param {string} id @param {number} moment */
  async #send(id, moment) {
    const waiting = this.#all[id]
    // Undone, maybe in another tab; or undone and cancelled again, which has a moment of its own.
    if (waiting === undefined || waiting.until > moment) return
    this.#sent.add(id)
    this.onchange()
    try {
      await this.#socket.command('cancelEvent', { _id: id })
    } catch (error) {
      if (!(error instanceof CommandFailed)) {
        setTimeout(() => this.#send(id, moment), AGAIN)
        return
      }
      this.#sent.delete(id)
      this.refused.push(`“${waiting.name}” was not cancelled: ${error.message}.`)
    }
    this.#forget(id)
    this.onchange()
  }

  #leave() {
    const all = this.#all
    for (const [id, waiting] of Object.entries(all)) {
      waiting.until = Math.min(waiting.until, Date.now())
      // By HTTP, as such a request outlives the page, which a WebSocket does not. Nobody is there for its answer: the
      // entry stays, and the next visit asks again, which is harmless.
      const token = this.#token()
      fetch('api/cancelEvent', {
        method: 'POST',
        keepalive: true,
        headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) },
        body: JSON.stringify({ _id: id }),
      }).catch(() => {})
    }
    this.#kept.set(all)
  }
}
