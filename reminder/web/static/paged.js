// @ts-check
/** A list of which more is fetched when somebody asks for more, and which can be fetched anew as far as it is shown. */

import { show } from './dom.js'

const PAGE = 20
const MOST = 1_000

/**
 * @template T
 * @typedef {object} Source
 * @property {(after: string | undefined, limit: number) => Promise<{ items: T[], next: string | null }>} fetch
 * @property {(item: T) => string} key
 * @property {(item: T) => HTMLElement} row
 * @property {(item: T) => string} version
 */

/** @template T */
export class PagedList {
  /** @type {T[]} */
  #items = []
  /** @type {string | null} */
  #next = null
  /** How many are to be shown: a fetch that is overtaken by another leaves to that what it was for. */
  #wanted = PAGE
  #fetches = 0
  #source
  #list
  #empty
  #error
  #more

  /**
   * @param {HTMLElement} panel
   * @param {Source<T>} source
   */
  constructor(panel, source) {
    const find = (/** @type {string} */ selector) => /** @type {any} */ (panel.querySelector(selector))
    this.#source = source
    this.#list = find('.rows')
    this.#empty = find('.empty')
    this.#error = find('.error')
    this.#more = find('.more')
    this.#more.addEventListener('click', () => this.#fetchMore())
  }

  /** Forgets what it shows, and fetches the first page. */
  restart() {
    this.#items = []
    this.#wanted = PAGE
    return this.refresh()
  }

  /** Fetches anew what is shown. */
  refresh() {
    return this.#fetch(undefined, this.#wanted)
  }

  /** Shows what it knows, as something else about it has changed. */
  draw() {
    const { key, row, version } = this.#source
    show(this.#list, this.#items, key, row, version)
    this.#more.hidden = this.#next === null
  }

  async #fetchMore() {
    const before = this.#items.length
    this.#wanted = Math.min(MOST, before + PAGE)
    await this.#fetch(this.#next ?? undefined, PAGE)
    // The button may be gone; who used it goes on with what it brought.
    this.#list.children[before]?.querySelector('button')?.focus()
  }

  /** @param {string | undefined} after @param {number} limit */
  async #fetch(after, limit) {
    const number = ++this.#fetches
    let problem = ''
    try {
      const { items, next } = await this.#source.fetch(after, limit)
      if (number !== this.#fetches) return
      this.#items = after === undefined ? items : [...this.#items, ...items]
      this.#next = next
    } catch (error) {
      if (number !== this.#fetches) return
      problem = error instanceof Error ? error.message : String(error)
    }
    // Never hidden, as a screen reader listens to what is there; and the same is not said again with each fetch.
    if (this.#error.textContent !== problem) this.#error.textContent = problem
    this.#empty.hidden = this.#items.length > 0 || problem !== ''
    this.draw()
  }
}
