// @ts-check
/** What is coming: events with their count-down, and series; both can be changed and cancelled. */

import { act, byId, make, title } from './dom.js'
import { PagedList } from './paged.js'
import { ruleWords } from './rules.js'
import { OWN, span, wall, words } from './wall.js'

const DAY = 86_400_000
const MONTH = 30.44 * DAY

/**
 * @typedef {object} Item an event or, with `repeat`, a series, as the server tells it
 * @property {string} name
 * @property {string | null} time
 * @property {string} _id
 * @property {string} [localTime]
 * @property {string} [timeZone]
 * @property {string} [channel]
 * @property {string} [series]
 * @property {string} [repeat]
 */

/**
 * @param {import('./socket.js').Socket} socket
 * @param {import('./clock.js').Clock} clock
 * @param {import('./cancellations.js').Cancellations} cancellations
 * @param {(item: Item) => void} change
 */
export function makeLists(socket, clock, cancellations, change) {
  /** @param {string} command @param {string} field */
  const list = (command, field) => ({
    fetch: async (/** @type {string | undefined} */ after, /** @type {number} */ limit) => {
      const { response } = await socket.command(command, { after, limit })
      return { items: /** @type {Item[]} */ (response[field]), next: response.next }
    },
    key: (/** @type {Item} */ { _id }) => _id,
    version: (/** @type {Item} */ item) => JSON.stringify([item, cancellations.until(item._id)]),
    row: (/** @type {Item} */ item) => (cancellations.until(item._id) === undefined ? row(item) : cancelledRow(item)),
  })

  /** @param {Item} item */
  const row = (item) =>
    make(
      'li',
      { class: 'row' },
      title(
        item,
        item.series === undefined ? undefined : 'repeats',
        item.repeat === undefined ? undefined : ruleWords(item.repeat),
      ),
      make('div', { class: 'when' }, ...when(item, clock.now())),
      item.time !== null && make('div', { class: 'count', 'data-due': Date.parse(item.time) }),
      make(
        'div',
        { class: 'acts' },
        act('Change', `Change ${item.name}`, () => change(item)),
        act('Cancel', `Cancel ${item.name}`, () => {
          cancellations.cancel(item)
          focusIn(item._id)
        }),
      ),
    )

  /** @param {Item} item */
  const cancelledRow = (item) => {
    const until = cancellations.until(item._id) ?? 0
    return make(
      'li',
      { class: 'row cancelled' },
      make('div', { class: 'what' }, make('span', { text: `“${item.name}” is cancelled` })),
      until > Date.now() &&
        make(
          'div',
          { class: 'acts' },
          make(
            'button',
            {
              type: 'button',
              class: 'small',
              'aria-label': `Undo: keep ${item.name}`,
              click: () => {
                cancellations.undo(item._id)
                focusIn(item._id)
              },
            },
            'Undo ',
            make('span', { 'data-until': until, 'aria-hidden': 'true' }),
          ),
        ),
    )
  }

  /** Their row was made anew, and with it the button that had the focus. @param {string} id */
  const focusIn = (id) =>
    /** @type {HTMLElement | null} */ (document.querySelector(`[data-key="${id}"] .acts button:last-child`))?.focus()

  return {
    upcoming: new PagedList(byId('upcoming'), list('listEvents', 'events')),
    series: new PagedList(byId('series'), list('listSeries', 'series')),
  }
}

/**
 * When an item is due: in this browser's zone, and in its own where that has another clock.
 * @param {{ time: string | null, timeZone?: string }} item
 * @param {number} now
 */
export function when({ time, timeZone }, now) {
  if (time === null) return ['no more']
  const due = Date.parse(time)
  const shown = [make('time', { datetime: time, text: words(due, OWN, now) })]
  if (timeZone !== undefined && timeZone !== OWN) {
    try {
      if (wall(due, timeZone) !== wall(due, OWN)) {
        const there = words(due, timeZone, now)
        const sameDay = wall(due, timeZone).slice(0, 10) === wall(due, OWN).slice(0, 10)
        shown.push(make('span', { text: `(${sameDay ? wall(due, timeZone).slice(11) : there} in ${place(timeZone)})` }))
      }
    } catch {
      // A zone that this browser does not know.
    }
  }
  return shown
}

/** @param {string} zone */
export const place = (zone) => zone.replace(/^.*\//, '').replaceAll('_', ' ')

/** What is far away, about; its day stands beside it. @param {number} duration ms */
function months(duration) {
  const number = Math.round(duration / MONTH)
  return number < 24 ? `${number} months` : `${Math.round(number / 12)} years`
}

/** Writes all count-downs anew. @param {number} now the server's time */
export function countDown(now) {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-due]'))) {
    const left = Number(element.dataset.due) - now
    const text = left > 0 ? `in ${left < 100 * DAY ? span(left) : months(left)}` : 'now'
    if (element.textContent !== text) element.textContent = text
    element.classList.toggle('soon', left < 60_000)
  }
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-until]'))) {
    element.textContent = `(${Math.max(0, Math.ceil((Number(element.dataset.until) - Date.now()) / 1000))})`
  }
}
