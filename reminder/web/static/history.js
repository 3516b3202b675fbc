// @ts-check
/** What was: the reminders of a day, and the days before and after it. */

import { byId, make, title } from './dom.js'
import { PagedList } from './paged.js'
import { when } from './upcoming.js'
import { OWN, resolve, wall } from './wall.js'

const DAY = 86_400_000
/** Pages without a reminder that are asked for in a row: others' channels may lie between. */
const PATIENCE = 20

/**
 * @param {import('./socket.js').Socket} socket
 * @param {import('./clock.js').Clock} clock
 */
export function makeHistory(socket, clock) {
  const day = byId('day')
  const begin = () => resolve(`${day.value} 00:00`, OWN)?.instant
  const end = () => resolve(`${moved(day.value, 1)} 00:00`, OWN)?.instant ?? 0

  /** @param {string | undefined} after @param {number} limit */
  const fetch = async (after, limit) => {
    const first = begin()
    if (first === undefined) return { items: [], next: null }
    /** @type {any[]} */
    const items = []
    let since = after ?? new Date(first - 1).toISOString()
    for (let page = 0; page < PATIENCE; page++) {
      const { response } = await socket.command('getReminders', { since, limit: limit - items.length })
      const found = response.reminders.filter((/** @type {any} */ { time }) => Date.parse(time) < end())
      items.push(...found)
      const over =
        found.length < response.reminders.length || (response.reminders.length === 0 && response.next === since)
      if (over) return { items, next: null }
      since = response.next
      if (items.length >= limit) break
    }
    return { items, next: since }
  }

  const list = new PagedList(byId('history'), {
    fetch,
    key: ({ _id }) => _id,
    version: JSON.stringify,
    row: (reminder) =>
      make(
        'li',
        { class: 'row' },
        title(reminder),
        make('div', { class: 'when' }, ...when(reminder, clock.now())),
      ),
  })

  /** @param {string} value `YYYY-MM-DD` */
  const go = (value) => {
    day.value = value
    list.restart()
  }
  day.addEventListener('change', () => day.value && list.restart())
  byId('day-before').addEventListener('click', () => day.value && go(moved(day.value, -1)))
  byId('day-after').addEventListener('click', () => day.value && go(moved(day.value, 1)))
  return {
    /** Shows today, unless another day was chosen; fetches it anew. */
    refresh: () => (day.value ? list.refresh() : go(wall(clock.now(), OWN).slice(0, 10))),
  }
}

/** @param {string} day `YYYY-MM-DD` @param {number} days */
const moved = (day, days) => new Date(Date.parse(`${day}T00:00:00Z`) + days * DAY).toISOString().slice(0, 10)
