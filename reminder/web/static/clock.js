// @ts-check
/**
 * The server's time, as the clocks of those who look at the page may be wrong: reckoned from what the server says, by
 * a timer that nobody sets. Until it has said something it is this device's.
 */

const AGAIN = 60_000

export class Clock {
  /** Called when the server has told its time. */
  onset = () => {}
  #difference = Date.now() - performance.now()
  #socket

  /** @param {import('./socket.js').Socket} socket */
  constructor(socket) {
    this.#socket = socket
    socket.on('state', ({ state }) => state === 'connected' && this.ask())
    setInterval(() => this.ask(), AGAIN)
  }

  /** What the server's clock shows (ms since 1970). */
  now() {
    return Math.round(performance.now() + this.#difference)
  }

  /** Asks the server; where it does not answer, time goes on as it did. */
  async ask() {
    const begin = performance.now()
    try {
      const { response } = await this.#socket.command('getStatus')
      // The answer was made on the way: in the middle of it, as far as anybody knows.
      this.#difference = Date.parse(response.now) - (begin + performance.now()) / 2
      this.onset()
    } catch {
      // The next answer will do.
    }
  }
}
